//! The side of a device that is the user's already, and vouches for the new one.
//!
//! Invariant: the certificate is signed, and the secrets are sealed, only by [`Confirmed::approve`];
//! a [`Confirmed`] exists only if a person typed the right digits, once.

use std::collections::BTreeMap;
use std::fmt;

use tombolo_protocol::hash::Digest;
use tombolo_protocol::identity::{Identity, IdentityDraft, IdentityError, IdentityLog};
use tombolo_protocol::ids::{DeviceId, WorkspaceId};
use tombolo_protocol::keys::Signature;
use tombolo_protocol::limits::LINK_MS_MAX;

use super::approval::{self, LinkedWorkspace};
use super::message::{Answer, Offer, Transcript, commitment, decode_counter_signature, encode_commitment, hedged};
use super::request::LinkRequest;
use super::{LinkError, SpentLinks};
use crate::device::{DeviceSecrets, box_public};
use crate::entropy::Entropy;
use crate::secret::Secret32;

/// A device that is asked to vouch for another.
pub struct Approver {
    request: LinkRequest,
    deadline_ms: i64,
    state: State,
}

enum State {
    Committed { ephemeral: Secret32, offer: Offer, commitment: Digest },
    Offered { ephemeral: Secret32, draft: IdentityDraft, transcript: Transcript },
    Signed { ephemeral: Secret32, draft: IdentityDraft, transcript: Transcript, counter_signature: Signature },
    Over,
}

/// What an approving device has to do next.
#[derive(Debug)]
pub enum ApproverStep {
    /// Send this.
    Send(Vec<u8>),
    /// Ask the person for the digits that the new device shows.
    AskDigits,
}

impl Approver {
    /// Takes up a request and returns the commitment to send. A request is taken up once.
    ///
    /// # Errors
    /// [`LinkError::Expired`], [`LinkError::Replayed`], [`LinkError::TooMany`] if too many were taken up
    /// in three minutes, or [`LinkError::Identity`] if this device is not the user's.
    pub fn begin(
        request: LinkRequest,
        identity: &Identity,
        device: &DeviceSecrets,
        spent: &mut SpentLinks,
        now_ms: i64,
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Vec<u8>), LinkError> {
        // Clocks may differ by as much as a link lives; beyond that nobody can say what "expired" means.
        let left_ms = request.expires_ms.saturating_sub(now_ms);
        if left_ms <= 0 || left_ms > 2 * LINK_MS_MAX {
            return Err(LinkError::Expired);
        }
        if identity.devices.get(&device.id()) != Some(&device.public()) {
            return Err(IdentityError::StrangeSigner.into());
        }
        let deadline_ms = request.expires_ms.min(now_ms.saturating_add(LINK_MS_MAX));
        spent.spend(request.rendezvous(), request.expires_ms, now_ms)?;
        let context = request.to_message();
        let ephemeral = Secret32::from_bytes(hedged(device, "link-key", &context, entropy));
        let offer = Offer {
            ephemeral: box_public(&ephemeral),
            nonce: hedged(device, "link-offer", &context, entropy),
            user: identity.user,
            approver: device.id(),
            heads: identity.heads.clone(),
        };
        let commitment = commitment(&request.token, &offer);
        let state = State::Committed { ephemeral, offer, commitment };
        Ok((Self { request, deadline_ms, state }, encode_commitment(&commitment)))
    }

