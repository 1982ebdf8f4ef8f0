//! Members' words on snapshots, as this device has them.
//!
//! Invariant: each was verified under its device's key, or lies in the store since; of each device one word on a
//! snapshot is kept.

use std::collections::BTreeMap;

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{DeviceId, EntryHash};
use tombolo_protocol::membership::Vouched;
use tombolo_protocol::snapshot::Attest;

use super::Workspace;
use crate::store::{StoreError, Tx};

/// Words that are kept in one workspace: those of some hundred devices on some hundred snapshots.
const ATTESTS_MAX: usize = 1 << 15;

/// What members have said of snapshots.
#[derive(Default)]
pub(crate) struct Attests {
    by_snapshot: BTreeMap<EntryHash, BTreeMap<DeviceId, Attest>>,
    count: usize,
}

impl Attests {
    fn keep(&mut self, attest: Attest) {
        let before = self.by_snapshot.entry(attest.snapshot).or_default().insert(attest.device, attest);
        self.count += usize::from(before.is_none());
    }

    /// Tells whether a device has spoken for a snapshot.
    pub(crate) fn has(&self, snapshot: &EntryHash, device: &DeviceId) -> bool {
        self.by_snapshot.get(snapshot).is_some_and(|words| words.contains_key(device))
    }

    /// Tells whether nobody has said anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_snapshot.is_empty()
    }

    /// Returns all words, by snapshot and device.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Attest> {
        self.by_snapshot.values().flat_map(BTreeMap::values)
    }
}

impl Workspace {
    /// Loads what members have said; a word that the disk has changed is as good as none.
    pub(super) fn load_attests(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.attests(self.row)?.rows.into_iter().for_each(|attest| self.attests.keep(attest));
        Ok(())
    }

    /// Tells whether a snapshot, given by its last part, has the words that it needs.
    pub(crate) fn is_vouched(&self, last: &Entry) -> bool {
        self.attests.by_snapshot.contains_key(&last.hash()) && self.vouched(last) == Vouched::Enough
    }

    /// Judges the words on a snapshot, given by its last part.
    pub(crate) fn vouched(&self, last: &Entry) -> Vouched {
        let words = self.attests.by_snapshot.get(&last.hash()).into_iter().flat_map(BTreeMap::values);
        let words: Vec<_> = words.map(|word| (word.device, word.members_head)).collect();
        let header = last.header();
        self.membership.vouched((&header.chain.device, &header.members_head), &words)
    }

    /// Takes in a member's word on a snapshot; returns whether it was new. What does not count now is not kept: a log
    /// has what a word stands on before it.
    pub(crate) fn take_attest(&mut self, attest: Attest, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let author = self.view.device(&attest.device);
        let is_genuine = author.is_some_and(|author| attest.verify(&author.keys.sign).is_ok());
        let is_new = !self.attests.has(&attest.snapshot, &attest.device) && self.attests.count < ATTESTS_MAX;
        let counts = is_genuine && is_new && attest.workspace == self.id;
        if counts {
            tx.insert_attest(self.row, &attest)?;
            self.attests.keep(attest);
        }
        Ok(counts)
    }
}
