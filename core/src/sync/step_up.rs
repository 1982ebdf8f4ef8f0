//! A second factor for a session: wanted by a relay, asked for by the app, shown, and what follows.
//!
//! Invariant: what a relay refused for want of a second factor stays owed, and is sent again by itself once
//! one was taken; what was shown ends with the session, here as at the relay. A secret to enrol is handed
//! out once, and never in an event.

use std::collections::BTreeMap;

use tombolo_protocol::auth::oidc_nonce;
use tombolo_protocol::frame::{LevelGap, StepUp, StepUpChallenge, StepUpMethod, StepUpProof, StepUpRefusal, SteppedUp};
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::limits::STEP_UP_PROOF_BYTES_MAX;
use tombolo_protocol::membership::RecordOutcome;
use tombolo_protocol::record::RecordBody;

use super::channel::Phase;
use super::handshake::MALFORMED;
use super::reason::SetAsideReason;
use super::{Fault, Live};
use crate::engine::{Engine, Event, Now};
use crate::error::Error;

/// What a session knows of second factors.
#[derive(Default)]
pub(crate) struct StepUps {
    /// What the relay asked for, by workspace, since the last one was taken.
    wanted: BTreeMap<i64, LevelGap>,
    under_way: Option<UnderWay>,
}

/// A second factor that the app asked to show.
struct UnderWay {
    workspace: i64,
    method: StepUpMethod,
    /// Whether the relay was asked to look at a proof.
    proven: bool,
    question: Option<StepUpQuestion>,
}

/// What a relay asks of a person who wants to show a second factor.
#[derive(PartialEq, Eq)]
pub struct StepUpQuestion {
    /// Which second factor.
    pub method: StepUpMethod,
    /// For a user who has no codes yet: the `otpauth` address of the secret, for an authenticator to scan. It
    /// is shown this once; the first right code enrols it.
    pub enrolment: Option<String>,
    /// For an id token: the `nonce` that it must carry, so that it is for this device and session alone.
    pub nonce: String,
    /// For an id token: the login provider whose tokens count.
    pub issuer: Option<String>,
    /// For an id token: the audience that it must be for, which is the client id to log in with.
    pub audience: Option<String>,
}

impl std::fmt::Debug for StepUpQuestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The enrolment is a secret.
        let enrols = self.enrolment.is_some();
        f.debug_struct("StepUpQuestion").field("method", &self.method).field("enrols", &enrols).finish_non_exhaustive()
    }
}

impl Engine {
    /// Asks a relay to be shown a second factor, for a workspace that this device is a member of there.
    ///
    /// # Errors
    /// [`Error::NoRelay`] if the relay is not reached, [`Error::NoWorkspace`].
    pub fn ask_step_up(&mut self, address: &str, workspace: &WorkspaceId, method: StepUpMethod) -> Result<(), Error> {
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        let relay = self.live_at(address).ok_or(Error::NoRelay)?;
        if let Some(live) = self.relays.get_mut(&relay).and_then(super::Relay::live_mut) {
            live.step_ups.under_way = Some(UnderWay { workspace: row, method, proven: false, question: None });
        }
        self.send(relay, StepUp { workspace: workspace.tag(), method });
        Ok(())
    }

    /// Takes what the relay asks, once it has come.
    pub fn take_question(&mut self, address: &str) -> Option<StepUpQuestion> {
        let relay = self.live_at(address)?;
        let live = self.relays.get_mut(&relay).and_then(super::Relay::live_mut)?;
        live.step_ups.under_way.as_mut()?.question.take()
    }

    /// Shows the second factor: a code, an id token, or nothing for the device's own word.
    ///
    /// # Errors
    /// [`Error::NoRelay`] if the session has ended, [`Error::StepUp`] if no challenge waits for it, or it is
    /// longer than any.
    pub fn prove_step_up(&mut self, address: &str, proof: &str) -> Result<(), Error> {
        let relay = self.live_at(address).ok_or(Error::NoRelay)?;
        let live = self.relays.get_mut(&relay).and_then(super::Relay::live_mut).ok_or(Error::NoRelay)?;
        let under_way = live.step_ups.under_way.as_mut().ok_or(Error::StepUp(StepUpRefusal::NoChallenge))?;
        if proof.len() > STEP_UP_PROOF_BYTES_MAX {
            return Err(Error::StepUp(StepUpRefusal::Wrong));
        }
        under_way.proven = true;
        let proof = StepUpProof { method: under_way.method, proof: proof.to_owned() };
        self.send(relay, proof);
        Ok(())
    }

    fn live_at(&self, address: &str) -> Option<i64> {
        let mut live = self.relays.iter().filter(|(_, relay)| relay.live().is_some());
        live.find(|(_, relay)| relay.address() == address).map(|(row, _)| *row)
    }

