//! A handle to a document: edited by lists of edits, read by paths, watched by a listener.

use std::sync::Arc;

use tombolo::document::{PathStep as Step, View};
pub use tombolo::engine::DocumentStats as DocumentStatistics;
use tombolo::protocol::ids::{DeviceId, DocumentId};

use crate::cancellation::{Cancellation, unless};
use crate::edit::{Checked, Edit};
use crate::error::TomboloError;
use crate::events::DocumentListener;
use crate::live::Live;
use crate::planted::panic_if_planted;
use crate::records::Milestone;
use crate::subscription::Subscription;
use crate::values::{PathStep, Value, path_of};

/// What a document amounts to, in memory and in the store.
#[uniffi::remote(Record)]
pub struct DocumentStatistics {
    /// A rough measure of its memory while it is open.
    pub memory_bytes: u64,
    /// Entries that are stored and wait to be applied.
    pub queued: u64,
    /// Entries in the store that count.
    pub entries: u64,
    /// What they take.
    pub entry_bytes: u64,
    /// Of them, those that each opening has to open one by one.
    pub tail_entries: u64,
    /// The saved form, compressed and sealed; 0 without one.
    pub saved_bytes: u64,
    /// Entries that are set aside.
    pub set_aside: u64,
    /// What they take.
    pub set_aside_bytes: u64,
    /// Changes of this device that no entry carries yet.
    pub pending: u64,
    /// What they take.
    pub pending_bytes: u64,
    /// What the document says: keys, strings and bytes at their length, eight bytes for a number.
    pub live_bytes: u64,
    /// What its CRDT keeps beside that: what was deleted, ids, and who wrote what when.
    pub overhead_bytes: u64,
}

/// A document. Handles are cheap, and hold nothing open.
#[derive(Debug, uniffi::Object)]
pub struct Document {
    core: tombolo::Document,
    _live: Live,
}

impl Document {
    pub(crate) fn new(core: tombolo::Document) -> Arc<Self> {
        Arc::new(Self { core, _live: Live::new() })
    }
}

#[uniffi::export]
impl Document {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> DocumentId {
        self.core.id()
    }

    /// Edits the document: all of the list is one change. It is durable when this returns; if it fails, nothing has
    /// changed. Who stops waiting can not know whether it was made.
    ///
    /// # Errors
    /// `Misuse`, `Denied` below writer, `Document`, `NotFound`, `Store`, `Closed`.
    pub async fn edit(&self, edits: Vec<Edit>) -> Result<(), TomboloError> {
        let checked: Vec<Checked> = edits.into_iter().map(Checked::try_from).collect::<Result<_, _>>()?;
        Ok(self.core.edit(move |root| checked.into_iter().try_for_each(|edit| edit.make(root))).await?)
    }

    /// Returns what is at a path, with all it contains; the whole document at the empty path.
    ///
    /// # Errors
    /// `Document`, `NotFound`, `Misuse` if it nests too deep, `Closed`.
    pub async fn read(&self, path: Vec<PathStep>) -> Result<Option<Value>, TomboloError> {
        let path = path_of(path)?;
        let look = move |view: &View<'_>| {
            panic_if_planted(&path);
            view.at(&path)
        };
        Ok(self.core.read(look).await?)
    }

    /// Returns what is at several paths, as it stood at one moment.
    ///
    /// # Errors
    /// As `read`.
    pub async fn read_many(&self, paths: Vec<Vec<PathStep>>) -> Result<Vec<Option<Value>>, TomboloError> {
        let paths: Vec<Vec<Step>> = paths.into_iter().map(path_of).collect::<Result<_, _>>()?;
        Ok(self.core.read(move |view| paths.iter().map(|path| view.at(path)).collect()).await?)
    }

    /// Returns the keys of the root, in order.
    ///
    /// # Errors
    /// As `read`.
    pub async fn keys(&self) -> Result<Vec<String>, TomboloError> {
        Ok(self.core.read(|view| view.keys()).await?)
    }

    /// Reads with own changes that do not count any more because the right to write was lost: to copy them elsewhere.
    ///
    /// # Errors
    /// As `read`.
    pub async fn read_with_kept(&self, path: Vec<PathStep>) -> Result<Option<Value>, TomboloError> {
        let path = path_of(path)?;
        Ok(self.core.read_with_kept(move |view| view.at(&path)).await?)
    }

    /// Returns the version: equal bytes mean equal content.
    ///
    /// # Errors
    /// As `read`.
    pub async fn version(&self) -> Result<Vec<u8>, TomboloError> {
        Ok(self.core.version().await?.as_bytes().to_vec())
    }

    /// Returns what the document amounts to; this walks it.
    ///
    /// # Errors
    /// As `read`.
    pub async fn statistics(&self) -> Result<DocumentStatistics, TomboloError> {
        Ok(self.core.stats().await?)
    }

    /// Watches the document: its present state first, then every change.
    ///
    /// # Errors
    /// As `read`.
    pub async fn subscribe(&self, listener: Arc<dyn DocumentListener>) -> Result<Arc<Subscription>, TomboloError> {
        let events = self.core.subscribe().await?;
        Subscription::start(None, events, listener)
    }

    /// Waits until all that this device has written into the document so far has come this far. Without a relay it
    /// waits without an end: give up waiting by the means of your language, or by a cancellation.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Closed`.
    #[uniffi::method(default(cancellation = None))]
    pub async fn wait_for(
        &self,
        milestone: Milestone,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<(), TomboloError> {
        unless(cancellation, self.core.wait_for(milestone)).await
    }

    /// Waits until another device has everything that this one has written into the document so far.
    ///
    /// # Errors
    /// As `wait_for`.
    #[uniffi::method(default(cancellation = None))]
    pub async fn seen_by(&self, device: DeviceId, cancellation: Option<Arc<Cancellation>>) -> Result<(), TomboloError> {
        unless(cancellation, self.core.seen_by(device)).await
    }
}
