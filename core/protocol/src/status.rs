//! Status rows: how far a device has come, told to the other members outside the log.
//!
//! Invariant: a row is signed by its device and counts up; the relay keeps the newest of each device
//! and can not read it.

use crate::bytes::{DecodeError, Reader, check_limit};
use crate::hash::hash;
use crate::ids::{DeviceId, EpochId, WorkspaceTag};
use crate::keys::{KeyError, SignKey, Signature, VerifyKey};
use crate::limits::STATUS_BYTES_MAX;

const MAGIC: [u8; 4] = *b"TBS1";
const CONTEXT: &str = "status-sig";

/// A sealed status row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// Which workspace.
    pub workspace: WorkspaceTag,
    /// Whose it is.
    pub device: DeviceId,
    /// Counts up with each row of the device; milliseconds since 1970 serve.
    pub nth: u64,
    /// The epoch whose key seals it.
    pub epoch: EpochId,
    /// The sealed content.
    pub sealed: Vec<u8>,
    signature: Signature,
}

impl StatusRow {
    /// Signs a row.
    #[must_use]
    pub fn sign(
        workspace: WorkspaceTag,
        device: DeviceId,
        nth: u64,
        epoch: EpochId,
        sealed: Vec<u8>,
        key: &SignKey,
    ) -> Self {
        let mut row = Self { workspace, device, nth, epoch, sealed, signature: [0; 64] };
        row.signature = key.sign(CONTEXT, &row.digest());
        row
    }

    /// Returns what the content of such a row is bound to.
    #[must_use]
    pub fn header_of(workspace: &WorkspaceTag, device: &DeviceId, nth: u64, epoch: &EpochId) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(workspace.as_bytes());
        out.extend_from_slice(device.as_bytes());
        out.extend_from_slice(&nth.to_be_bytes());
        out.extend_from_slice(epoch.as_bytes());
        out
    }

    /// Returns what the sealed content is bound to.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        Self::header_of(&self.workspace, &self.device, self.nth, &self.epoch)
    }

    fn digest(&self) -> [u8; 32] {
        hash("status", &[&self.header(), &self.sealed])
    }

    /// Writes the row.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header();
        out.extend_from_slice(&self.signature);
        out.extend_from_slice(&self.sealed);
        out
    }

    /// Reads a row; its signature is a separate step.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no row or too many.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_limit("status row", bytes.len() as u64, STATUS_BYTES_MAX as u64)?;
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let (workspace, device) = (WorkspaceTag::read(&mut reader)?, DeviceId::read(&mut reader)?);
        let (nth, epoch) = (reader.position()?, EpochId::read(&mut reader)?);
        let signature = reader.array()?;
        Ok(Self { workspace, device, nth, epoch, signature, sealed: reader.take_rest().to_vec() })
    }

    /// Verifies that its device signed it.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it did not.
    pub fn verify(&self, device: &VerifyKey) -> Result<(), KeyError> {
        device.verify(CONTEXT, &self.digest(), &self.signature)
    }
}
