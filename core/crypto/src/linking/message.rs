//! The messages of a link: `"TBN1" | u8 kind | …`, each of one fixed layout.
//!
//! Invariant: a message has one encoding and at most [`LINK_MESSAGE_BYTES_MAX`], but for the approval;
//! one of another kind than its turn asks for is a replay.

use tombolo_protocol::bytes::{DecodeError, Reader};
use tombolo_protocol::hash::{Digest, hash};
use tombolo_protocol::identity::{DeviceKeys, IdentityAct, IdentityDraft, Signer};
use tombolo_protocol::ids::{DeviceId, UserId};
use tombolo_protocol::keys::Signature;
use tombolo_protocol::limits::{IDENTITY_PARENTS_MAX, LINK_APPROVAL_BYTES_MAX, LINK_MESSAGE_BYTES_MAX};

use super::request::LinkToken;
use super::{LinkDigits, LinkError};
use crate::derive::mac;
use crate::device::DeviceSecrets;
use crate::entropy::{Entropy, array};

const MAGIC: [u8; 4] = *b"TBN1";

/// Which message it is, in the order in which they come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request = 1,
    Commitment = 2,
    Answer = 3,
    Offer = 4,
    CounterSignature = 5,
    Approval = 6,
}

pub(super) fn begin(kind: Kind) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(kind as u8);
    out
}

/// Reads the head of a message that must be of the kind whose turn it is.
pub(super) fn read_kind(bytes: &[u8], wanted: Kind) -> Result<Reader<'_>, LinkError> {
    let limit = if wanted == Kind::Approval { LINK_APPROVAL_BYTES_MAX } else { LINK_MESSAGE_BYTES_MAX };
    if bytes.len() > limit {
        let (claimed, limit) = (bytes.len() as u64, limit as u64);
        return Err(DecodeError::TooLarge { field: "link message", claimed, limit }.into());
    }
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC {
        return Err(DecodeError::Magic.into());
    }
    match reader.u8()? {
        kind if kind == wanted as u8 => Ok(reader),
        1..=6 => Err(LinkError::Replayed),
        kind => Err(DecodeError::Unknown { field: "link message", value: u64::from(kind) }.into()),
    }
}

/// The approving device's promise of its offer, keyed with the token.
pub(super) fn commitment(token: &LinkToken, offer: &Offer) -> Digest {
    mac(token.as_bytes(), "link-commitment", &[&offer.encode()])
}

pub(super) fn encode_commitment(commitment: &Digest) -> Vec<u8> {
    let mut out = begin(Kind::Commitment);
    out.extend_from_slice(commitment);
    out
}

pub(super) fn decode_commitment(bytes: &[u8]) -> Result<Digest, LinkError> {
    let mut reader = read_kind(bytes, Kind::Commitment)?;
    let commitment = reader.array()?;
    reader.finish()?;
    Ok(commitment)
}

/// What the new device says once the other has committed itself.
pub(super) struct Answer {
    pub(super) nonce: [u8; 32],
    pub(super) keys: DeviceKeys,
    pub(super) platform: u8,
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = begin(Kind::Answer);
        out.extend_from_slice(&self.nonce);
        self.keys.write(&mut out);
        out.push(self.platform);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut reader = read_kind(bytes, Kind::Answer)?;
        let answer = Self { nonce: reader.array()?, keys: DeviceKeys::read(&mut reader)?, platform: reader.u8()? };
        reader.finish()?;
        Ok(answer)
    }
}

/// What the approving device committed itself to: with it the certificate's body is fixed.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) ephemeral: [u8; 32],
    pub(super) nonce: [u8; 32],
    pub(super) user: UserId,
    pub(super) approver: DeviceId,
    pub(super) heads: Vec<Digest>,
}

impl Offer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = begin(Kind::Offer);
        out.extend_from_slice(&self.ephemeral);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(self.user.as_bytes());
        out.extend_from_slice(self.approver.as_bytes());
        out.push(self.heads.len() as u8);
        for head in &self.heads {
            out.extend_from_slice(head);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut reader = read_kind(bytes, Kind::Offer)?;
        let (ephemeral, nonce) = (reader.array()?, reader.array()?);
        let (user, approver) = (UserId::read(&mut reader)?, DeviceId::read(&mut reader)?);
        let count = usize::from(reader.u8()?);
        if count > IDENTITY_PARENTS_MAX {
            return Err(DecodeError::Invalid { field: "identity heads" }.into());
        }
        let heads = (0..count).map(|_| reader.array()).collect::<Result<_, _>>()?;
        let offer = Self { ephemeral, nonce, user, approver, heads };
        reader.finish()?;
        Ok(offer)
    }

    /// The record that both are about to sign.
    pub(super) fn draft(&self, answer: &Answer) -> IdentityDraft {
        let act = IdentityAct::Add { keys: answer.keys, platform: answer.platform };
        IdentityDraft::new(self.user, &self.heads, act, Signer::Device(self.approver))
    }
}

pub(super) fn encode_counter_signature(signature: &Signature) -> Vec<u8> {
    let mut out = begin(Kind::CounterSignature);
    out.extend_from_slice(signature);
    out
}

pub(super) fn decode_counter_signature(bytes: &[u8]) -> Result<Signature, LinkError> {
    let mut reader = read_kind(bytes, Kind::CounterSignature)?;
    let signature = reader.array()?;
    reader.finish()?;
    Ok(signature)
}

/// All that the two have said, as each of them knows it.
pub(super) struct Transcript(pub(super) Digest);

impl Transcript {
    pub(super) fn new(token: &LinkToken, request: &[u8], commitment: &Digest, answer: &Answer, offer: &Offer) -> Self {
        let commitment = encode_commitment(commitment);
        let parts: [&[u8]; 5] = [token.as_bytes(), request, &commitment, &answer.encode(), &offer.encode()];
        Self(hash("link-transcript", &parts))
    }

    pub(super) fn digits(&self) -> LinkDigits {
        LinkDigits::derive(&self.0)
    }
}

/// Draws 32 bytes that a stuck source of randomness does not give away.
pub(super) fn hedged(device: &DeviceSecrets, label: &str, context: &[u8], entropy: &mut dyn Entropy) -> [u8; 32] {
    let random: [u8; 32] = array(entropy);
    mac(device.salt_key().as_bytes(), label, &[&random, context])
}
