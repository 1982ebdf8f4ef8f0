//! What a relay signs: heads and receipts, log resets, and attestations on records.
//!
//! Invariant: each statement has a fixed layout of its own magic and is signed under a context of its
//! own; a decoded statement is only a claim until `verify` has returned it. A relay that signs two
//! heads of one length, or a head it can not extend, has produced evidence against itself.

use crate::bytes::{DecodeError, Reader};
use crate::hash::{Digest, hash};
use crate::ids::{LogId, RecordId, RelayId, WorkspaceId};
use crate::item::ItemHash;
use crate::keys::{KeyError, SIGNATURE_BYTES, SignKey, Signature, VerifyKey};

/// A statement with the signature of the relay it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    statement: T,
    signature: Signature,
}

/// A kind of statement: its layout and its signing context.
pub trait Statement: Sized {
    /// Keeps one kind from passing for another.
    const CONTEXT: &'static str;

    /// Returns the relay that makes it.
    fn relay(&self) -> RelayId;
    /// Writes the fixed layout.
    fn encode(&self) -> Vec<u8>;
    /// Reads the fixed layout.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes do not follow it.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

impl<T: Statement> Signed<T> {
    /// Signs a statement; the key must be the relay's that the statement names.
    #[must_use]
    pub fn sign(statement: T, key: &SignKey) -> Self {
        let signature = key.sign(T::CONTEXT, &statement.encode());
        Self { statement, signature }
    }

    /// Reads statement and signature; nothing is verified yet.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes do not follow the layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let statement = T::read(&mut reader)?;
        let signature = reader.array::<SIGNATURE_BYTES>()?;
        reader.finish()?;
        Ok(Self { statement, signature })
    }

    /// Writes statement and signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.statement.encode();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Returns the statement as it was read: nobody's word yet, unless the caller has verified it before.
    #[must_use]
    pub fn claim(&self) -> &T {
        &self.statement
    }

    /// Verifies the signature under the key of the relay it names, and returns the statement.
    ///
    /// # Errors
    /// [`KeyError`] if the relay's id is no key, or the signature is not its.
    pub fn verify(&self) -> Result<&T, KeyError> {
        let key = VerifyKey::parse(self.statement.relay().as_bytes())?;
        key.verify(T::CONTEXT, &self.statement.encode(), &self.signature)?;
        Ok(&self.statement)
    }
}

/// "My log of this workspace had this head, durably, at this time": a head, or a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who says so.
    pub relay: RelayId,
    /// About which workspace.
    pub workspace: WorkspaceId,
    /// In which history.
    pub log: LogId,
    /// The length of the log.
    pub position: u64,
    /// `R_n` at that length.
    pub head: Digest,
    /// The relay's clock, milliseconds since 1970.
    pub time_ms: i64,
    /// Hash of what it acknowledges to this session ([`acknowledged`]); zero for a mere head.
    pub acknowledged: Digest,
}

impl Receipt {
    /// Bytes of a receipt with its signature.
    pub const SIGNED_BYTES: usize = 164 + SIGNATURE_BYTES;
}

impl Statement for Receipt {
    const CONTEXT: &'static str = "receipt-sig";

    fn relay(&self) -> RelayId {
        self.relay
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(164);
        out.extend_from_slice(b"TBP1");
        out.extend_from_slice(self.relay.as_bytes());
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.log.as_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        out.extend_from_slice(&self.acknowledged);
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        expect_magic(reader, b"TBP1")?;
        Ok(Self {
            relay: RelayId::read(reader)?,
            workspace: WorkspaceId::read(reader)?,
            log: LogId::read(reader)?,
            position: reader.position()?,
            head: reader.array()?,
            time_ms: reader.i64()?,
            acknowledged: reader.array()?,
        })
    }
}

