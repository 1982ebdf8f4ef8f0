//! What a workspace log is made of, and the short form in which entries travel.
//!
//! A log item is a record, an attestation, an entry or a device's word on a snapshot. In a steady session most of an entry's header
//! repeats what an earlier item of the same log said, so it is *elided*: the short form names the
//! position of the item that declared it, and leaves out `prev_hash`, which follows from the chain.
//! Elision is against the log and not the session, hence one run of bytes serves all readers and the
//! relay's disk.
//!
//! Invariant: `expand(elide(entry)) == entry`; a declaring item is itself never elided.

pub(crate) mod name;

pub use name::ItemHash;

use crate::bytes::{DecodeError, Reader, check_limit, put_varint};
use crate::entry::{Entry, EntryFlags, EntryKind, Header, TAG_BYTES};
use crate::hash::Digest;
use crate::ids::{ChainKey, EntryHash, EpochId, RecordId, WorkspaceTag};
use crate::keys::{SIGNATURE_BYTES, Signature};
use crate::limits::{ENTRY_BYTES_MAX, POSITION_MAX, RECORD_BYTES_MAX};
use crate::log::roots_of;
use name::{ATTEST, ATTESTATION, ENTRY, RECORD};

const ELIDED: u8 = 4;
const LEFT_OUT: u8 = 6;

/// One item of a log, still encoded: which of the kinds it is, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem<'a> {
    /// A membership record.
    Record(&'a [u8]),
    /// A relay's statement on a record.
    Attestation(&'a [u8]),
    /// An entry with its full header; declares it for those that follow.
    Entry(&'a [u8]),
    /// An entry in short form.
    Elided(ElidedEntry<'a>),
    /// A device's word on a snapshot.
    Attest(&'a [u8]),
    /// A run of items that the reader did not ask for; never part of a log, only of what is sent of it.
    LeftOut(LeftOut),
}

impl<'a> LogItem<'a> {
    /// Tells the kind apart and bounds the size.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown kind or a size over the kind's limit.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let limit = if kind == RECORD { RECORD_BYTES_MAX } else { ENTRY_BYTES_MAX };
        check_limit("log item", reader.remaining() as u64, limit as u64)?;
        match kind {
            RECORD => Ok(Self::Record(reader.take_rest())),
            ATTESTATION => Ok(Self::Attestation(reader.take_rest())),
            ENTRY => Ok(Self::Entry(reader.take_rest())),
            ELIDED => ElidedEntry::read(reader).map(Self::Elided),
            ATTEST => Ok(Self::Attest(reader.take_rest())),
            LEFT_OUT => LeftOut::read(reader).map(Self::LeftOut),
            _ => Err(DecodeError::Unknown { field: "log item", value: u64::from(kind) }),
        }
    }

    /// Returns how many positions of a log it stands for.
    #[must_use]
    pub fn positions(&self) -> u64 {
        match self {
            Self::LeftOut(run) => run.count,
            _ => 1,
        }
    }

    /// Writes a record as a log item.
    #[must_use]
    pub fn encode_record(record: &[u8]) -> Vec<u8> {
        tagged(RECORD, record)
    }

    /// Writes an attestation as a log item.
    #[must_use]
    pub fn encode_attestation(attestation: &[u8]) -> Vec<u8> {
        tagged(ATTESTATION, attestation)
    }

    /// Writes a device's word on a snapshot as a log item.
    #[must_use]
    pub fn encode_attest(attest: &[u8]) -> Vec<u8> {
        tagged(ATTEST, attest)
    }

    /// Writes an entry as a log item: in short form if `declared` fits it, else in full.
    #[must_use]
    pub fn encode_entry(entry: &Entry, declared: Option<(u64, &Declaration)>) -> Vec<u8> {
        match declared {
            Some((position, declaration)) if declaration.fits(entry.header()) => elide(entry, position),
            _ => tagged(ENTRY, &entry.encode()),
        }
    }
}

/// A run of items that are left out, by the roots of the full subtrees that it makes (RFC 9162 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// How many items it is.
    pub count: u64,
    /// The roots, from left to right ([`crate::log::roots_of`]).
    pub roots: Vec<Digest>,
}

impl LeftOut {
    /// Leaves out a run of items that stands behind so many others.
    #[must_use]
    pub fn of(before: u64, items: &[ItemHash]) -> Self {
        Self { count: items.len() as u64, roots: roots_of(before, items) }
    }

    /// Writes it as a log item.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![LEFT_OUT];
        put_varint(&mut out, self.count);
        self.roots.iter().for_each(|root| out.extend_from_slice(root));
        out
    }

    fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.varint()?;
        if count == 0 || count > POSITION_MAX {
            return Err(DecodeError::Invalid { field: "count of items left out" });
        }
        check_limit("roots of a run", reader.remaining() as u64, ROOTS_BYTES_MAX)?;
        let mut roots = Vec::new();
        while reader.remaining() > 0 {
            roots.push(reader.array()?);
        }
        Ok(Self { count, roots })
    }
}

