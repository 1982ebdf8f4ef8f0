//! The names of log items: what a log's Merkle tree is made over.
//!
//! Invariant: a leaf says which kind of item it names, by the number with which such an item begins.

use crate::hash::Digest;
use crate::ids::{EntryHash, RecordId};

/// The kinds of items that a log has, as they are stored and named; an entry in short form is named like one in full.
pub(super) const RECORD: u8 = 1;
pub(super) const ATTESTATION: u8 = 2;
pub(super) const ENTRY: u8 = 3;
pub(super) const ATTEST: u8 = 5;

/// The name of a log item, as the log's Merkle tree holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemHash {
    /// A record's id.
    Record(RecordId),
    /// Hash of an attestation's bytes.
    Attestation(Digest),
    /// An entry's hash.
    Entry(EntryHash),
    /// Hash of the bytes of a device's word on a snapshot.
    Attest(Digest),
}

impl ItemHash {
    /// Returns the bytes that are the leaf of the Merkle tree: kind and hash.
    #[must_use]
    pub fn to_leaf(&self) -> [u8; 33] {
        let kind = match self {
            Self::Record(_) => RECORD,
            Self::Attestation(_) => ATTESTATION,
            Self::Entry(_) => ENTRY,
            Self::Attest(_) => ATTEST,
        };
        let mut leaf = [kind; 33];
        for (to, from) in leaf.iter_mut().skip(1).zip(self.digest()) {
            *to = *from;
        }
        leaf
    }

    /// Returns the hash without the kind.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Record(id) => id.as_bytes(),
            Self::Entry(hash) => hash.as_bytes(),
            Self::Attestation(digest) | Self::Attest(digest) => digest,
        }
    }
}
