//! The entry: the sealed, signed, chained unit that is stored, sent and verified.
//!
//! Invariant: an [`Entry`] has a header of the fixed layout, a clear section that hashes to the
//! header's `clear_root`, and sealed bytes of the header's length; its hash was computed from those
//! very bytes. Authenticity is a separate step ([`Entry::verify`], [`verify_run`]), because a later
//! entry of the same chain vouches for the earlier ones it links to.

use crate::bytes::{DecodeError, Reader, check_limit, put_run};
use crate::hash::{Digest, hash, sha256};
use crate::ids::{ChainKey, DeviceId, DocumentTag, EntryHash, EpochId, Incarnation, RecordId, Stream, WorkspaceTag};
use crate::keys::{KeyError, SIGNATURE_BYTES, SignKey, Signature, VerifyKey};
use crate::limits::{CLEAR_SECTION_BYTES_MAX, ENTRY_BYTES_MAX};

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 236;
/// Bytes of the header in front of the salt; what the hedged salt is computed from.
pub const HEADER_BEFORE_SALT_BYTES: usize = HEADER_BYTES - 20;
/// Bytes of the AEAD tag that ends the sealed part.
pub const TAG_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"TBE1";
/// AES-256-GCM under a key and nonce derived for this one entry.
const SUITE: u8 = 1;
const SIGNATURE_CONTEXT: &str = "entry-sig";

/// What the sealed part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// Changes of the chain's author.
    Changes,
    /// The whole state at a version.
    Snapshot,
}

/// What else is to be known of an entry before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryFlags(u8);

impl EntryFlags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// The document's first entry: its body starts with the creation fields.
    pub const CREATION: Self = Self(1);
    /// A base: state by any actors, taken on the author's authority.
    pub const BASE: Self = Self(2);
    /// The next entry of the chain continues this one; they take effect together.
    pub const CONTINUES: Self = Self(4);

    const KNOWN: u8 = 7;

    /// Tells whether all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The signed, clear part of an entry; also the AEAD's associated data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the sealed part holds.
    pub kind: EntryKind,
    /// Creation, base, continuation.
    pub flags: EntryFlags,
    /// The workspace.
    pub workspace: WorkspaceTag,
    /// The chain: document, stream, device and incarnation.
    pub chain: ChainKey,
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Hash of the entry before; zero for the first.
    pub prev: EntryHash,
    /// The epoch whose key seals it.
    pub epoch: EpochId,
    /// The membership record its author had caught up with.
    pub members_head: RecordId,
    /// Hash of the clear section; zero if there is none.
    pub clear_root: Digest,
    /// Makes key and nonce unique.
    pub salt: [u8; 16],
    /// Bytes of `ciphertext ‖ tag`.
    pub body_len: u32,
}

impl Header {
    /// The `prev` of a chain's first entry.
    pub const NO_PREV: EntryHash = EntryHash::from_bytes([0; 32]);
    /// The `clear_root` of an entry without a clear section.
    pub const NO_CLEAR: Digest = [0; 32];

    /// Tells whether it names `entry` as its predecessor in the same chain: if it is authentic, that one is.
    #[must_use]
    pub fn names(&self, entry: &Entry) -> bool {
        self.prev == entry.hash && self.chain == entry.header.chain && self.seq.checked_sub(1) == Some(entry.header.seq)
    }

    /// Writes the fixed layout.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[SUITE, self.kind as u8, self.chain.stream.0, self.flags.0]);
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.chain.document.as_bytes());
        out.extend_from_slice(self.chain.device.as_bytes());
        out.extend_from_slice(&self.chain.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(self.prev.as_bytes());
        out.extend_from_slice(self.epoch.as_bytes());
        out.extend_from_slice(self.members_head.as_bytes());
        out.extend_from_slice(&self.clear_root);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.body_len.to_be_bytes());
        out
    }

    /// Reads the fixed layout and judges each field by itself.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are short, of another suite, or break a field's rule.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.array()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let [suite, kind, stream, flags] = reader.array()?;
        if suite != SUITE {
            return Err(DecodeError::Unknown { field: "suite", value: u64::from(suite) });
        }
        let header = Self {
            kind: read_kind(kind)?,
            flags: read_flags(flags)?,
            workspace: WorkspaceTag::read(reader)?,
            chain: ChainKey {
                document: DocumentTag::read(reader)?,
                stream: Stream(stream),
                device: DeviceId::read(reader)?,
                incarnation: Incarnation(reader.u64()?),
            },
            seq: reader.u64()?,
            prev: EntryHash::read(reader)?,
            epoch: EpochId::read(reader)?,
            members_head: RecordId::read(reader)?,
            clear_root: reader.array()?,
            salt: reader.array()?,
            body_len: reader.u32()?,
        };
        header.judge().map(|()| header)
    }

    fn judge(&self) -> Result<(), DecodeError> {
        let first = self.seq == 1;
        if self.seq == 0 || self.seq > i64::MAX as u64 {
            return Err(DecodeError::Invalid { field: "seq" });
        }
        if first != (self.prev == Self::NO_PREV) {
            return Err(DecodeError::Invalid { field: "prev_hash" });
        }
        if self.flags.has(EntryFlags::CREATION) && !first {
            return Err(DecodeError::Invalid { field: "flags" });
        }
        check_limit("body_len", u64::from(self.body_len), ENTRY_BYTES_MAX as u64)?;
        if (self.body_len as usize) < TAG_BYTES {
            return Err(DecodeError::Invalid { field: "body_len" });
        }
        Ok(())
    }
}

