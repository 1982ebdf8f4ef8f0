//! One device in the hands of the app: the same closures as on a real one, and an answer that may be missing.
//!
//! Invariant: [`Fate::Died`] means what it means to a person whose phone went dark: the edit may be there or not.

use tombolo::Error;
use tombolo::document::{Crdt, EditError, MapEdit, ReadError, View};
use tombolo::protocol::ids::DocumentId;

use crate::net::Net;
use crate::replica::Replica;

/// What became of something that was asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate<R> {
    /// It is done, and durable there: it must never be lost.
    Done(R),
    /// The device died in it.
    Died,
}

impl<R> Fate<R> {
    /// Returns what was done, if the device lived to say so.
    pub fn done(self) -> Option<R> {
        match self {
            Self::Done(done) => Some(done),
            Self::Died => None,
        }
    }
}

/// One device of the team.
pub struct AppDevice<'n> {
    net: &'n mut Net,
    replica: Replica,
    number: usize,
}

impl<'n> AppDevice<'n> {
    pub(super) fn new(net: &'n mut Net, replica: Replica, number: usize) -> Self {
        Self { net, replica, number }
    }

    /// Returns its number: 0 is the founder's.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Lists the documents of the shared workspace that are here, in the order of their ids.
    ///
    /// # Errors
    /// What Tombolo answers.
    pub fn documents(&mut self) -> Result<Vec<DocumentId>, Error> {
        let workspace = self.net.workspace();
        let listed = self.net.act(self.replica, |engine, _, tx| engine.documents(&workspace, tx))?;
        let mut ids: Vec<_> = listed.unwrap_or_default().into_iter().map(|document| document.id).collect();
        ids.sort();
        Ok(ids)
    }

    /// Creates a document, with what stands in it from the first.
    ///
    /// # Errors
    /// What Tombolo answers.
    pub fn create(
        &mut self,
        crdt: Crdt,
        begin: impl FnOnce(&mut MapEdit<'_>) -> Result<(), EditError>,
    ) -> Result<Fate<DocumentId>, Error> {
        let workspace = self.net.workspace();
        let made = self.net.act(self.replica, |engine, now, tx| {
            let document = engine.create_document(now, &workspace, crdt, tx)?;
            engine.edit(now, &document, begin, tx)?;
            Ok(document)
        })?;
        Ok(made.map_or(Fate::Died, Fate::Done))
    }

    /// Edits a document, as `Document::edit` does.
    ///
    /// # Errors
    /// What Tombolo answers; then nothing was changed.
    pub fn edit<R>(
        &mut self,
        document: DocumentId,
        edit: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError>,
    ) -> Result<Fate<R>, Error> {
        let edited = self.net.act(self.replica, |engine, now, tx| engine.edit(now, &document, edit, tx))?;
        Ok(edited.map_or(Fate::Died, Fate::Done))
    }

    /// Reads a document, as `Document::read` does.
    ///
    /// # Errors
    /// What Tombolo answers.
    pub fn read<R>(
        &mut self,
        document: DocumentId,
        read: impl FnOnce(&View<'_>) -> Result<R, ReadError>,
    ) -> Result<Fate<R>, Error> {
        let read = self.net.act(self.replica, |engine, now, tx| engine.read(now, &document, read, tx))?;
        Ok(match read {
            Some(value) => Fate::Done(value?),
            None => Fate::Died,
        })
    }
}