    /// Returns which device asks.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.request.device
    }

    /// Takes a message from the rendezvous.
    ///
    /// # Errors
    /// [`LinkError`]; the link is over.
    pub fn receive(&mut self, bytes: &[u8], now_ms: i64) -> Result<ApproverStep, LinkError> {
        match self.take(now_ms)? {
            State::Committed { ephemeral, offer, commitment } => self.offer(bytes, ephemeral, &offer, &commitment),
            State::Offered { ephemeral, draft, transcript } => {
                let counter_signature = decode_counter_signature(bytes)?;
                draft.verify_counter_signature(&counter_signature)?;
                self.state = State::Signed { ephemeral, draft, transcript, counter_signature };
                Ok(ApproverStep::AskDigits)
            }
            State::Signed { .. } | State::Over => Err(LinkError::Replayed),
        }
    }

    /// Takes the digits that a person read on the new device; there is one attempt.
    ///
    /// # Errors
    /// [`LinkError::WrongDigits`], [`LinkError::Expired`] or [`LinkError::Replayed`]; the link is over.
    /// [`LinkError::NotYet`] if the new device has not signed: nothing is lost.
    pub fn confirm(&mut self, digits: &str, now_ms: i64) -> Result<Confirmed, LinkError> {
        match self.take(now_ms)? {
            State::Signed { ephemeral, draft, transcript, counter_signature } => {
                if !transcript.digits().is_typed(digits) {
                    return Err(LinkError::WrongDigits);
                }
                let (recipient, deadline_ms) = (self.request.ephemeral, self.deadline_ms);
                Ok(Confirmed { recipient, deadline_ms, ephemeral, draft, transcript, counter_signature })
            }
            State::Over => Err(LinkError::Replayed),
            waiting => {
                self.state = waiting;
                Err(LinkError::NotYet)
            }
        }
    }

    /// Takes the state out, so that whatever goes wrong behind it ends the link.
    fn take(&mut self, now_ms: i64) -> Result<State, LinkError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let late = !matches!(state, State::Over) && now_ms >= self.deadline_ms;
        if late { Err(LinkError::Expired) } else { Ok(state) }
    }

    fn offer(
        &mut self,
        bytes: &[u8],
        ephemeral: Secret32,
        offer: &Offer,
        commitment: &Digest,
    ) -> Result<ApproverStep, LinkError> {
        let answer = Answer::decode(bytes)?;
        if answer.keys.id() != self.request.device {
            return Err(LinkError::KeyMismatch);
        }
        let request = self.request.to_message();
        let transcript = Transcript::new(&self.request.token, &request, commitment, &answer, offer);
        self.state = State::Offered { ephemeral, draft: offer.draft(&answer), transcript };
        Ok(ApproverStep::Send(offer.encode()))
    }
}

impl fmt::Debug for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Approver({}, secret)", self.device().short())
    }
}

/// The proof that a person typed the digits of the new device.
pub struct Confirmed {
    recipient: [u8; 32],
    deadline_ms: i64,
    ephemeral: Secret32,
    draft: IdentityDraft,
    transcript: Transcript,
    counter_signature: Signature,
}

impl Confirmed {
    /// Signs the certificate and seals it with the workspaces; returns the last message, and the log
    /// with the new device in it.
    ///
    /// # Errors
    /// [`LinkError::Expired`], [`LinkError::Identity`] if the log went on since the offer, or
    /// [`LinkError::TooMany`] if there is more than an approval may carry.
    pub fn approve(
        self,
        log: &IdentityLog,
        device: &DeviceSecrets,
        workspaces: &BTreeMap<WorkspaceId, LinkedWorkspace>,
        now_ms: i64,
        entropy: &mut dyn Entropy,
    ) -> Result<(Vec<u8>, IdentityLog), LinkError> {
        if now_ms >= self.deadline_ms {
            return Err(LinkError::Expired);
        }
        let mut log = log.clone();
        let signature = self.draft.sign(device.sign_key());
        log.records.push(self.draft.complete(signature, Some(self.counter_signature)));
        let identity = Identity::evaluate(&log)?;
        if identity.heads.len() != 1 {
            return Err(IdentityError::Broken.into());
        }
        let ends = (&self.recipient, &self.ephemeral);
        let message = approval::seal(&log, workspaces, ends, &self.transcript, entropy)?;
        Ok((message, log))
    }
}

impl fmt::Debug for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirmed(secret)")
    }
}