/// One entry with the hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    header: Header,
    clear: Vec<u8>,
    sealed: Vec<u8>,
    signature: Signature,
    hash: EntryHash,
}

impl Entry {
    /// Puts an entry together and signs it; `body_len` and `clear_root` must already fit.
    ///
    /// # Errors
    /// [`DecodeError`] if the header breaks a rule or does not fit the parts.
    pub fn sign(header: Header, clear: Vec<u8>, sealed: Vec<u8>, key: &SignKey) -> Result<Self, DecodeError> {
        let hash = entry_hash(&header, &sealed);
        let signature = key.sign(SIGNATURE_CONTEXT, hash.as_bytes());
        Self::assemble(header, clear, sealed, signature)
    }

    /// Puts an entry together from parts that were stored or sent apart.
    ///
    /// # Errors
    /// [`DecodeError`] if the header breaks a rule or does not fit the parts.
    pub fn assemble(
        header: Header,
        clear: Vec<u8>,
        sealed: Vec<u8>,
        signature: Signature,
    ) -> Result<Self, DecodeError> {
        header.judge()?;
        if header.body_len as usize != sealed.len() {
            return Err(DecodeError::Invalid { field: "body_len" });
        }
        if header.clear_root != clear_root(&clear) {
            return Err(DecodeError::Invalid { field: "clear_root" });
        }
        check_limit("clear section", clear.len() as u64, CLEAR_SECTION_BYTES_MAX as u64)?;
        let prefix = if clear.is_empty() { 0 } else { 4 };
        let size = HEADER_BYTES + prefix + clear.len() + sealed.len() + SIGNATURE_BYTES;
        check_limit("entry", size as u64, ENTRY_BYTES_MAX as u64)?;
        let hash = entry_hash(&header, &sealed);
        Ok(Self { header, clear, sealed, signature, hash })
    }

    /// Reads an entry with its full header.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that is not exactly one entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_limit("entry", bytes.len() as u64, ENTRY_BYTES_MAX as u64)?;
        let mut reader = Reader::new(bytes);
        let header = Header::read(&mut reader)?;
        let clear = if header.clear_root == Header::NO_CLEAR {
            Vec::new()
        } else {
            reader.run("clear section", CLEAR_SECTION_BYTES_MAX)?.to_vec()
        };
        let sealed = reader.take(header.body_len as usize)?.to_vec();
        let signature = reader.array()?;
        reader.finish()?;
        Self::assemble(header, clear, sealed, signature)
    }

    /// Writes the entry with its full header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.encode();
        if !self.clear.is_empty() {
            put_run(&mut out, &self.clear);
        }
        out.extend_from_slice(&self.sealed);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Verifies this entry's own signature.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it is not the author's.
    pub fn verify(&self, author: &VerifyKey) -> Result<(), KeyError> {
        author.verify(SIGNATURE_CONTEXT, self.hash.as_bytes(), &self.signature)
    }

    /// Returns the header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the clear section, empty if there is none.
    #[must_use]
    pub fn clear(&self) -> &[u8] {
        &self.clear
    }

    /// Returns `ciphertext ‖ tag`.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Returns the author's signature over the hash.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Returns the entry's name.
    #[must_use]
    pub fn hash(&self) -> EntryHash {
        self.hash
    }
}

/// Returns what `clear_root` must be for a clear section.
#[must_use]
pub fn clear_root(clear: &[u8]) -> Digest {
    if clear.is_empty() { Header::NO_CLEAR } else { hash("clear", &[clear]) }
}

/// Verifies consecutive entries of one chain with as few signature checks as honesty needs.
///
/// Returns one verdict for each entry. An entry is authentic if its own signature, or that of a
/// later entry which links to it, is valid: so an honest run costs one verification, and a lone bad
/// signature condemns nothing but itself.
#[must_use]
pub fn verify_run(entries: &[Entry], author: &VerifyKey) -> Vec<Result<(), KeyError>> {
    let mut verdicts = Vec::with_capacity(entries.len());
    let mut later: Option<&Header> = None;
    for entry in entries.iter().rev() {
        let vouched = later.is_some_and(|later| later.names(entry));
        let verdict = if vouched { Ok(()) } else { entry.verify(author) };
        later = verdict.is_ok().then_some(&entry.header);
        verdicts.push(verdict);
    }
    verdicts.reverse();
    verdicts
}

fn entry_hash(header: &Header, sealed: &[u8]) -> EntryHash {
    EntryHash::from_bytes(hash("entry", &[&header.encode(), &sha256(&[sealed])]))
}

fn read_kind(byte: u8) -> Result<EntryKind, DecodeError> {
    match byte {
        0 => Ok(EntryKind::Changes),
        1 => Ok(EntryKind::Snapshot),
        _ => Err(DecodeError::Unknown { field: "kind", value: u64::from(byte) }),
    }
}

fn read_flags(byte: u8) -> Result<EntryFlags, DecodeError> {
    if byte & !EntryFlags::KNOWN != 0 {
        return Err(DecodeError::Unknown { field: "flags", value: u64::from(byte) });
    }
    Ok(EntryFlags(byte))
}
