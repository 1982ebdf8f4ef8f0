//! The record: a signed, plain statement of the membership log.
//!
//! Records are content-addressed and name their parents, so they form a graph; what they mean is
//! decided by [`crate::membership`]. Names, e-mails and reasons sit in an encrypted section.
//!
//! Invariant: a [`Record`] follows the fixed layout, its id is the hash of its bytes without the
//! signature, and its parents are sorted and distinct, so one set of parents has one encoding.

mod body;
mod invite;
mod policy;
mod role;
mod rotation;
mod standing;

pub use body::{Devices, Genesis, RecordBody, RelaySuccession};
pub use invite::{InviteCreate, InviteRevoke, Join};
pub use policy::{LEVEL_MAX, Levels, OrganisationRecovery, Policy, RecoverySet};
pub use role::Role;
pub use rotation::{EpochWrap, PreviousEpoch, Rewrap, Rotation};
pub use standing::{Expiry, Pin, Pins, Standing};

use crate::bytes::{DecodeError, Reader, check_limit, put_run};
use crate::hash::hash;
use crate::identity::IdentityError;
use crate::ids::{DeviceId, RecordId, WorkspaceId};
use crate::keys::{KeyError, SignKey, Signature, VerifyKey};
use crate::limits::{PARENTS_MAX, POSITION_MAX, RECORD_BYTES_MAX, RECORD_SECRET_BYTES_MAX};

const MAGIC: [u8; 4] = *b"TBR1";
const SIGNATURE_CONTEXT: &str = "record-sig";

/// Why bytes are not a record: always the fault of who made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes do not follow the layout.
    Malformed(DecodeError),
    /// The identity log inside is not one.
    Identity(IdentityError),
    /// A key inside is weak.
    Key(KeyError),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not a record: {error}"),
            Self::Identity(error) => write!(f, "in a record: {error}"),
            Self::Key(error) => write!(f, "in a record: {error}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<IdentityError> for RecordError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<KeyError> for RecordError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// What a record says before its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The workspace; zero in the genesis, whose own id becomes the workspace's.
    pub workspace: WorkspaceId,
    /// One more than the greatest generation of the parents; zero for the genesis.
    pub generation: u64,
    /// The author's clock, milliseconds since 1970; a hint, nothing is decided by it.
    pub time_ms: i64,
    /// The device that signs.
    pub author: DeviceId,
    /// The records its author had as heads; sorted.
    pub parents: Vec<RecordId>,
    /// What it states.
    pub body: RecordBody,
    /// Sealed names and reasons; may be empty.
    pub secret: Vec<u8>,
}

/// One record with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    draft: Draft,
    signature: Signature,
    id: RecordId,
    encoded_bytes: usize,
}

impl Record {
    /// The workspace that stands in a genesis.
    pub const NO_WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([0; 32]);

    /// Signs a draft; its parents, and the wraps and earlier epochs of a rotation, are sorted on the way.
    ///
    /// # Errors
    /// [`RecordError`] if the draft breaks a rule of the layout.
    pub fn sign(mut draft: Draft, key: &SignKey) -> Result<Self, RecordError> {
        draft.parents.sort_unstable();
        draft.parents.dedup();
        draft.body.sort();
        let mut bytes = encode_draft(&draft);
        let signature = key.sign(SIGNATURE_CONTEXT, record_id(&bytes).as_bytes());
        bytes.extend_from_slice(&signature);
        let record = Self::decode(&bytes)?;
        if record.draft != draft {
            return Err(DecodeError::Invalid { field: "draft" }.into());
        }
        Ok(record)
    }

