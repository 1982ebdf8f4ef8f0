//! A handle to a document: edited by lists of edits, read by paths, watched by a listener.

use std::sync::Arc;

use tombolo::document::PathStep as Step;
use tombolo::protocol::ids::{DeviceId, DocumentId};

use crate::edit::{Checked, Edit};
use crate::error::TomboloError;
use crate::events::DocumentListener;
use crate::live::Live;
use crate::records::Milestone;
use crate::subscription::Subscription;
use crate::values::{PathStep, Value, path_of, wide};

/// What an open document amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct DocumentStatistics {
    /// A rough measure of its memory.
    pub memory_bytes: u64,
    /// Entries that wait to be applied.
    pub queued: u64,
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
        Ok(self.core.read(move |view| view.at(&path)).await?)
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

    /// Returns what the open document amounts to.
    ///
    /// # Errors
    /// As `read`.
    pub async fn statistics(&self) -> Result<DocumentStatistics, TomboloError> {
        let found = self.core.stats().await?;
        Ok(DocumentStatistics { memory_bytes: wide(found.memory_bytes), queued: wide(found.queued) })
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
    /// waits without an end: give up waiting by the means of your language.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Closed`.
    pub async fn wait_for(&self, milestone: Milestone) -> Result<(), TomboloError> {
        Ok(self.core.wait_for(milestone).await?)
    }

    /// Waits until another device has everything that this one has written into the document so far.
    ///
    /// # Errors
    /// As `wait_for`.
    pub async fn seen_by(&self, device: DeviceId) -> Result<(), TomboloError> {
        Ok(self.core.seen_by(device).await?)
    }
}
