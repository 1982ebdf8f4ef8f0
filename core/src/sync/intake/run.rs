//! Entries that come together: verified as a run, admitted one by one, and noted where they stand in the log.
//!
//! Invariant: whatever a log is known to hold of what is stored is placed there, also where it had to wait first.

use std::collections::BTreeMap;

use tombolo_protocol::entry::{Entry, verify_run};
use tombolo_protocol::ids::{ChainKey, EntryHash, RecordId};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::membership::RecordOutcome;

use crate::engine::{Engine, Now};
use crate::store::Tx;
use crate::sync::Fault;
use crate::sync::admit::Admission;
use crate::sync::reason::SetAsideReason;

/// An entry with where it came from.
pub(in crate::sync) struct Incoming {
    pub(in crate::sync) entry: Entry,
    pub(in crate::sync) whence: Whence,
}

/// Where an entry came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum Whence {
    /// It is the item at this position of the relay's log, with its full header or in short form.
    Item { position: u64, full: bool },
    /// It was asked for by its chain: the relay's log has it up to this position.
    Fetched { up_to: u64 },
    /// It waited here for something else.
    Held,
}

impl Engine {
    /// Verifies and admits a run of entries between two records.
    pub(in crate::sync) fn take_run(
        &mut self,
        now: Now,
        at: (i64, i64),
        run: Vec<Incoming>,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let authentic = self.authentic(at.1, &run);
        for (Incoming { entry, whence }, authentic) in run.into_iter().zip(authentic) {
            let of = (entry.hash(), entry.header().seq, entry.header().chain.device == self.device.id());
            let admission = match authentic {
                Some(false) if !self.is_proven(at.1, &entry, tx)? => self.doubt(now, at.1, &entry, tx)?,
                // Its record is here and names no such device: nothing that could come would vouch for it.
                None if self.is_admitted(at.1, &entry.header().members_head) => {
                    self.refuse(at, &entry, SetAsideReason::UnknownAuthor)
                }
                _ => self.admit(now, at, entry, tx)?,
            };
            match (whence, admission) {
                (Whence::Item { position, full }, admission) => {
                    self.note_item(at, (position, full), of, &admission, tx)?;
                }
                (Whence::Fetched { up_to }, Admission::Aside | Admission::Waits) => {
                    if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
                        channel.mending.note_aside(of.0, up_to, false);
                    }
                }
                (Whence::Held, Admission::Stored { chain, .. }) => self.note_unplaced(now, at, chain),
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes where an entry stands in a log; it is told by its hash, its seq, and whether it is of this device.
    fn note_item(
        &mut self,
        at: (i64, i64),
        (position, full): (u64, bool),
        (hash, seq, is_own): (EntryHash, u64, bool),
        admission: &Admission,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.append(&ItemHash::Entry(hash));
            if matches!(admission, Admission::Aside | Admission::Waits) {
                channel.mending.note_aside(hash, position, full);
            }
            if matches!(admission, Admission::Waits) {
                channel.mending.lacking.note_entry(hash, position);
            }
        }
        let (Admission::Stored { chain, .. } | Admission::Duplicate { chain }) = *admission else {
            return Ok(());
        };
        tx.place(at.0, chain, seq, position)?;
        if full && !self.is_gone(at.1, chain, seq) {
            tx.declare(at, position, chain, seq)?;
        }
        if is_own && let Some((_, document)) = tx.chain_key(chain)? {
            self.touched.insert(document);
        }
        Ok(())
    }

    fn is_admitted(&self, workspace: i64, record: &RecordId) -> bool {
        let held = self.workspaces.get(&workspace);
        held.is_some_and(|held| held.membership.outcome(record) == Some(RecordOutcome::Admitted))
    }

    /// Tells of each entry whether its author signed it; `None` where the author is not known yet.
    fn authentic(&self, workspace: i64, run: &[Incoming]) -> Vec<Option<bool>> {
        let mut verdicts = vec![None; run.len()];
        let Some(held) = self.workspaces.get(&workspace) else {
            return verdicts;
        };
        let view = &held.view;
        let mut chains: BTreeMap<ChainKey, Vec<usize>> = BTreeMap::new();
        for (index, incoming) in run.iter().enumerate() {
            chains.entry(incoming.entry.header().chain).or_default().push(index);
        }
        for (chain, indices) in chains {
            let Some(device) = view.device(&chain.device) else {
                continue;
            };
            let entries: Vec<Entry> = indices.iter().filter_map(|at| Some(run.get(*at)?.entry.clone())).collect();
            for (index, verdict) in indices.into_iter().zip(verify_run(&entries, &device.keys.sign)) {
                if let Some(slot) = verdicts.get_mut(index) {
                    *slot = Some(verdict.is_ok());
                    #[cfg(feature = "planted-bugs")]
                    if tombolo_protocol::planted::Bug::PanicOnBadSignature.is_planted() {
                        assert!(verdict.is_ok(), "planted: a bad signature");
                    }
                    #[cfg(feature = "planted-bugs")]
                    if tombolo_protocol::planted::Bug::CursorBeforeApply.is_planted() && index % 8 == 1 {
                        *slot = Some(false);
                    }
                }
            }
        }
        verdicts
    }
}
