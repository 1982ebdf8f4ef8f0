//! What an app does with documents: create, edit, read, watch.
//!
//! Invariant: an edit's change and its pending row are one commit; if that commit fails the engine is
//! loaded again, and the document shows its last durable state.

use tombolo_crypto::array;
use tombolo_protocol::ids::{DocumentId, Stream, WorkspaceId};
use tombolo_protocol::limits::{APP_TYPE_BYTES_MAX, CHANGE_BYTES_MAX};

use super::{Engine, Event, Now, Origin};
use crate::document::{
    AutomergeTransaction, Crdt, EditError, Edited, MapEdit, OpenDocument, PatchMode, View, YrsTransaction,
};
use crate::error::Error;
use crate::store::{About, DocumentRow, PendingRow, StoreError, Tx, WorkspaceState};
use crate::sync::fold::Stored;

/// One document, as an app sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSummary {
    /// Its id.
    pub id: DocumentId,
    /// Its CRDT.
    pub crdt: Crdt,
    /// What the app that made it calls this type of document.
    pub app_type: String,
}

impl Engine {
    /// Creates a document; it exists for others once its first entry has reached them.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::NotReady`] while the workspace is being joined,
    /// [`Error::RoleDenied`] below writer, [`Error::TooManyDocuments`] where as many are asked for by name as can be,
    /// [`Error::Store`].
    pub fn create_document(
        &mut self,
        now: Now,
        workspace: &WorkspaceId,
        crdt: Crdt,
        tx: &Tx<'_>,
    ) -> Result<DocumentId, Error> {
        let row = self.writable(workspace, tx)?;
        self.may_want_one_more(row)?;
        let random: [u8; 16] = array(self.entropy.as_mut());
        let mut app_type = self.config.app_type.clone();
        app_type.truncate(app_type.floor_char_boundary(APP_TYPE_BYTES_MAX));
        let device = self.device.id();
        let id = DocumentId::derive(&device, self.incarnation, &random, crdt.as_u8(), app_type.as_bytes());
        let Some(held) = self.workspaces.get_mut(&row) else {
            return Err(Error::NotReady);
        };
        let tag = held.blinding.as_ref().ok_or(Error::NotReady)?.document_tag(&id);
        let about = About { id, crdt: crdt.as_u8(), incarnation: self.incarnation, random, app_type };
        let document = tx.insert_document(row, &tag, Some(&about), self.entropy.as_mut())?;
        // An empty pending change makes the first entry travel even if nobody writes into the document.
        let instance = tombolo_protocol::ids::Instance(0);
        let first = Stored::of(document, None).next_row();
        let empty = PendingRow { row: first, instance, wall_ms: now.wall_ms, change: Vec::new() };
        tx.insert_pending(Stream::CONTENT, &empty, self.entropy.as_mut())?;
        held.unsealed.insert((document, Stream::CONTENT));
        self.want_created(row, id, tx)?;
        self.work_to_send(row);
        Ok(id)
    }

    fn writable(&self, workspace: &WorkspaceId, tx: &Tx<'_>) -> Result<i64, Error> {
        tx.room()?;
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        let Some(held) = self.workspaces.get(&row) else {
            return Err(Error::NotReady);
        };
        if held.state != WorkspaceState::Member {
            return Err(Error::NotReady);
        }
        match held.role(&self.device) {
            Some(role) if role.may_write(Stream::CONTENT) => Ok(row),
            _ => Err(Error::RoleDenied),
        }
    }

    /// Edits a document: everything the closure does is one change.
    ///
    /// # Errors
    /// The closure's own error, [`Error::NoDocument`], [`Error::RoleDenied`], [`Error::ChangeTooLarge`],
    /// [`Error::Store`]; then nothing has changed.
    pub fn edit<R>(
        &mut self,
        now: Now,
        id: &DocumentId,
        closure: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError>,
        tx: &Tx<'_>,
    ) -> Result<R, Error> {
        self.change(now, id, |document, mode| document.edit(now.wall_ms, mode, closure), tx)
    }

