//! The beginning of an epoch, and its later delivery to those who lack it.
//!
//! Invariant: wraps and earlier epochs are sorted and distinct, so one set has one encoding.

use crate::bytes::{DecodeError, Reader};
use crate::ids::EpochId;
use crate::limits::{PREVIOUS_EPOCHS_MAX, WRAPS_MAX};

/// The secret of an epoch and the blinding key, sealed to one X25519 key by HPKE (RFC 9180).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochWrap {
    /// A device's id, an invite's record id, or the id of a user whose recovery key it is for.
    pub recipient: [u8; 32],
    /// HPKE's encapsulated key.
    pub encapsulated: [u8; 32],
    /// `secret 32 ‖ blinding key 32 ‖ tag 16`.
    pub sealed: [u8; 80],
}

impl EpochWrap {
    /// Stands in an invite whose role is given no key.
    pub const NONE: Self = Self { recipient: [0; 32], encapsulated: [0; 32], sealed: [0; 80] };

    const BYTES: usize = 144;

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.recipient);
        out.extend_from_slice(&self.encapsulated);
        out.extend_from_slice(&self.sealed);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { recipient: reader.array()?, encapsulated: reader.array()?, sealed: reader.array()? })
    }
}

/// The secret of an earlier epoch, sealed under the new one, so that members read all history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousEpoch {
    /// Which epoch.
    pub epoch: EpochId,
    /// `secret 32 ‖ tag 16`.
    pub sealed: [u8; 48],
}

/// The beginning of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Commits to the new secret.
    pub epoch: EpochId,
    /// The epochs it follows, sorted; empty only for a workspace's first.
    pub previous: Vec<PreviousEpoch>,
    /// One for each recipient, sorted by recipient.
    pub wraps: Vec<EpochWrap>,
}

impl Rotation {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.epoch.as_bytes());
        out.extend_from_slice(&(self.previous.len() as u16).to_be_bytes());
        for previous in &self.previous {
            out.extend_from_slice(previous.epoch.as_bytes());
            out.extend_from_slice(&previous.sealed);
        }
        write_wraps(&self.wraps, out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = EpochId::read(reader)?;
        let count = reader.count("previous epochs", PREVIOUS_EPOCHS_MAX, 80)?;
        let mut previous = Vec::with_capacity(count);
        for _ in 0..count {
            previous.push(PreviousEpoch { epoch: EpochId::read(reader)?, sealed: reader.array()? });
        }
        let wraps = read_wraps(reader)?;
        if !previous.is_sorted_by(|a, b| a.epoch < b.epoch) {
            return Err(DecodeError::Invalid { field: "previous epochs" });
        }
        Ok(Self { epoch, previous, wraps })
    }
}

/// An epoch that already runs, wrapped to members who lack it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrap {
    /// Which epoch.
    pub epoch: EpochId,
    /// One for each recipient, sorted by recipient.
    pub wraps: Vec<EpochWrap>,
}

impl Rewrap {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.epoch.as_bytes());
        write_wraps(&self.wraps, out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { epoch: EpochId::read(reader)?, wraps: read_wraps(reader)? })
    }
}

fn write_wraps(wraps: &[EpochWrap], out: &mut Vec<u8>) {
    out.extend_from_slice(&(wraps.len() as u16).to_be_bytes());
    for wrap in wraps {
        wrap.write(out);
    }
}

fn read_wraps(reader: &mut Reader<'_>) -> Result<Vec<EpochWrap>, DecodeError> {
    let count = reader.count("wraps", WRAPS_MAX, EpochWrap::BYTES)?;
    let mut wraps = Vec::with_capacity(count);
    for _ in 0..count {
        wraps.push(EpochWrap::read(reader)?);
    }
    if !wraps.is_sorted_by(|a, b| a.recipient < b.recipient) {
        return Err(DecodeError::Invalid { field: "wraps" });
    }
    Ok(wraps)
}
