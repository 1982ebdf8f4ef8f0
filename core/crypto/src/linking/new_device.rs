//! The side of the device that wants to become a user's.
//!
//! Invariant: it answers one commitment, shows the digits of one offer that fits it, counter-signs one
//! record and opens one approval; whatever else comes ends the link.

use std::fmt;

use tombolo_protocol::hash::Digest;
use tombolo_protocol::identity::DeviceKeys;
use tombolo_protocol::limits::LINK_MS_MAX;

use super::approval::{self, Approval};
use super::message::{Answer, Offer, Transcript, commitment, decode_commitment, encode_counter_signature, hedged};
use super::request::{LinkRequest, LinkToken};
use super::{LinkDigits, LinkError};
use crate::device::{DeviceSecrets, box_public};
use crate::entropy::Entropy;
use crate::secret::Secret32;

/// A device that asks to be linked. If the link fails, the next one begins with new device secrets:
/// these may be counter-signed for somebody else.
pub struct NewDevice {
    request: LinkRequest,
    keys: DeviceKeys,
    platform: u8,
    state: State,
}

enum State {
    Waiting { ephemeral: Secret32 },
    Answered { ephemeral: Secret32, commitment: Digest, answer: Answer },
    Offered { ephemeral: Secret32, offer: Offer, transcript: Transcript },
    Over,
}

/// What a new device has to do next.
#[derive(Debug)]
pub enum NewDeviceStep {
    /// Send this.
    Send(Vec<u8>),
    /// Send this, and show the digits to be typed on the other device.
    ShowDigits {
        /// The digits.
        digits: LinkDigits,
        /// The counter-signature.
        send: Vec<u8>,
    },
    /// It is the user's.
    Linked(Box<Approval>),
}

impl NewDevice {
    /// Makes a request that is good for three minutes.
    ///
    /// # Errors
    /// [`LinkError::TooMany`] or [`LinkError::Malformed`] if the relay's address is too long or none.
    pub fn begin(
        device: &DeviceSecrets,
        platform: u8,
        relay: &str,
        token: LinkToken,
        now_ms: i64,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, LinkError> {
        let ephemeral = Secret32::from_bytes(hedged(device, "link-key", token.as_bytes(), entropy));
        let expires_ms = now_ms.saturating_add(LINK_MS_MAX);
        let request = LinkRequest::new(token, box_public(&ephemeral), device.id(), expires_ms, relay)?;
        Ok(Self { request, keys: device.public(), platform, state: State::Waiting { ephemeral } })
    }

    /// Returns what to show as a QR code, or to leave at the rendezvous of a code.
    #[must_use]
    pub fn request(&self) -> &LinkRequest {
        &self.request
    }

    /// Takes a message from the rendezvous.
    ///
    /// # Errors
    /// [`LinkError`]; the link is over.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        device: &DeviceSecrets,
        now_ms: i64,
        entropy: &mut dyn Entropy,
    ) -> Result<NewDeviceStep, LinkError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if !matches!(state, State::Over) && now_ms >= self.request.expires_ms {
            return Err(LinkError::Expired);
        }
        if device.public() != self.keys {
            return Err(LinkError::KeyMismatch);
        }
        match state {
            State::Waiting { ephemeral } => self.answer(bytes, ephemeral, device, entropy),
            State::Answered { ephemeral, commitment, answer } => {
                self.counter_sign(bytes, ephemeral, (&commitment, &answer), device)
            }
            State::Offered { ephemeral, offer, transcript } => {
                let approval = approval::open(bytes, &ephemeral, &self.keys, &offer, &transcript)?;
                Ok(NewDeviceStep::Linked(Box::new(approval)))
            }
            State::Over => Err(LinkError::Replayed),
        }
    }

    fn answer(
        &mut self,
        bytes: &[u8],
        ephemeral: Secret32,
        device: &DeviceSecrets,
        entropy: &mut dyn Entropy,
    ) -> Result<NewDeviceStep, LinkError> {
        let commitment = decode_commitment(bytes)?;
        let nonce = hedged(device, "link-answer", &commitment, entropy);
        let answer = Answer { nonce, keys: self.keys, platform: self.platform };
        let send = answer.encode();
        self.state = State::Answered { ephemeral, commitment, answer };
        Ok(NewDeviceStep::Send(send))
    }

    fn counter_sign(
        &mut self,
        bytes: &[u8],
        ephemeral: Secret32,
        (committed, answer): (&Digest, &Answer),
        device: &DeviceSecrets,
    ) -> Result<NewDeviceStep, LinkError> {
        let offer = Offer::decode(bytes)?;
        if commitment(&self.request.token, &offer) != *committed {
            return Err(LinkError::KeyMismatch);
        }
        let request = self.request.to_message();
        let transcript = Transcript::new(&self.request.token, &request, committed, answer, &offer);
        let signature = offer.draft(answer).counter_sign(device.sign_key());
        let digits = transcript.digits();
        self.state = State::Offered { ephemeral, offer, transcript };
        Ok(NewDeviceStep::ShowDigits { digits, send: encode_counter_signature(&signature) })
    }
}

impl fmt::Debug for NewDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewDevice({}, secret)", self.keys.id().short())
    }
}
