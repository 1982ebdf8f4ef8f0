//! What was found out about stored entries: proven, to be set aside, or changed by the disk.
//!
//! Invariant: what was found holds at once in memory, and is written with the next transaction that
//! writes anyway. So reading writes nothing and goes on when the disk is full; what a crash takes away
//! is found again. Entries that the disk has changed are kept, reported, and asked for again (`sync/mend.rs`).

use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::EntryHash;

use super::saved::ToSave;
use super::{Engine, Event, Now};
use crate::store::{DocumentRow, EntryState, QuarantinedRow, StoreError, Tx};
use crate::sync::reason::{SetAside, SetAsideReason};

/// Findings that wait to be written; beyond it proven entries are looked into again at the next opening.
const FINDINGS_MAX: usize = 1 << 16;

/// What was found and is not written yet, by the entry's arrival.
#[derive(Default)]
pub(crate) struct Findings {
    by_arrival: BTreeMap<i64, Finding>,
    pub(super) to_save: ToSave,
    /// Documents whose snapshot is to be published.
    pub(crate) to_publish: BTreeSet<i64>,
    /// Documents whose newest snapshot is to be made again, to see whether it is right.
    pub(super) to_check: BTreeSet<i64>,
    /// Documents of which a snapshot may have got enough words, to be given up what it stands for.
    pub(crate) to_weigh: BTreeSet<i64>,
    /// Snapshots that others vouched for and that do not load here.
    pub(super) useless: BTreeSet<EntryHash>,
}

enum Finding {
    Proven,
    Aside(Box<Aside>),
    /// Kept out for now, by a removal or an admin.
    Struck(Box<Aside>),
    /// It counts after all.
    Counts {
        workspace: i64,
        hash: EntryHash,
    },
}

struct Aside {
    workspace: i64,
    row: QuarantinedRow,
    bytes: Vec<u8>,
}

impl Findings {
    pub(super) fn note_proven(&mut self, arrival: i64) {
        if self.by_arrival.len() < FINDINGS_MAX {
            self.by_arrival.entry(arrival).or_insert(Finding::Proven);
        }
    }

    fn note_aside_for_now(&mut self, arrival: i64, workspace: i64, row: QuarantinedRow) {
        let aside = Aside { workspace, row, bytes: Vec::new() };
        self.to_save.clear();
        self.by_arrival.insert(arrival, Finding::Struck(Box::new(aside)));
    }

    pub(super) fn note_counts(&mut self, arrival: i64, workspace: i64, hash: EntryHash) {
        self.to_save.clear();
        self.by_arrival.insert(arrival, Finding::Counts { workspace, hash });
    }

    fn note_aside(&mut self, arrival: i64, workspace: i64, row: QuarantinedRow, bytes: Vec<u8>) {
        self.to_save.clear();
        self.by_arrival.insert(arrival, Finding::Aside(Box::new(Aside { workspace, row, bytes })));
    }

    /// Tells whether something is to be kept out, or to count after all, and no row says so yet. What the disk has changed
    /// is known by its place.
    pub(super) fn has_verdicts(&self) -> bool {
        let is_verdict = |finding: &Finding| match finding {
            Finding::Proven => false,
            Finding::Aside(aside) => aside.row.reason != SetAsideReason::Damaged.code(),
            Finding::Struck(_) | Finding::Counts { .. } => true,
        };
        self.by_arrival.values().any(is_verdict)
    }

    /// Returns what an entry's row should say, if it does not say it yet.
    pub(super) fn state_of(&self, arrival: i64) -> Option<EntryState> {
        self.by_arrival.get(&arrival).map(|finding| match finding {
            Finding::Proven => EntryState::Proven,
            Finding::Aside(_) => EntryState::Quarantined,
            Finding::Struck(_) => EntryState::Beyond,
            Finding::Counts { .. } => EntryState::Stored,
        })
    }

    pub(crate) fn forget(&mut self, arrival: i64) {
        self.by_arrival.remove(&arrival);
    }

    /// Returns what is set aside of a workspace and not written yet.
    pub(crate) fn set_aside(&self, workspace: i64) -> impl Iterator<Item = &QuarantinedRow> {
        self.by_arrival.values().filter_map(move |finding| match finding {
            Finding::Aside(aside) | Finding::Struck(aside) if aside.workspace == workspace => Some(&aside.row),
            _ => None,
        })
    }
}

