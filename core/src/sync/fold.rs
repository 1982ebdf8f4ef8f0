//! Pending changes that follow each other become few before they are sealed, and while nobody fetches them.
//!
//! Invariant: what is pending means the same before and after, and the newest row keeps its number; an
//! open document adopts what its changes became in the turn that stores it, and if that turn's commit
//! fails, both are forgotten together (ADR 0008).

use std::collections::BTreeMap;

use tombolo_protocol::ids::Stream;

use crate::document::{Crdt, Unsent, fold};
use crate::engine::{Engine, Opened};
use crate::store::{DocumentRow, PENDING_BITS, PendingRow, StoreError, Tx};

/// Changes of an open automerge document that are folded together: less is not worth the rebuild that
/// follows when somebody else's change arrives.
const FOLD_OPEN_FROM: usize = 32;
/// A rebuild costs what the document has; a run must bring at least this share of that.
const FOLD_OPEN_SHARE: usize = 8;
/// Pending changes of one document that are stored one by one before they are folded.
const STORED_SINGLY_MAX: usize = 1024;

/// How often single changes are folded before what they became is folded together itself: so each change is handled
/// twice at most, and a long document is opened from few.
const STORED_FOLDED_MAX: usize = FOLD_OPEN_FROM;
/// Changes that are folded when a replica rests: whoever opens the document next takes as long for each as for many.
const FOLD_RESTING_FROM: usize = 32;

/// Pending changes of an open document, as the store has them.
#[derive(Default)]
pub(crate) struct Stored {
    /// Those that came since they were last looked at.
    singly: usize,
    /// The newest row.
    newest: i64,
    /// The newest row when the document was opened: when a replica rests, what is older is left as it lies.
    opened: i64,
    /// The row up to which they were folded.
    folded: i64,
    /// How often that was.
    times: usize,
    /// The row up to which they were folded for the second time: they wait until they are sealed.
    twice: i64,
}

impl Engine {
    /// Folds the pending changes of a document, if it pays; returns the rows that say the same.
    pub(super) fn fold_pending(
        &mut self,
        row: &DocumentRow,
        pending: Vec<PendingRow>,
        tx: &Tx<'_>,
    ) -> Result<Vec<PendingRow>, StoreError> {
        let crdt = row.about.as_ref().and_then(|about| Crdt::from_u8(about.crdt));
        let several = pending.iter().filter(|pending| !pending.change.is_empty()).count() > 1;
        let held = self.workspaces.get(&row.workspace);
        // What the disk has changed stays where it is, and what lies around it as well; what does not count may lack for good.
        let whole = held.is_none_or(|held| held.damaged_changes.get(&row.row).is_none_or(|changes| *changes == 0));
        let lacking = held.is_some_and(|held| held.struck.contains_key(&row.row));
        let Some(crdt) = crdt.filter(|_| several && whole) else {
            return Ok(pending);
        };
        if crdt == Crdt::Automerge && !self.pays_to_fold(row, &pending, tx)? {
            return Ok(pending);
        }
        let written: Vec<&PendingRow> = pending.iter().filter(|pending| !pending.change.is_empty()).collect();
        let Ok(folded) = fold(crdt, &written.iter().map(|row| row.to_unsent()).collect::<Vec<_>>(), lacking) else {
            // They are sealed as they are.
            return Ok(pending);
        };
        if folded.runs.iter().all(|run| run.count == 1) {
            return Ok(pending);
        }
        let mut rows = written.into_iter();
        let mut fewer = Vec::with_capacity(folded.runs.len());
        for run in &folded.runs {
            let first = rows.next();
            let last = rows.by_ref().take(run.count - 1).last().or(first);
            if let (Some(first), Some(last)) = (first, last) {
                fewer.push(PendingRow { row: last.row, change: run.bytes.clone(), ..*first });
            }
        }
        if let Some(opened) = self.documents.get(row.row) {
            opened.crdt.adopt(&folded);
        }
        Ok(fewer)
    }

    /// Tells whether an automerge document should have its changes folded.
    fn pays_to_fold(&mut self, row: &DocumentRow, pending: &[PendingRow], tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Some(opened) = self.documents.get(row.row) else {
            return Ok(true);
        };
        if opened.crdt.is_reload_required() || pending.len() < FOLD_OPEN_FROM {
            return Ok(false);
        }
        let bytes: usize = pending.iter().map(|pending| pending.change.len()).sum();
        let own = self.device.id();
        let alone = tx.chains_of_document(row.row)?.iter().all(|(_, device, _)| *device == own);
        Ok(alone || bytes.saturating_mul(FOLD_OPEN_SHARE) >= opened.crdt.applied_bytes())
    }

