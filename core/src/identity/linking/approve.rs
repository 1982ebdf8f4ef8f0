//! The side of a device that vouches: it finds the one that asks, asks a person for the digits, and hands
//! over certificate and keys.
//!
//! Invariant: an attempt that fails on what the other side said raises an alarm.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_crypto::{Approver, ApproverStep, EpochSecret, LinkCode, LinkError, LinkRequest, LinkedWorkspace};
use tombolo_protocol::frame::{Meet, Pass};
use tombolo_protocol::ids::{RendezvousId, WorkspaceId};
use tombolo_protocol::limits::{INVITE_RELAYS_MAX, OPEN_WORKSPACES_MAX};

use super::{LinkFailure, deadline};
use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::identity::AlarmKind;
use crate::store::{StoreError, Tx, WorkspaceState};

/// This device vouches.
pub(super) struct Approving {
    pub(super) rendezvous: RendezvousId,
    /// Where it looks, and in which session.
    pub(super) at: BTreeMap<i64, Option<u64>>,
    state: Vouching,
    /// The commitment that was sent, until it is answered: the new device may not be at its relay yet.
    unheard: Option<Vec<u8>>,
    /// When to look for it again.
    pub(super) again_at: Option<Duration>,
    /// Until when a device that is not there is looked for again.
    look_until: Duration,
    pub(super) until: Duration,
}

/// How long a device whose code was scanned may take to come to its relay, and how often it is looked for.
const LOOK: (Duration, Duration) = (Duration::from_secs(20), Duration::from_millis(400));

enum Vouching {
    /// Nobody has been found by the code yet.
    Looking(LinkCode),
    /// The commitment waits for a session, then messages go to and fro.
    Talking(Box<Approver>, Option<Vec<u8>>),
}

impl Approving {
    /// Looks again in a moment, if the device whose code was scanned may still be on its way to this relay.
    pub(super) fn look_again(&mut self, now: Now, relay: i64) -> bool {
        let Vouching::Talking(_, commitment) = &mut self.state else {
            return false;
        };
        let Some(unheard) = self.unheard.take().filter(|_| now.mono < self.look_until) else {
            return false;
        };
        *commitment = Some(unheard);
        self.at.insert(relay, None);
        self.again_at = Some(now.mono + LOOK.1);
        true
    }
}

impl Engine {
    /// Takes up the request of a new device: what was scanned, or the code that was typed.
    ///
    /// # Errors
    /// [`Error::Link`] if it is none, too old, used, or another is under way; [`Error::NoRelay`] for a code
    /// while no relay is reached; [`Error::Address`], [`Error::Store`].
    pub fn approve_link(&mut self, now: Now, text: &str, tx: &Tx<'_>) -> Result<(), Error> {
        if self.own.links.request.is_some() || self.own.links.approval.is_some() {
            return Err(Error::Link(LinkFailure::Busy));
        }
        let refused = |error| Error::Link(LinkFailure::Link(error));
        let (rendezvous, at, state) = if let Ok(code) = text.parse::<LinkCode>() {
            let live = self.relays.iter().filter(|(_, relay)| relay.live().is_some());
            let at: BTreeMap<i64, Option<u64>> = live.map(|(row, _)| (*row, None)).collect();
            if at.is_empty() {
                return Err(Error::NoRelay);
            }
            (code.token().rendezvous(), at, Vouching::Looking(code))
        } else {
            let request: LinkRequest = text.parse().map_err(refused)?;
            let (rendezvous, address) = (request.rendezvous(), request.relay().to_owned());
            let (approver, commitment) = self.begin_approval(now, request).map_err(refused)?;
            let allow_proxy = self.allows_proxy(&address);
            let relay = self.dial(now, &address, allow_proxy, None, tx)?;
            let state = Vouching::Talking(Box::new(approver), Some(commitment));
            (rendezvous, BTreeMap::from([(relay.0, None)]), state)
        };
        let (look_until, until) = (now.mono + LOOK.0, deadline(now));
        let approving = Approving { rendezvous, at, state, unheard: None, again_at: None, look_until, until };
        self.own.links.approval = Some(approving);
        self.drive_links(now);
        Ok(())
    }

