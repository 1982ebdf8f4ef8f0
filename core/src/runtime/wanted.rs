//! Asking relays for some documents of a workspace, as an app says it.
//!
//! Invariant: what is asked for is on the disk when a call resolves.

use std::collections::BTreeSet;

use tombolo_protocol::ids::DocumentId;

use super::handles::Workspace;
use crate::error::Error;

impl Workspace {
    /// Asks relays for these documents only, instead of all; the app knows their ids from one that it reads, from a link,
    /// or from a list of its own. Their entries come from now on, with all that was written before; of other documents
    /// nothing comes, and what is here of them stays, can be read and edited, and what this device writes is sent.
    /// Documents that this device creates are asked for too. It holds for this device, and beyond its restarts.
    ///
    /// Once [`Workspace::settled`] has resolved, what was asked for is here, as far as the relay has it.
    ///
    /// ```no_run
    /// # async fn example(workspace: tombolo::Workspace, index: tombolo::Document) -> Result<(), tombolo::Error> {
    /// // Of a large workspace a phone keeps the index and what was opened last.
    /// let last_opened = workspace.documents().await?.into_iter().take(20).map(|document| document.id);
    /// workspace.sync_only(last_opened.chain([index.id()])).await?;
    /// workspace.settled().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::NotReady`] while the workspace's keys are not here,
    /// [`Error::TooManyDocuments`] above 4,096.
    pub async fn sync_only(&self, documents: impl IntoIterator<Item = DocumentId>) -> Result<(), Error> {
        let (id, documents) = (self.id, documents.into_iter().collect());
        self.replica.call(move |engine, now, tx| engine.sync_only(now, &id, documents, tx)).await
    }

    /// Asks relays for all documents again.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn sync_all(&self) -> Result<(), Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.sync_all(now, &id, tx)).await
    }

    /// Returns the documents that relays are asked for; `None` for all.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn synced_only(&self) -> Result<Option<BTreeSet<DocumentId>>, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, _| engine.synced_only(&id)).await
    }
}
