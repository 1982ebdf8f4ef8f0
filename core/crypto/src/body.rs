//! The body of an entry: who edited when, what the changes depend on, and the changes.
//!
//! Layout: `crdt u8 | instance 8 | wall_ms 8 | creation u8 [incarnation 8 | random 16 | u8 run] |
//! varint count, deps (8 ‖ varint seq ‖ 8) | encoding u8 | varint raw length | payload`; the payload,
//! as it is or compressed by zstd, holds the changes, each behind its varint length.
//!
//! Invariant: a body that decodes encodes to bytes that decode to it; nothing is allocated beyond
//! what is declared, and what is declared is bounded.

use std::fmt;

use tombolo_protocol::bytes::{DecodeError, Reader, put_varint};
use tombolo_protocol::ids::{ChainId, Incarnation, Instance};
use tombolo_protocol::limits::{APP_TYPE_BYTES_MAX, BODY_BYTES_MAX, DEPS_MAX, POSITION_MAX};

use crate::unzip::unzip;

/// Changes in one body: each costs the reader an allocation, whatever its size.
pub const CHANGES_MAX: usize = 1 << 16;

/// From how many bytes on compressing pays.
const COMPRESS_FROM_BYTES: usize = 128;
const COMPRESSION_LEVEL: i32 = 3;
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Bytes a dependency has at least: chain id, one byte of seq, hash prefix.
const DEP_BYTES_MIN: u64 = 17;

/// What a document's first entry says of its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// In which life of the creating device's store.
    pub incarnation: Incarnation,
    /// Makes the document's id unique.
    pub random: [u8; 16],
    /// The application's name for this type of document.
    pub app_type: String,
}

/// An entry of another chain that the changes build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dep {
    /// The chain.
    pub chain: ChainId,
    /// The place in it.
    pub seq: u64,
    /// The first bytes of that entry's hash.
    pub hash_prefix: [u8; 8],
}

/// What an entry's plaintext says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The creation fields, in a document's first entry.
    pub creation: Option<Creation>,
    /// Which CRDT the changes are of.
    pub crdt: u8,
    /// The run of edits they belong to.
    pub instance: Instance,
    /// The author's clock, milliseconds since 1970: for display alone.
    pub wall_ms: i64,
    /// What they build on in other chains.
    pub deps: Vec<Dep>,
    /// The changes, in order.
    pub changes: Vec<Vec<u8>>,
}

/// Why a body can not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The bytes are no body: the fault of their author. Or, when writing, a field over its limit.
    Malformed(DecodeError),
    /// The compressed changes do not unfold to what they claim.
    Compression,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not an entry's body: {error}"),
            Self::Compression => f.write_str("the compressed changes are not what they claim"),
        }
    }
}

impl std::error::Error for BodyError {}

impl From<DecodeError> for BodyError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl Body {
    /// Writes the body, compressed if that is smaller.
    ///
    /// # Errors
    /// [`BodyError::Malformed`] if a field is over its limit or a change is empty.
    pub fn encode(&self) -> Result<Vec<u8>, BodyError> {
        let raw = self.encode_changes()?;
        let mut out = Vec::with_capacity(64 + self.deps.len() * 20 + raw.len());
        out.push(self.crdt);
        out.extend_from_slice(&self.instance.0.to_be_bytes());
        out.extend_from_slice(&self.wall_ms.to_be_bytes());
        match &self.creation {
            None => out.push(0),
            Some(creation) => creation.write(&mut out)?,
        }
        check("dependencies", self.deps.len() as u64, DEPS_MAX)?;
        put_varint(&mut out, self.deps.len() as u64);
        for dep in &self.deps {
            check_seq(dep.seq)?;
            out.extend_from_slice(dep.chain.as_bytes());
            put_varint(&mut out, dep.seq);
            out.extend_from_slice(&dep.hash_prefix);
        }
        let packed = compress(&raw)?;
        out.push(if packed.is_some() { ZSTD } else { RAW });
        put_varint(&mut out, raw.len() as u64);
        out.extend_from_slice(packed.as_ref().unwrap_or(&raw));
        Ok(out)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`BodyError`] for anything that is not exactly one body within its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(bytes);
        let (crdt, instance) = (reader.u8()?, Instance(reader.u64()?));
        let wall_ms = reader.i64()?;
        let creation = match reader.u8()? {
            0 => None,
            1 => Some(Creation::read(&mut reader)?),
            _ => return Err(DecodeError::Invalid { field: "creation" }.into()),
        };
        let deps = read_deps(&mut reader)?;
        let changes = read_changes(&mut reader)?;
        Ok(Self { creation, crdt, instance, wall_ms, deps, changes })
    }

    fn encode_changes(&self) -> Result<Vec<u8>, BodyError> {
        check("changes", self.changes.len() as u64, CHANGES_MAX)?;
        let bytes: usize = self.changes.iter().map(|change| change.len() + 10).sum();
        let mut raw = Vec::with_capacity(bytes.min(BODY_BYTES_MAX));
        for change in &self.changes {
            if change.is_empty() {
                return Err(DecodeError::Invalid { field: "change" }.into());
            }
            let size = raw.len().saturating_add(change.len()) as u64;
            check("body", size, BODY_BYTES_MAX)?;
            put_varint(&mut raw, change.len() as u64);
            raw.extend_from_slice(change);
        }
        check("body", raw.len() as u64, BODY_BYTES_MAX)?;
        Ok(raw)
    }
}