    /// Reads a record; its signature is judged once its author's key is known.
    ///
    /// # Errors
    /// [`RecordError`] for anything that is not exactly one record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        check_limit("record", bytes.len() as u64, RECORD_BYTES_MAX as u64)?;
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::Magic.into());
        }
        let [kind, flags] = reader.array()?;
        if flags != 0 {
            return Err(DecodeError::Unknown { field: "record flags", value: u64::from(flags) }.into());
        }
        let draft = read_draft(kind, &mut reader)?;
        let signature = reader.array()?;
        reader.finish()?;
        draft.judge()?;
        let canonical = encode_draft(&draft);
        if !bytes.starts_with(&canonical) {
            return Err(DecodeError::Invalid { field: "encoding" }.into());
        }
        Ok(Self { draft, signature, id: record_id(&canonical), encoded_bytes: bytes.len() })
    }

    /// Writes the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = encode_draft(&self.draft);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Verifies the author's signature.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it is not this key's.
    pub fn verify(&self, author: &VerifyKey) -> Result<(), KeyError> {
        author.verify(SIGNATURE_CONTEXT, self.id.as_bytes(), &self.signature)
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> RecordId {
        self.id
    }

    /// Returns the workspace it belongs to.
    #[must_use]
    pub fn workspace(&self) -> WorkspaceId {
        if matches!(self.draft.body, RecordBody::Genesis(_)) { self.id.into() } else { self.draft.workspace }
    }

    /// Returns how many bytes it has, signature included.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }

    /// Returns its signature, which its id does not cover.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Puts another copy's signature in place of one that was forged.
    pub(crate) fn resign(&mut self, signature: Signature) {
        self.signature = signature;
    }

    /// Returns the device that signed it.
    #[must_use]
    pub fn author(&self) -> DeviceId {
        self.draft.author
    }

    /// Returns its depth in the graph.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.draft.generation
    }

    /// Returns its author's clock.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.draft.time_ms
    }

    /// Returns the records it stands on, sorted.
    #[must_use]
    pub fn parents(&self) -> &[RecordId] {
        &self.draft.parents
    }

    /// Returns what it states.
    #[must_use]
    pub fn body(&self) -> &RecordBody {
        &self.draft.body
    }

    /// Returns its sealed section.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.draft.secret
    }
}

impl Draft {
    fn judge(&self) -> Result<(), DecodeError> {
        let genesis = matches!(self.body, RecordBody::Genesis(_));
        if genesis != self.parents.is_empty() || genesis != (self.generation == 0) {
            return Err(DecodeError::Invalid { field: "parents" });
        }
        if genesis != (self.workspace == Record::NO_WORKSPACE) {
            return Err(DecodeError::Invalid { field: "workspace" });
        }
        if self.generation > POSITION_MAX {
            return Err(DecodeError::Invalid { field: "generation" });
        }
        if !self.parents.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::Invalid { field: "parents" });
        }
        Ok(())
    }
}

fn encode_draft(draft: &Draft) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[draft.body.kind(), 0]);
    out.extend_from_slice(draft.workspace.as_bytes());
    out.extend_from_slice(&draft.generation.to_be_bytes());
    out.extend_from_slice(&draft.time_ms.to_be_bytes());
    out.extend_from_slice(draft.author.as_bytes());
    out.extend_from_slice(&(draft.parents.len() as u16).to_be_bytes());
    for parent in &draft.parents {
        out.extend_from_slice(parent.as_bytes());
    }
    put_run(&mut out, &draft.body.encode());
    put_run(&mut out, &draft.secret);
    out
}

fn read_draft(kind: u8, reader: &mut Reader<'_>) -> Result<Draft, RecordError> {
    let workspace = WorkspaceId::read(reader)?;
    let generation = reader.u64()?;
    let time_ms = reader.i64()?;
    let author = DeviceId::read(reader)?;
    let count = reader.count("parents", PARENTS_MAX, RecordId::BYTES)?;
    let mut parents = Vec::with_capacity(count);
    for _ in 0..count {
        parents.push(RecordId::read(reader)?);
    }
    let body = RecordBody::decode(kind, reader.run("record body", RECORD_BYTES_MAX)?)?;
    let secret = reader.run("record secret", RECORD_SECRET_BYTES_MAX)?.to_vec();
    Ok(Draft { workspace, generation, time_ms, author, parents, body, secret })
}

fn record_id(bytes_without_signature: &[u8]) -> RecordId {
    RecordId::from_bytes(hash("record", &[bytes_without_signature]))
}
