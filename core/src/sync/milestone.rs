//! How far a change has come, and those who wait for it.
//!
//! Invariant: local, relay and peer acknowledgements are never confused: a relay's counts by its signed
//! receipt, a device's by its own signed status row.

use std::collections::BTreeMap;

use tombolo_protocol::ids::{DeviceId, DocumentId};

use crate::engine::{Engine, Event};
use crate::error::Error;
use crate::store::{StoreError, Tx};

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// It is durable on this device.
    Local,
    /// It was sent to a relay.
    Sent,
    /// A relay signed that it is durable there.
    RelayDurable,
    /// This device of a member has it.
    SeenBy(DeviceId),
}

/// One who waits for a milestone.
struct Waiter {
    workspace: i64,
    document: i64,
    milestone: Milestone,
    /// The last pending change that must have been sealed.
    pending: Option<i64>,
    /// The entries that must have arrived.
    entries: Vec<(i64, u64)>,
    /// What they may build on: as far as this device had the other chains of the document. Before that has come too,
    /// a device that has the entries does not show them.
    grounds: Vec<(i64, u64)>,
}

/// Those who wait for milestones.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: BTreeMap<u64, Waiter>,
    last: u64,
}

impl Waiters {
    /// Ends the waits for documents of a workspace that is forgotten.
    pub(crate) fn forget_workspace(&mut self, workspace: i64) {
        self.waiting.retain(|_, waiter| waiter.workspace != workspace);
    }
}

impl Engine {
    /// Begins to wait for a milestone of all that this device has written into a document so far;
    /// [`Event::Reached`] with the returned number tells when it has come.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Store`].
    pub fn await_milestone(&mut self, document: &DocumentId, milestone: Milestone, tx: &Tx<'_>) -> Result<u64, Error> {
        let row = self.find_document(document, tx)?;
        let (_, _, pending) = tx.pending_summary(row.row)?;
        let mut entries = Vec::new();
        for (chain, device, head_seq) in tx.chains_of_document(row.row)? {
            if device == self.device.id() {
                entries.push((chain, head_seq));
            }
        }
        let grounds = match milestone {
            Milestone::SeenBy(_) => tx.grounds_of_document(row.row, &self.device.id())?,
            _ => Vec::new(),
        };
        self.waiters.last += 1;
        let waiter = Waiter { workspace: row.workspace, document: row.row, milestone, pending, entries, grounds };
        self.waiters.waiting.insert(self.waiters.last, waiter);
        self.touched.insert(row.row);
        Ok(self.waiters.last)
    }

    /// Notes that pending changes were sealed into an entry, and what that may build on.
    pub(super) fn note_sealed(
        &mut self,
        document: i64,
        up_to: i64,
        entry: (i64, u64),
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        for waiter in self.waiters.waiting.values_mut().filter(|waiter| waiter.document == document) {
            if waiter.pending.take_if(|pending| *pending <= up_to).is_some() {
                waiter.entries.push(entry);
                if let Milestone::SeenBy(_) = waiter.milestone {
                    waiter.grounds.extend(tx.grounds_of_document(document, &self.device.id())?);
                }
            }
        }
        Ok(())
    }

    /// Ends a wait that nobody is interested in any more.
    pub fn forget_waiter(&mut self, waiter: u64) {
        self.waiters.waiting.remove(&waiter);
    }

    /// Tells those whose milestone has come.
    pub(crate) fn wake_waiters(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let touched = std::mem::take(&mut self.touched);
        let mut reached = Vec::new();
        for (number, waiter) in &self.waiters.waiting {
            let seen = matches!(waiter.milestone, Milestone::SeenBy(_));
            if (seen || touched.contains(&waiter.document)) && self.has_reached(waiter, tx)? {
                reached.push(*number);
            }
        }
        for number in reached {
            self.waiters.waiting.remove(&number);
            self.tell(Event::Reached(number));
        }
        Ok(())
    }

    fn has_reached(&self, waiter: &Waiter, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if waiter.milestone == Milestone::Local {
            return Ok(true);
        }
        if waiter.pending.is_some() {
            return Ok(false);
        }
        if let Milestone::SeenBy(device) = waiter.milestone {
            return self.is_seen(waiter, &device, tx);
        }
        for (row, relay) in &self.relays {
            let mut all = true;
            for (chain, seq) in &waiter.entries {
                let placed = tx.placed(*row, *chain)?.is_some_and(|(placed, _)| placed >= *seq);
                let sent = relay.live().and_then(|live| live.channels.get(&waiter.workspace)?.sent.get(chain).copied());
                let sent = waiter.milestone == Milestone::Sent && sent.is_some_and(|sent| sent >= *seq);
                all &= placed || sent;
            }
            if all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether a device has come, in one log or another that it was given as this one was, to each entry and to
    /// all that these may build on.
    fn is_seen(&self, waiter: &Waiter, device: &DeviceId, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if waiter.entries.is_empty() {
            return Ok(!self.relays.is_empty());
        }
        let held = self.workspaces.get(&waiter.workspace);
        let document = tx.document_by_row(waiter.document)?.map(|row| row.tag);
        if !held.zip(document).is_some_and(|(held, document)| held.is_followed(device, &document)) {
            return Ok(false);
        }
        let mut agreed = Vec::new();
        for row in self.relays.keys() {
            agreed.push((*row, tx.agreed((*row, waiter.workspace), device)?));
        }
        for (chain, seq) in waiter.entries.iter().chain(&waiter.grounds) {
            let mut has = false;
            for (row, position) in &agreed {
                let placed = tx.placed(*row, *chain)?;
                has |= placed.is_some_and(|(placed, at)| placed >= *seq && at <= *position);
            }
            if !has {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