    fn begin_approval(&mut self, now: Now, request: LinkRequest) -> Result<(Approver, Vec<u8>), LinkError> {
        let identity = tombolo_protocol::identity::Identity::evaluate(&self.identity)?;
        let spent = &mut self.own.links.spent;
        Approver::begin(request, &identity, &self.device, spent, now.wall_ms, self.entropy.as_mut())
    }

    /// Takes the digits that a person read on the new device: if they are right it is the user's from now
    /// on; there is one attempt.
    ///
    /// # Errors
    /// [`Error::Link`]: but for [`LinkError::NotYet`] the link is over. [`Error::Store`].
    pub fn confirm_link(&mut self, now: Now, digits: &str, tx: &Tx<'_>) -> Result<(), Error> {
        let Some(approving) = self.own.links.approval.as_mut() else {
            return Err(Error::Link(LinkFailure::NoLink));
        };
        let Vouching::Talking(approver, _) = &mut approving.state else {
            return Err(Error::Link(LinkFailure::Link(LinkError::NotYet)));
        };
        let confirmed = match approver.confirm(digits, now.wall_ms) {
            Err(LinkError::NotYet) => return Err(Error::Link(LinkFailure::Link(LinkError::NotYet))),
            confirmed => confirmed,
        };
        let approved = confirmed.and_then(|confirmed| {
            let workspaces = self.linked_workspaces();
            confirmed.approve(&self.identity, &self.device, &workspaces, now.wall_ms, self.entropy.as_mut())
        });
        let (message, log) = match approved {
            Ok(approved) => approved,
            Err(error) => {
                self.fail_approval(now, LinkFailure::Link(error), tx)?;
                return Err(Error::Link(LinkFailure::Link(error)));
            }
        };
        if let Some(approving) = self.own.links.approval.take() {
            let rendezvous = approving.rendezvous;
            for relay in approving.at.into_keys() {
                self.send(relay, Pass { rendezvous, message: message.clone().into() });
            }
        }
        self.extend_identity(log, tx)?;
        self.claim_again(now);
        Ok(())
    }

    /// Returns what a new device needs of each workspace.
    fn linked_workspaces(&self) -> BTreeMap<WorkspaceId, LinkedWorkspace> {
        let relays: Vec<String> = self.relays.values().map(|relay| relay.address().to_owned()).collect();
        let relays: Vec<String> = relays.into_iter().take(INVITE_RELAYS_MAX).collect();
        let members = self.workspaces.values().filter(|workspace| workspace.state == WorkspaceState::Member);
        let linked = members.filter(|workspace| workspace.role(&self.device).is_some()).map(|workspace| {
            let held = workspace.view.epoch().and_then(|epoch| workspace.epochs.get(&epoch));
            let secret = held.map(|held| EpochSecret::from_bytes(*held.secret.as_bytes()));
            let blinding = workspace.to_row().blinding;
            (workspace.id, LinkedWorkspace { relays: relays.clone(), keys: secret.zip(blinding) })
        });
        linked.take(OPEN_WORKSPACES_MAX).collect()
    }

    pub(super) fn drive_approval(&mut self, now: Now) {
        let Some(approving) = self.own.links.approval.as_mut() else {
            return;
        };
        if approving.again_at.is_some_and(|again_at| again_at > now.mono) {
            return;
        }
        // Where there is no session now it looks when there is one: it is not woken for that.
        approving.again_at = None;
        let (rendezvous, known) = (approving.rendezvous, approving.at.clone());
        let changed: Vec<(i64, Option<u64>)> = known
            .into_iter()
            .filter(|(relay, session)| self.session_of(*relay) != *session)
            .map(|(relay, _)| (relay, self.session_of(relay)))
            .collect();
        for (relay, session) in changed {
            let Some(approving) = self.own.links.approval.as_mut() else {
                return;
            };
            approving.at.insert(relay, session);
            let Some(_) = session else {
                continue;
            };
            let message = match &mut approving.state {
                Vouching::Talking(_, commitment) => commitment.take(),
                Vouching::Looking(_) => None,
            };
            approving.unheard.clone_from(&message);
            self.send(relay, Meet { rendezvous, waits: false });
            if let Some(message) = message {
                self.send(relay, Pass { rendezvous, message: message.into() });
            }
        }
    }