impl Engine {
    /// Writes what was found out, into a transaction that writes anyway.
    pub(super) fn record_findings(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for (arrival, finding) in std::mem::take(&mut self.findings.by_arrival) {
            match finding {
                Finding::Proven => tx.mark_entry(arrival, EntryState::Proven)?,
                Finding::Aside(aside) => {
                    tx.mark_entry(arrival, EntryState::Quarantined)?;
                    tx.release_struck(aside.workspace, &aside.row.hash)?;
                    tx.quarantine(aside.workspace, &aside.row, &aside.bytes)?;
                }
                // Its bytes stay where they are, and are not copied.
                Finding::Struck(aside) => {
                    tx.mark_entry(arrival, EntryState::Beyond)?;
                    tx.release_struck(aside.workspace, &aside.row.hash)?;
                    tx.quarantine(aside.workspace, &aside.row, &aside.bytes)?;
                }
                Finding::Counts { workspace, hash } => {
                    tx.mark_entry(arrival, EntryState::Stored)?;
                    tx.release_struck(workspace, &hash)?;
                }
            }
        }
        self.write_saved(tx)
    }

    /// Keeps an entry out of its document, for good, and says so.
    pub(crate) fn set_entry_aside(
        &mut self,
        now: Now,
        row: &DocumentRow,
        entry: &Entry,
        arrival: Option<i64>,
        reason: SetAsideReason,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::NoQuarantine.is_planted() {
            return Ok(());
        }
        let aside = QuarantinedRow::of(entry, reason.code(), now.wall_ms);
        match arrival {
            Some(arrival) => self.findings.note_aside(arrival, row.workspace, aside, entry.encode()),
            None => tx.quarantine(row.workspace, &aside, &entry.encode())?,
        }
        self.counters.count(reason);
        if let Some(workspace) = self.workspaces.get(&row.workspace) {
            let entry = SetAside::of(entry, row.about.as_ref().map(|about| about.id), reason, now.wall_ms);
            let workspace = workspace.id;
            self.tell(Event::SetAside { workspace, entry });
        }
        Ok(())
    }

    /// Keeps an entry out of its document for now, and says so.
    pub(super) fn note_struck(
        &mut self,
        now: Now,
        row: &DocumentRow,
        arrival: i64,
        entry: &Entry,
        reason: SetAsideReason,
    ) {
        let aside = QuarantinedRow::of(entry, reason.code(), now.wall_ms);
        self.findings.note_aside_for_now(arrival, row.workspace, aside);
        self.counters.count(reason);
        if let Some(workspace) = self.workspaces.get(&row.workspace).map(|held| held.id) {
            let document = row.about.as_ref().map(|about| about.id);
            let entry = SetAside::of(entry, document, reason, now.wall_ms);
            self.tell(Event::SetAside { workspace, entry });
        }
    }

    /// Notes that the disk has changed the entry at this place of a chain, or lost it; it is asked for again.
    pub(crate) fn note_damage(&mut self, now: Now, place: (i64, u64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some((key, document)) = tx.chain_key(place.0)? else { return Ok(()) };
        let Some(row) = tx.document_by_row(document)? else { return Ok(()) };
        let Some(held) = self.workspaces.get_mut(&row.workspace) else { return Ok(()) };
        if !held.damaged.insert(place) {
            return Ok(());
        }
        let (workspace, reason) = (held.id, SetAsideReason::Damaged);
        let hash = tx.entry_hash(place.0, place.1)?.unwrap_or(EntryHash::from_bytes([0; 32]));
        let (author, seq, since_ms) = (key.device, place.1, now.wall_ms);
        if let Some(arrival) = tx.entry_arrival(place.0, place.1)? {
            // The bytes stay where they are, and are not copied.
            let aside =
                QuarantinedRow { document: row.tag, device: author, seq, hash, reason: reason.code(), since_ms };
            self.findings.note_aside(arrival, row.workspace, aside, Vec::new());
        }
        self.counters.count(reason);
        let document = row.about.map(|about| about.id);
        self.tell(Event::SetAside { workspace, entry: SetAside { document, author, seq, hash, reason, since_ms } });
        self.damage_to_mend(row.workspace);
        Ok(())
    }

    /// Returns how many entries of a workspace the disk has changed, as far as that was seen.
    pub(super) fn damaged_entries(&self, workspace: i64) -> usize {
        self.workspaces.get(&workspace).map_or(0, |held| held.damaged.len())
    }

    /// Tells whether an earlier entry of the chain is damaged, above the ones that something else stands for.
    pub(super) fn is_broken_before(&self, workspace: i64, place: (i64, u64), floor: u64) -> bool {
        let held = self.workspaces.get(&workspace);
        held.is_some_and(|held| held.damaged.range((place.0, 0)..place).any(|(_, seq)| *seq > floor))
    }

    /// Notes how many changes of a document that no entry carries yet the disk has changed: nobody else
    /// has them, so they are kept and owed.
    pub(crate) fn note_damaged_changes(&mut self, row: &DocumentRow, count: usize) {
        let Some(held) = self.workspaces.get_mut(&row.workspace) else { return };
        let before = held.damaged_changes.get(&row.row).copied().unwrap_or(0);
        if count == before {
            return;
        }
        held.damaged_changes.insert(row.row, count);
        let (workspace, document) = (held.id, row.about.as_ref().map(|about| about.id));
        self.tell(Event::ChangesDamaged { workspace, document, changes: count as u64 });
    }
}