impl Creation {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        check("app type", self.app_type.len() as u64, APP_TYPE_BYTES_MAX)?;
        out.push(1);
        out.extend_from_slice(&self.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.random);
        out.push(self.app_type.len() as u8);
        out.extend_from_slice(self.app_type.as_bytes());
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, BodyError> {
        let (incarnation, random) = (Incarnation(reader.u64()?), reader.array()?);
        let length = reader.u8()?;
        check("app type", u64::from(length), APP_TYPE_BYTES_MAX)?;
        let app_type = String::from_utf8(reader.take(usize::from(length))?.to_vec())
            .map_err(|_| DecodeError::Invalid { field: "app type" })?;
        Ok(Self { incarnation, random, app_type })
    }
}

fn read_deps(reader: &mut Reader<'_>) -> Result<Vec<Dep>, BodyError> {
    let count = reader.varint()?;
    check("dependencies", count, DEPS_MAX)?;
    if count * DEP_BYTES_MIN > reader.remaining() as u64 {
        return Err(DecodeError::Truncated.into());
    }
    let mut deps = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let dep = Dep { chain: ChainId::read(reader)?, seq: reader.varint()?, hash_prefix: reader.array()? };
        check_seq(dep.seq)?;
        deps.push(dep);
    }
    Ok(deps)
}

/// A dependency obeys the rule of an entry's own `seq`.
fn check_seq(seq: u64) -> Result<(), DecodeError> {
    if (1..=POSITION_MAX).contains(&seq) { Ok(()) } else { Err(DecodeError::Invalid { field: "dependency" }) }
}

fn read_changes(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, BodyError> {
    let encoding = reader.u8()?;
    let raw_len = reader.varint()?;
    check("body", raw_len, BODY_BYTES_MAX)?;
    let raw_len = raw_len as usize;
    let payload = reader.take_rest();
    match encoding {
        RAW if payload.len() == raw_len => split_changes(payload),
        RAW => Err(DecodeError::Invalid { field: "raw length" }.into()),
        ZSTD if payload.len() < raw_len => split_changes(&decompress(payload, raw_len)?),
        ZSTD => Err(BodyError::Compression),
        _ => Err(DecodeError::Unknown { field: "encoding", value: u64::from(encoding) }.into()),
    }
}

fn split_changes(raw: &[u8]) -> Result<Vec<Vec<u8>>, BodyError> {
    let mut reader = Reader::new(raw);
    let mut changes = Vec::new();
    while reader.remaining() > 0 {
        check("changes", changes.len() as u64 + 1, CHANGES_MAX)?;
        let length = reader.varint()?;
        if length == 0 {
            return Err(DecodeError::Invalid { field: "change" }.into());
        }
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
        changes.push(reader.take(length)?.to_vec());
    }
    Ok(changes)
}

fn compress(raw: &[u8]) -> Result<Option<Vec<u8>>, BodyError> {
    if raw.len() < COMPRESS_FROM_BYTES {
        return Ok(None);
    }
    let packed = zstd::bulk::compress(raw, COMPRESSION_LEVEL).map_err(|_| BodyError::Compression)?;
    Ok((packed.len() < raw.len()).then_some(packed))
}

fn decompress(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, BodyError> {
    let raw = unzip(payload, raw_len).ok_or(BodyError::Compression)?;
    if raw.len() != raw_len {
        return Err(BodyError::Compression);
    }
    Ok(raw)
}

fn check(field: &'static str, claimed: u64, limit: usize) -> Result<(), DecodeError> {
    let limit = limit as u64;
    if claimed > limit {
        return Err(DecodeError::TooLarge { field, claimed, limit });
    }
    Ok(())
}