/// Returns the hash of a run of acknowledged items, in the order in which the session sent them.
#[must_use]
pub fn acknowledged(items: &[ItemHash]) -> Digest {
    let leaves: Vec<u8> = items.iter().flat_map(ItemHash::to_leaf).collect();
    hash("acknowledged", &[&leaves])
}

/// "I lost the history that this head belongs to, and began another."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReset {
    /// Who says so.
    pub relay: RelayId,
    /// About which workspace.
    pub workspace: WorkspaceId,
    /// The history that can not be continued.
    pub old_log: LogId,
    /// The history that begins.
    pub new_log: LogId,
    /// How much of the old history is still there.
    pub position: u64,
    /// Its head at that length.
    pub head: Digest,
    /// The relay's clock, milliseconds since 1970.
    pub time_ms: i64,
}

impl Statement for LogReset {
    const CONTEXT: &'static str = "log-reset-sig";

    fn relay(&self) -> RelayId {
        self.relay
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(148);
        out.extend_from_slice(b"TBL1");
        out.extend_from_slice(self.relay.as_bytes());
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.old_log.as_bytes());
        out.extend_from_slice(self.new_log.as_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        expect_magic(reader, b"TBL1")?;
        Ok(Self {
            relay: RelayId::read(reader)?,
            workspace: WorkspaceId::read(reader)?,
            old_log: LogId::read(reader)?,
            new_log: LogId::read(reader)?,
            position: reader.position()?,
            head: reader.array()?,
            time_ms: reader.i64()?,
        })
    }
}

/// "This record reached me as the nth of its kind, at this time, at this level of authentication."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// Who says so.
    pub relay: RelayId,
    /// About which workspace.
    pub workspace: WorkspaceId,
    /// The record it is about.
    pub subject: RecordId,
    /// For a Join: which use of its invite this is, from 1.
    pub nth: u32,
    /// The relay's clock, milliseconds since 1970.
    pub time_ms: i64,
    /// Level of the session's authentication: 1 for a device key.
    pub level: u8,
}

impl Statement for Attestation {
    const CONTEXT: &'static str = "attestation-sig";

    fn relay(&self) -> RelayId {
        self.relay
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(113);
        out.extend_from_slice(b"TBA1");
        out.extend_from_slice(self.relay.as_bytes());
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.subject.as_bytes());
        out.extend_from_slice(&self.nth.to_be_bytes());
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        out.push(self.level);
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        expect_magic(reader, b"TBA1")?;
        Ok(Self {
            relay: RelayId::read(reader)?,
            workspace: WorkspaceId::read(reader)?,
            subject: RecordId::read(reader)?,
            nth: reader.u32()?,
            time_ms: reader.i64()?,
            level: reader.u8()?,
        })
    }
}

impl Signed<Attestation> {
    /// Returns its name in the log.
    #[must_use]
    pub fn item_hash(&self) -> ItemHash {
        ItemHash::Attestation(hash("attestation", &[&self.encode()]))
    }
}

fn expect_magic(reader: &mut Reader<'_>, magic: &[u8; 4]) -> Result<(), DecodeError> {
    if reader.array::<4>()? == *magic { Ok(()) } else { Err(DecodeError::Magic) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_a_claim_until_its_relay_signed_it() {
        let key = SignKey::from_seed(&[9; 32]);
        let receipt = Receipt {
            relay: RelayId::from_bytes(key.public()),
            workspace: WorkspaceId::from_bytes([1; 32]),
            log: LogId::from_bytes([2; 16]),
            position: 7,
            head: [3; 32],
            time_ms: 5,
            acknowledged: [0; 32],
        };
        let signed = Signed::sign(receipt.clone(), &key);
        let mut bytes = signed.encode();
        assert_eq!(Signed::<Receipt>::decode(&bytes).unwrap().verify(), Ok(&receipt));
        bytes[90] ^= 1;
        assert_eq!(Signed::<Receipt>::decode(&bytes).unwrap().verify(), Err(KeyError::BadSignature));
    }
}