    /// Gives up the approval that is too late, or whose session is gone.
    pub(crate) fn approval_due(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(approving) = self.own.links.approval.as_ref() else {
            return Ok(());
        };
        if approving.until <= now.mono {
            return self.fail_approval(now, LinkFailure::Link(LinkError::Expired), tx);
        }
        let began = !matches!(approving.state, Vouching::Talking(_, Some(_)));
        let lost = approving.at.iter().all(|(relay, session)| session.is_some() && self.session_of(*relay) != *session);
        if began && lost { self.fail_approval(now, LinkFailure::Offline, tx) } else { Ok(()) }
    }

    pub(super) fn fail_approval(&mut self, now: Now, reason: LinkFailure, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(approving) = self.own.links.approval.take() else {
            return Ok(());
        };
        self.part(approving.rendezvous, approving.at.into_keys().collect());
        self.tell(Event::LinkFailed { reason });
        // Only what somebody between the two could have caused; not a wrong code, or a lost connection.
        let device = match approving.state {
            Vouching::Talking(approver, _) => approver.device(),
            Vouching::Looking(_) => return Ok(()),
        };
        match reason {
            LinkFailure::Link(_) => self.alarm(now.wall_ms, AlarmKind::LinkFailed { device }, tx).map(drop),
            _ => Ok(()),
        }
    }

    pub(super) fn pass_to_approval(
        &mut self,
        now: Now,
        relay: i64,
        pass: &Pass,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(Approving { rendezvous, at, state, look_until, until, .. }) = self.own.links.approval.take() else {
            return Ok(());
        };
        let (at, state, step) = match state {
            Vouching::Looking(code) => {
                let others = at.keys().copied().filter(|other| *other != relay).collect();
                self.part(rendezvous, others);
                let at = at.into_iter().filter(|(other, _)| *other == relay).collect();
                let (state, step) = self.found_by_code(now, code, pass);
                (at, state, step)
            }
            Vouching::Talking(mut approver, waiting) => {
                let step = approver.receive(&pass.message, now.wall_ms);
                (at, Vouching::Talking(approver, waiting), step)
            }
        };
        let device = match &state {
            Vouching::Talking(approver, _) => Some(approver.device()),
            Vouching::Looking(_) => None,
        };
        let approving = Approving { rendezvous, at, state, unheard: None, again_at: None, look_until, until };
        self.own.links.approval = Some(approving);
        match (step, device) {
            (Ok(ApproverStep::Send(message)), _) => self.send(relay, Pass { rendezvous, message: message.into() }),
            (Ok(ApproverStep::AskDigits), Some(device)) => self.tell(Event::LinkAsks { device }),
            (Ok(ApproverStep::AskDigits), None) => {}
            (Err(error), _) => return self.fail_approval(now, LinkFailure::Link(error), tx),
        }
        Ok(())
    }

    /// Takes up the request that waited at the rendezvous of a code.
    fn found_by_code(&mut self, now: Now, code: LinkCode, pass: &Pass) -> (Vouching, Result<ApproverStep, LinkError>) {
        let request = LinkRequest::from_message(code.token(), &pass.message);
        match request.and_then(|request| self.begin_approval(now, request)) {
            Ok((approver, commitment)) => {
                (Vouching::Talking(Box::new(approver), None), Ok(ApproverStep::Send(commitment)))
            }
            Err(error) => (Vouching::Looking(code), Err(error)),
        }
    }
}
