//! What a device may ask that is no member yet: to meet another device of its user, and, with the
//! identity log that makes it a member's, which workspaces are the user's and what they stand on.
//!
//! Invariant: who proves nothing is told nothing, the same as for what does not exist; each question
//! costs signatures to check, so a session may ask a bounded number.

use tombolo_protocol::bytes::Reader;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Claim, Claimed, Meet, Part, PartReason, Pass, Return};
use tombolo_protocol::identity::{Identity, IdentityLog};
use tombolo_protocol::ids::{DeviceId, RendezvousId};
use tombolo_protocol::limits::OPEN_WORKSPACES_MAX;

use super::Session;
use super::open::ground;
use crate::fanout::Closing;
use crate::workspace::Judge;

/// Identity logs that one session may have judged: one for each workspace, and some questions.
pub(super) const CLAIMS_MAX: u32 = OPEN_WORKSPACES_MAX as u32 + 64;

impl Session {
    pub(super) fn meet(&mut self, meet: &Meet) -> Result<(), Closing> {
        self.proven()?;
        let met = self.relay.meetings().meet(meet.rendezvous, meet.waits, &self.outbox, self.relay.steady_ms());
        self.unless_parted(meet.rendezvous, met);
        Ok(())
    }

    pub(super) fn pass(&mut self, pass: Pass) -> Result<(), Closing> {
        self.proven()?;
        let rendezvous = pass.rendezvous;
        let passed = self.relay.meetings().pass(pass, &self.outbox, self.relay.steady_ms());
        self.unless_parted(rendezvous, passed);
        Ok(())
    }

    pub(super) fn part(&mut self, part: &Part) -> Result<(), Closing> {
        self.proven()?;
        self.relay.meetings().part(&part.rendezvous, &self.outbox);
        Ok(())
    }

    fn unless_parted(&mut self, rendezvous: RendezvousId, done: Result<(), PartReason>) {
        if let Err(reason) = done {
            self.send(Part { rendezvous, reason });
        }
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Result<(), Closing> {
        let device = self.device()?;
        let mut workspaces = Vec::new();
        if let Some(log) = self.read_identity(&claim.identity, &device)? {
            for tag in self.relay.log().workspaces_of(&log.user(), OPEN_WORKSPACES_MAX)? {
                if let Some(workspace) = self.relay.open(&tag)?
                    && is_members(&*workspace.judge(self.relay.log())?, &log, &device)
                {
                    workspaces.push(workspace.id());
                }
            }
        }
        self.send(Claimed { workspaces });
        Ok(())
    }

    pub(super) fn return_to(&mut self, back: &Return) -> Result<(), Closing> {
        let device = self.device()?;
        let log = self.read_identity(&back.identity, &device)?;
        let workspace = self.relay.open(&back.workspace)?;
        let judge = workspace.as_ref().map(|workspace| workspace.judge(self.relay.log())).transpose()?;
        let frames = match (judge, &log) {
            (Some(judge), Some(log)) if is_members(&judge, log, &device) => ground(judge.membership(), Vec::new()),
            _ => {
                self.not_found(back.workspace);
                return Ok(());
            }
        };
        frames.into_iter().for_each(|frame| self.send(frame));
        Ok(())
    }

    /// Judges an identity log; `None` if it does not make the session's device the user's.
    fn read_identity(&mut self, bytes: &[u8], device: &DeviceId) -> Result<Option<IdentityLog>, Closing> {
        self.claims += 1;
        if self.claims > CLAIMS_MAX {
            return Err(CloseCode::RateLimited.into());
        }
        let mut reader = Reader::new(bytes);
        let log = IdentityLog::read(&mut reader).map_err(|_| Closing::from(CloseCode::Malformed))?;
        reader.finish().map_err(|_| Closing::from(CloseCode::Malformed))?;
        let holds = Identity::evaluate(&log).is_ok_and(|identity| identity.devices.contains_key(device));
        Ok(holds.then_some(log))
    }
}

/// Tells whether a device is a member's by a log together with what the workspace knows of the user.
fn is_members(judge: &Judge, log: &IdentityLog, device: &DeviceId) -> bool {
    let view = judge.view();
    let merged = view.identity(&log.user()).map_or_else(|| log.clone(), |known| known.merged(log));
    let strange = view.device(device).is_some_and(|held| held.user != log.user());
    let holds = Identity::evaluate(&merged).is_ok_and(|identity| identity.devices.contains_key(device));
    holds && !strange && view.role(&log.user()).is_some()
}
