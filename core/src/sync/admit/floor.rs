//! Where a chain begins of which a snapshot stands for the beginning.
//!
//! Invariant: a chain begins above 1 only with the very entry that a snapshot's cover names, which this device took in
//! for that document before.

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::RecordId;

use super::{Admission, is_fork, move_head};
use crate::engine::{Engine, Now};
use crate::store::{ChainRow, DocumentRow, Floor, StoreError, Tx};
use crate::sync::Fault;

impl Engine {
    /// Tells whether a snapshot stands for an entry of a chain, which is not here any more.
    pub(in crate::sync) fn is_gone(&self, workspace: i64, chain: i64, seq: u64) -> bool {
        let lifted = self.workspaces.get(&workspace).and_then(|held| held.lifted.get(&chain));
        lifted.is_some_and(|behind| seq <= *behind)
    }

    /// Returns the floor that an entry stands on, if its chain begins with it: a snapshot stands for what is below.
    pub(super) fn floor_begun_by(
        &self,
        (document, chain): (&Option<DocumentRow>, Option<&ChainRow>),
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<Option<Floor>, StoreError> {
        let Some(document) = document else {
            return Ok(None);
        };
        let header = entry.header();
        let follows = match chain {
            Some(row) if header.seq <= row.head_seq || self.is_forked(document.workspace, row.row) => true,
            Some(row) => header.seq == row.head_seq + 1 && !is_fork(row, header, tx)?,
            None => header.seq == 1,
        };
        if follows {
            return Ok(None);
        }
        let floor = tx.floor(document.workspace, &header.chain.id())?;
        Ok(floor.filter(|floor| (floor.document, floor.seq, floor.hash) == (document.row, header.seq, entry.hash())))
    }

    /// Stores an entry as the head of its chain, which may begin with it.
    pub(super) fn admit_as_head(
        &mut self,
        now: Now,
        row: DocumentRow,
        (chain, floor): (Option<(ChainRow, RecordId)>, Option<Floor>),
        entry: Entry,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        let verdict = self.judge_author(row.workspace, &entry, chain.as_ref().map(|(_, head)| *head));
        let row = self.describe(now, row, &entry, tx)?;
        self.note_own(now, row.workspace, &entry.header().chain, tx)?;
        let chain = move_head(chain.map(|(chain, _)| chain.row), &row, &entry, tx)?;
        if let Some(floor) = floor {
            self.lift(row.workspace, chain, &floor, tx)?;
        }
        self.place(now, &row, (chain, entry), verdict, tx)?;
        Ok(Admission::Stored { chain, document: row.row })
    }
}