/// A run has at most two subtrees of each height.
const ROOTS_BYTES_MAX: u64 = 2 * 64 * 32;

/// What one item of a log says for those that refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    kind: EntryKind,
    flags: EntryFlags,
    workspace: WorkspaceTag,
    chain: ChainKey,
    epoch: EpochId,
    members_head: RecordId,
}

impl Declaration {
    /// Takes from a full header what others may leave out.
    ///
    /// The flags of a document's creation are not handed on: only the first entry has them.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        let creation = header.flags.has(EntryFlags::CREATION);
        Self {
            kind: header.kind,
            flags: if creation { EntryFlags::NONE } else { header.flags },
            workspace: header.workspace,
            chain: header.chain,
            epoch: header.epoch,
            members_head: header.members_head,
        }
    }

    /// Returns the chain it was declared in.
    #[must_use]
    pub fn chain(&self) -> &ChainKey {
        &self.chain
    }

    /// Tells whether an entry with this header can be sent in short form against it.
    #[must_use]
    pub fn fits(&self, header: &Header) -> bool {
        header.seq > 1 && header.clear_root == Header::NO_CLEAR && *self == Self::of(header)
    }
}

/// An entry in short form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElidedEntry<'a> {
    /// Position of the item that declared the rest of the header.
    pub declared_at: u64,
    /// Place in the chain, above 1.
    pub seq: u64,
    salt: [u8; 16],
    sealed: &'a [u8],
    signature: Signature,
}

impl<'a> ElidedEntry<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let declared_at = reader.varint()?;
        let seq = reader.varint()?;
        if declared_at == 0 || declared_at > POSITION_MAX {
            return Err(DecodeError::Invalid { field: "declared position" });
        }
        if !(2..=POSITION_MAX).contains(&seq) {
            return Err(DecodeError::Invalid { field: "seq" });
        }
        let salt = reader.array()?;
        let sealed_len = reader.remaining().checked_sub(SIGNATURE_BYTES).ok_or(DecodeError::Truncated)?;
        if sealed_len < TAG_BYTES {
            return Err(DecodeError::Truncated);
        }
        let sealed = reader.take(sealed_len)?;
        Ok(Self { declared_at, seq, salt, sealed, signature: reader.array()? })
    }

    /// Puts the entry together again from what was declared and the hash of its predecessor.
    ///
    /// # Errors
    /// [`DecodeError`] if the parts break a rule of the header.
    pub fn expand(&self, declared: &Declaration, prev: EntryHash) -> Result<Entry, DecodeError> {
        let header = Header {
            kind: declared.kind,
            flags: declared.flags,
            workspace: declared.workspace,
            chain: declared.chain,
            seq: self.seq,
            prev,
            epoch: declared.epoch,
            members_head: declared.members_head,
            clear_root: Header::NO_CLEAR,
            salt: self.salt,
            body_len: self.sealed.len() as u32,
        };
        Entry::assemble(header, Vec::new(), self.sealed.to_vec(), self.signature)
    }
}

fn elide(entry: &Entry, declared_at: u64) -> Vec<u8> {
    let header = entry.header();
    let mut out = Vec::with_capacity(1 + 20 + 16 + entry.sealed().len() + SIGNATURE_BYTES);
    out.push(ELIDED);
    put_varint(&mut out, declared_at);
    put_varint(&mut out, header.seq);
    out.extend_from_slice(&header.salt);
    out.extend_from_slice(entry.sealed());
    out.extend_from_slice(entry.signature());
    out
}

fn tagged(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + bytes.len());
    out.push(kind);
    out.extend_from_slice(bytes);
    out
}