    /// Takes in what the relay asks; the app fetches it.
    pub(crate) fn take_challenge(&mut self, relay: i64, challenge: &StepUpChallenge) -> Result<(), Fault> {
        let device = self.device.id();
        let live = self.relays.get_mut(&relay).and_then(super::Relay::live_mut).ok_or(MALFORMED)?;
        let under_way = live.step_ups.under_way.as_mut().ok_or(MALFORMED)?;
        // The app may have asked for another one since.
        if under_way.method != challenge.method || under_way.proven {
            return Ok(());
        }
        under_way.question = Some(StepUpQuestion {
            method: challenge.method,
            enrolment: challenge.enrolment.clone(),
            nonce: oidc_nonce(&device, &challenge.nonce),
            issuer: challenge.issuer.clone(),
            audience: challenge.audience.clone(),
        });
        let workspace = under_way.workspace;
        if let Some((address, workspace)) = self.names_of((relay, workspace)) {
            self.tell(Event::StepUpAsked { address, workspace });
        }
        Ok(())
    }

    /// Takes in the outcome: what waited for a second factor goes out again.
    pub(crate) fn take_stepped_up(&mut self, now: Now, relay: i64, outcome: &SteppedUp) -> Result<(), Fault> {
        let live = self.relays.get_mut(&relay).and_then(super::Relay::live_mut).ok_or(MALFORMED)?;
        // The app may have asked for another one since.
        let Some(under_way) = live.step_ups.under_way.take_if(|under_way| under_way.proven) else {
            return Ok(());
        };
        if outcome.refused.is_none() {
            live.try_again(now);
        } else if outcome.refused == Some(StepUpRefusal::Unavailable) {
            // The challenge holds: the same proof may be shown again.
            live.step_ups.under_way = Some(UnderWay { proven: false, workspace: under_way.workspace, ..under_way });
        }
        if let Some((address, workspace)) = self.names_of((relay, under_way.workspace)) {
            let (level, until_ms, refused) = (outcome.level, outcome.until_ms, outcome.refused);
            self.tell(Event::SteppedUp { address, workspace, level, until_ms, refused });
        }
        Ok(())
    }

    /// A relay that says "not found" to who wants to show a second factor challenges nobody.
    pub(crate) fn give_up_step_up(&mut self, at: (i64, i64)) {
        let live = self.relays.get_mut(&at.0).and_then(super::Relay::live_mut);
        let asked = live.and_then(|live| live.step_ups.under_way.take_if(|asked| asked.workspace == at.1));
        if let Some((address, workspace)) = asked.and_then(|_| self.names_of(at)) {
            let refused = Some(StepUpRefusal::NotOffered);
            self.tell(Event::SteppedUp { address, workspace, level: 1, until_ms: 0, refused });
        }
    }

    /// Notes that a relay wants a second factor; the app is told of each need once.
    pub(crate) fn note_factor_wanted(&mut self, at: (i64, i64), levels: LevelGap) {
        let Some(live) = self.relays.get_mut(&at.0).and_then(super::Relay::live_mut) else {
            return;
        };
        let known = live.step_ups.wanted.insert(at.1, levels);
        if known == Some(levels) {
            return;
        }
        if let Some((address, workspace)) = self.names_of(at) {
            self.tell(Event::StepUpWanted { address, workspace, levels });
        }
    }

    /// Returns the level that a relay wants before it opens a workspace.
    pub(crate) fn level_wanted(&self, relay: i64, workspace: i64) -> Option<u8> {
        let live = self.relays.get(&relay)?.live()?;
        let closed = live.channels.get(&workspace)?.phase == Phase::Dormant;
        live.step_ups.wanted.get(&workspace).filter(|_| closed).map(|levels| levels.needed)
    }

    /// Tells whether an act of this device on members or devices waits for a relay's word on its level: until
    /// that has come, the view does not show it, and it is not to be stated twice.
    pub(crate) fn has_act_waiting(&self, row: i64) -> bool {
        let Some(workspace) = self.workspaces.get(&row) else {
            return false;
        };
        let waits = |record: &&tombolo_protocol::record::Record| {
            let kind = matches!(record.body(), RecordBody::Standing(_) | RecordBody::Devices(_));
            kind && workspace.membership.outcome(&record.id()) == Some(RecordOutcome::AwaitsAttestation)
        };
        let mut own = workspace.membership.in_order().into_iter().filter(|it| it.author() == self.device.id());
        own.any(|record| waits(&record))
    }

    fn names_of(&self, at: (i64, i64)) -> Option<(String, WorkspaceId)> {
        let address = self.relays.get(&at.0)?.address().to_owned();
        Some((address, self.workspaces.get(&at.1)?.id))
    }
}

impl Live {
    /// Sends again what was refused, and opens what was closed, for want of a second factor.
    fn try_again(&mut self, now: Now) {
        self.step_ups.wanted.clear();
        for channel in self.channels.values_mut() {
            if channel.phase == Phase::Dormant {
                channel.retry_at = Some(now.mono);
                continue;
            }
            channel.try_again(|reason| reason == SetAsideReason::SecondFactorRequired);
            channel.has_records = true;
        }
    }
}