    /// Notes one more pending change of an open document; folds what is pending once that is much.
    pub(crate) fn note_pending(&mut self, row: &DocumentRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(opened) = self.documents.get(row.row) else {
            return Ok(());
        };
        opened.stored.singly += 1;
        if let Some(held) = self.workspaces.get_mut(&row.workspace) {
            held.unsealed.insert((row.row, Stream::CONTENT));
        }
        if opened.stored.singly < STORED_SINGLY_MAX {
            return Ok(());
        }
        self.fold_stored(row, 0, tx)
    }

    /// Folds what is pending in documents that are open, so that they are sooner open the next time. Not of automerge: a
    /// document would have another version when it is opened again, and nobody wrote.
    pub(crate) fn fold_resting(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let much = |opened: &&Opened| opened.crdt.crdt() == Crdt::Yrs && opened.stored.singly >= FOLD_RESTING_FROM;
        let opened = self.documents.iter().filter(much);
        let rows: Vec<(DocumentRow, i64)> = opened.map(|opened| (opened.row.clone(), opened.stored.opened)).collect();
        rows.iter().try_for_each(|(row, after)| self.fold_stored(row, *after, tx))
    }

    /// Folds the changes that lie singly behind a row, and what became of such now and then.
    fn fold_stored(&mut self, row: &DocumentRow, after: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(opened) = self.documents.get(row.row) else {
            return Ok(());
        };
        opened.stored.singly = 0;
        let after = opened.stored.folded.max(after);
        let Some(last) = self.fold_after(row, after, tx)? else {
            return Ok(());
        };
        let Some(opened) = self.documents.get(row.row) else {
            return Ok(());
        };
        (opened.stored.folded, opened.stored.times) = (last, opened.stored.times + 1);
        if opened.stored.times < STORED_FOLDED_MAX {
            return Ok(());
        }
        opened.stored.times = 0;
        let twice = std::mem::replace(&mut opened.stored.twice, last);
        self.fold_after(row, twice, tx).map(drop)
    }

    /// Folds the pending changes of an open document behind a row; returns the last row if they are fewer now.
    fn fold_after(&mut self, row: &DocumentRow, after: i64, tx: &Tx<'_>) -> Result<Option<i64>, StoreError> {
        let pending = tx.pending_after(row.row, Stream::CONTENT, after)?;
        if !pending.damaged.is_empty() {
            // What the disk has changed stays where it is until it is dealt with.
            self.note_damaged_changes(row, pending.damaged.len());
            return Ok(None);
        }
        let mut before: BTreeMap<i64, Vec<u8>> =
            pending.rows.iter().map(|pending| (pending.row, pending.change.clone())).collect();
        let mut folded = self.fold_pending(row, pending.rows, tx)?;
        let Some(last) = folded.last().filter(|_| folded.len() < before.len()).map(|last| last.row) else {
            return Ok(None);
        };
        // What is as it was stays where it lies.
        folded.retain(|said| {
            let is_same = before.get(&said.row).is_some_and(|change| *change == said.change);
            !(is_same && before.remove(&said.row).is_some())
        });
        let before: Vec<i64> = before.into_keys().collect();
        tx.replace_pending(Stream::CONTENT, &before, &folded, self.entropy.as_mut())?;
        Ok(Some(last))
    }
}

impl Stored {
    /// Of a document that is opened now, from changes up to a row, if there are any.
    pub(crate) fn of(document: i64, newest: Option<i64>) -> Self {
        let newest = newest.unwrap_or(document << PENDING_BITS);
        Self { newest, opened: newest, ..Self::default() }
    }

    /// Returns the row of a change that is made now. While a document is open no row comes twice, also if what was pending
    /// has been sealed: what is folded, and what is waited for, is known by it.
    pub(crate) fn next_row(&mut self) -> i64 {
        self.newest += 1;
        self.newest
    }
}

impl PendingRow {
    fn to_unsent(&self) -> Unsent<'_> {
        Unsent { instance: self.instance.0, wall_ms: self.wall_ms, bytes: &self.change }
    }
}