    /// Edits an automerge document through its own library.
    ///
    /// # Errors
    /// As [`Engine::edit`]; [`EditError::Unsupported`] on a yrs document.
    pub fn with_automerge<R>(
        &mut self,
        now: Now,
        id: &DocumentId,
        closure: impl FnOnce(&mut AutomergeTransaction<'_>) -> Result<R, EditError>,
        tx: &Tx<'_>,
    ) -> Result<R, Error> {
        self.change(now, id, |document, mode| document.with_automerge(now.wall_ms, mode, closure), tx)
    }

    /// Edits a yrs document through its own library.
    ///
    /// # Errors
    /// As [`Engine::edit`]; [`EditError::Unsupported`] on an automerge document.
    pub fn with_yrs<R>(
        &mut self,
        now: Now,
        id: &DocumentId,
        closure: impl FnOnce(&mut YrsTransaction<'_>) -> Result<R, EditError>,
        tx: &Tx<'_>,
    ) -> Result<R, Error> {
        self.change(now, id, |document, mode| document.with_yrs(mode, closure), tx)
    }

    fn change<R>(
        &mut self,
        now: Now,
        id: &DocumentId,
        make: impl FnOnce(&mut OpenDocument, PatchMode) -> Result<Edited<R>, EditError>,
        tx: &Tx<'_>,
    ) -> Result<R, Error> {
        let row = self.opened_row(now, id, tx)?;
        let workspace = self.workspaces.get(&row.workspace).map(|workspace| workspace.id);
        self.writable(&workspace.ok_or(Error::NotReady)?, tx)?;
        let Some(opened) = self.documents.get(row.row) else {
            return Err(Error::NoDocument(*id));
        };
        let mode = if opened.watchers > 0 { PatchMode::On } else { PatchMode::Off };
        let edited = make(&mut opened.crdt, mode);
        let (instance, damaged) = (opened.instance, opened.crdt.is_reload_required());
        if damaged {
            self.reopen(now, &row, tx)?;
        }
        let Edited { result, change, patches } = edited?;
        let Some(change) = change else {
            return Ok(result);
        };
        if change.bytes.len() > CHANGE_BYTES_MAX {
            self.documents.close(row.row);
            return Err(Error::ChangeTooLarge { bytes: change.bytes.len() });
        }
        let opened = self.documents.get(row.row).ok_or(Error::NoDocument(*id))?;
        let place = opened.stored.next_row();
        let pending = PendingRow { row: place, instance, wall_ms: now.wall_ms, change: change.bytes };
        tx.insert_pending(Stream::CONTENT, &pending, self.entropy.as_mut())?;
        self.note_pending(&row, tx)?;
        self.work_to_send(row.workspace);
        if mode == PatchMode::On && !patches.is_empty() {
            let author = Some(self.device.id());
            self.tell(Event::Changed { document: *id, patches, author, origin: Origin::Local });
        }
        Ok(result)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Document`] if it can not be built, [`Error::Read`] if the closure panics,
    /// [`Error::Store`].
    pub fn read<R>(
        &mut self,
        now: Now,
        id: &DocumentId,
        closure: impl FnOnce(&View<'_>) -> R,
        tx: &Tx<'_>,
    ) -> Result<R, Error> {
        let row = self.opened_row(now, id, tx)?;
        let Some(opened) = self.documents.get(row.row) else {
            return Err(Error::NoDocument(*id));
        };
        Ok(opened.crdt.read_by(closure)?)
    }

    /// Reads a document with this device's own changes that no entry carries yet, also where they do not count any
    /// more because its user lost the right to write them: so that work can be copied elsewhere. It comes back by
    /// itself with the right.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn read_with_kept<R>(
        &mut self,
        now: Now,
        id: &DocumentId,
        closure: impl FnOnce(&View<'_>) -> R,
        tx: &Tx<'_>,
    ) -> Result<R, Error> {
        let row = self.opened_row(now, id, tx)?;
        let document = self.load_with_kept(now, &row, tx)?;
        Ok(document.read_by(closure)?)
    }

    /// Returns the whole of a document with its version.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn version(&mut self, now: Now, id: &DocumentId, tx: &Tx<'_>) -> Result<crate::document::Version, Error> {
        let row = self.opened_row(now, id, tx)?;
        let Some(opened) = self.documents.get(row.row) else {
            return Err(Error::NoDocument(*id));
        };
        let version = opened.crdt.version();
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::VersionByArrival.is_planted() {
            let first = tx.chains_of_document(row.row)?.into_iter().next();
            let first = first.map(|(_, device, _)| device.as_bytes().to_vec()).unwrap_or_default();
            return Ok(crate::document::Version::from_bytes([version.as_bytes(), &first].concat()));
        }
        Ok(version)
    }

    /// Begins to tell changes of a document; it stays in memory until [`Engine::unwatch`].
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn watch(&mut self, now: Now, id: &DocumentId, tx: &Tx<'_>) -> Result<(), Error> {
        let row = self.opened_row(now, id, tx)?;
        if let Some(opened) = self.documents.get(row.row) {
            opened.watchers += 1;
        }
        Ok(())
    }

    /// Ends one [`Engine::watch`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn unwatch(&mut self, id: &DocumentId, tx: &Tx<'_>) -> Result<(), Error> {
        if let Some(row) = tx.document_by_id(id)?
            && let Some(opened) = self.documents.get(row.row)
        {
            opened.watchers = opened.watchers.saturating_sub(1);
        }
        Ok(())
    }

    /// Lists the documents of a workspace, oldest first, without opening any.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::Store`].
    pub fn documents(&self, workspace: &WorkspaceId, tx: &Tx<'_>) -> Result<Vec<DocumentSummary>, Error> {
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        let summaries = tx.documents(row)?.into_iter().filter_map(|about| {
            Some(DocumentSummary { id: about.id, crdt: Crdt::from_u8(about.crdt)?, app_type: about.app_type })
        });
        Ok(summaries.collect())
    }

    /// Finds a document's row and makes sure that it is open and up to date.
    pub(super) fn opened_row(&mut self, now: Now, id: &DocumentId, tx: &Tx<'_>) -> Result<DocumentRow, Error> {
        let row = self.find_document(id, tx)?;
        self.open_document(now, &row, tx)?;
        Ok(row)
    }

    pub(crate) fn find_document(&self, id: &DocumentId, tx: &Tx<'_>) -> Result<DocumentRow, Error> {
        if let Some(row) = self.documents.find(id) {
            return Ok(row.clone());
        }
        tx.document_by_id(id)?.ok_or(Error::NoDocument(*id))
    }

    /// Closes what is open of a workspace whose keys have changed, so that waiting entries are read.
    pub(crate) fn reopen_workspace(&mut self, now: Now, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        if let Some(held) = self.workspaces.get(&workspace) {
            self.again.recounts.extend(held.struck.keys());
        }
        for row in self.documents.rows_of(workspace) {
            if let Some(row) = self.documents.get(row).map(|opened| opened.row.clone()) {
                self.reopen(now, &row, tx)?;
            }
        }
        Ok(())
    }
}
