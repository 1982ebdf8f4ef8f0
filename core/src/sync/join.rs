//! Entering a workspace by an invite, and giving a relay the records it does not have.
//!
//! Invariant: a workspace that a relay does not know is seeded by its members, records first; a joiner
//! shows the invite's key, is given the records, and becomes a member by a Join among them.

use std::time::Duration;

use minicbor::bytes::ByteVec;
use tombolo_protocol::frame::{Enter, Frame, NotFound, NotFoundReason, Seed};
use tombolo_protocol::receipt::Signed;
use tombolo_protocol::record::Record;

use super::channel::{Channel, Phase};
use super::handshake::MALFORMED;
use super::receipt::{RETRY_MAX, RETRY_MIN};
use super::{Fault, draw};
use crate::engine::{Engine, Event, Now};
use crate::store::{JoinRefusal, StoreError, Tx, WorkspaceState};

/// Bytes of records in one `Seed` frame.
const SEED_BYTES_TARGET: usize = 1 << 20;
/// Shortest and longest wait before the relay that counts an invite is asked again: whoever made the
/// invite is often about to bring it there.
const SOON_MIN: Duration = Duration::from_secs(1);
const SOON_MAX: Duration = Duration::from_secs(4);
/// How often it is asked so soon in one session: about a minute, then as seldom as any other relay.
const SOON_TRIES_MAX: u32 = 24;
/// How many times longer than at first a device waits that returns to a workspace of which a relay told: perhaps there
/// is none, and it asks for ever.
const RETURN_PATIENCE_MAX: u32 = 16;

impl Engine {
    /// Shows an invite to a relay.
    pub(crate) fn enter(&mut self, relay: i64, workspace: i64) -> Result<(), StoreError> {
        let keys = self.device.public();
        let Some(live) = self.relays.get(&relay).and_then(super::Relay::live) else {
            return Ok(());
        };
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(());
        };
        let Some(link) = held.join.as_ref() else {
            return Ok(());
        };
        let proof = live.transcript.sign_as_invite(&keys, &link.secret.sign_key());
        let enter = Enter { workspace: held.tag, invite: link.invite, proof };
        self.set_phase(relay, workspace, Phase::Entering);
        self.send(relay, enter);
        Ok(())
    }

    /// The records are here: accept the invite, or state this device, and ask to be let in by it.
    pub(super) fn ask_to_join(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        let state = self.workspaces.get(&at.1).map(|workspace| workspace.state);
        let record = match state {
            // The workspace knows this device already: it opens as any other.
            Some(WorkspaceState::Member) => {
                self.set_phase(at.0, at.1, Phase::Wanted);
                return Ok(());
            }
            Some(WorkspaceState::Returning) => self.state_return(now, at.1, tx)?,
            _ => self.accept_invite(now, at.1, tx)?,
        };
        match record {
            Some(record) => {
                self.set_phase(at.0, at.1, Phase::Seeding);
                self.seed(at, vec![record], Vec::new());
            }
            None => self.turned_away(now, at, None, tx)?,
        }
        Ok(())
    }

    /// The relay has no such workspace for this device.
    pub(super) fn not_found(&mut self, now: Now, relay: i64, absent: &NotFound, tx: &Tx<'_>) -> Result<(), Fault> {
        let found = self.workspaces.values().find(|workspace| workspace.tag == absent.workspace);
        let at = (relay, found.map(|workspace| workspace.row).ok_or(MALFORMED)?);
        let phase = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(at.1)).map(|c| c.phase);
        self.give_up_step_up(at);
        let needs = absent
            .reason()
            .filter(|reason| matches!(reason, NotFoundReason::NeedsToken | NotFoundReason::NeedsBinding));
        if let Some(channel) = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(at.1)) {
            channel.needs = needs;
        }
        if needs.is_some() || phase != Some(Phase::Opening) {
            return self.turned_away(now, at, absent.reason(), tx);
        }
        tx.forget_log(at.0, at.1)?;
        let Some(workspace) = self.workspaces.get(&at.1) else {
            return Ok(());
        };
        let records = workspace.membership.in_order().into_iter().cloned().collect();
        let attestations = workspace.membership.attestations().map(Signed::encode).collect();
        self.set_phase(at.0, at.1, Phase::Seeding);
        self.seed(at, records, attestations);
        Ok(())
    }

    /// The relay has taken a workspace from this session, or wants a second factor before it opens one: it is
    /// asked again later.
    pub(crate) fn take_denial(&mut self, now: Now, relay: i64, frame: &Frame, tx: &Tx<'_>) -> Result<(), Fault> {
        let (workspace, levels) = match frame {
            Frame::Shut(shut) => (self.channel_of(relay, shut.channel)?, None),
            Frame::MfaRequired(asked) => {
                let found = self.workspaces.values().find(|workspace| workspace.tag == asked.workspace);
                (found.map(|workspace| workspace.row).ok_or(MALFORMED)?, Some(asked.levels))
            }
            Frame::StepUpChallenge(challenge) => return self.take_challenge(relay, challenge),
            Frame::SteppedUp(outcome) => return self.take_stepped_up(now, relay, outcome),
            _ => return Err(MALFORMED),
        };
        if let Some(levels) = levels {
            self.note_factor_wanted((relay, workspace), levels);
        }
        if let Some(channel) = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(workspace)) {
            *channel = Channel::new();
        }
        self.turned_away(now, (relay, workspace), None, tx)
    }

    /// Gives a join up if the refusal is for good, else asks again: soon where the invite is counted, later
    /// elsewhere. The relay may not have been healed yet, or another may know better.
    fn turned_away(
        &mut self,
        now: Now,
        at: (i64, i64),
        reason: Option<NotFoundReason>,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let joining = self.is_joining(at.1);
        let counts = joining && self.counts_invite(at);
        let returns = self.workspaces.get(&at.1).is_some_and(|held| held.state == WorkspaceState::Returning);
        if let Some(refusal) = reason.and_then(JoinRefusal::of).filter(|_| counts) {
            return Ok(self.refuse_join(at.1, refusal, tx)?);
        }
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.turned_away += 1;
        let soon = counts && channel.turned_away <= SOON_TRIES_MAX;
        let (least, most) = if soon { (SOON_MIN, SOON_MAX) } else { (RETRY_MIN, RETRY_MAX) };
        let patience = if returns { channel.patience().min(RETURN_PATIENCE_MAX) } else { 1 };
        channel.phase = Phase::Dormant;
        channel.retry_at = Some(now.mono + draw(self.entropy.as_mut(), least, most) * patience);
        if let Some(workspace) = self.workspaces.get(&at.1).map(|workspace| workspace.id)
            && joining
        {
            self.tell(Event::JoinRefused { workspace, reason: None });
        }
        Ok(())
    }

    /// Tells whether a relay's word on an invite is the last: it counts the uses, or is the only one that
    /// the link names.
    fn counts_invite(&self, at: (i64, i64)) -> bool {
        let link = self.workspaces.get(&at.1).and_then(|held| held.join.as_ref());
        let (Some(link), Some(relay)) = (link, self.relays.get(&at.0)) else {
            return false;
        };
        relay.key() == Some(link.relay) || link.addresses == [relay.address()]
    }

    /// Tells whether an invite names a relay whose join is under way.
    pub(super) fn joins_by(&self, relay: i64) -> bool {
        let Some(relay) = self.relays.get(&relay) else {
            return false;
        };
        let joining = self.workspaces.values().filter(|held| held.state == WorkspaceState::Joining);
        let mut links = joining.filter_map(|held| held.join.as_ref());
        links.any(|link| link.addresses.iter().any(|address| address == relay.address()))
    }

    fn refuse_join(&mut self, row: i64, refusal: JoinRefusal, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get_mut(&row) else {
            return Ok(());
        };
        held.state = WorkspaceState::Refused(refusal);
        held.save(tx, self.entropy.as_mut())?;
        let workspace = held.id;
        for channel in self.relays.values_mut().filter_map(|relay| relay.channel_mut(row)) {
            channel.phase = Phase::Dormant;
            channel.retry_at = None;
        }
        self.tell(Event::JoinRefused { workspace, reason: Some(refusal) });
        Ok(())
    }

    /// Asks again at once wherever a join was turned away: something has changed.
    pub(crate) fn retry_joins(&mut self, now: Now) {
        for live in self.relays.values_mut().filter_map(super::Relay::live_mut) {
            for (row, channel) in &mut live.channels {
                let joining = self.workspaces.get(row).is_some_and(|held| held.state == WorkspaceState::Joining);
                if joining && channel.phase == Phase::Dormant {
                    channel.retry_at = Some(now.mono);
                }
            }
        }
    }

    /// Opens again what lay dormant, and tries again what was refused.
    pub(super) fn retry_due(&mut self, now: Now) {
        for live in self.relays.values_mut().filter_map(super::Relay::live_mut) {
            for channel in live.channels.values_mut() {
                if channel.retry_at.is_none_or(|at| at > now.mono) {
                    continue;
                }
                channel.retry_at = None;
                if channel.phase == Phase::Dormant {
                    channel.phase = Phase::Wanted;
                } else {
                    channel.turned_away = channel.turned_away.saturating_add(1);
                    channel.try_again(|_| true);
                    channel.has_records = true;
                }
            }
        }
    }

    fn seed(&mut self, at: (i64, i64), records: Vec<Record>, attestations: Vec<Vec<u8>>) {
        let Some(workspace) = self.workspaces.get(&at.1).map(|workspace| workspace.id) else {
            return;
        };
        let mut frames: Vec<Vec<ByteVec>> = vec![Vec::new()];
        let mut bytes = 0;
        for record in records {
            let record = record.encode();
            if bytes + record.len() > SEED_BYTES_TARGET && bytes > 0 {
                frames.push(Vec::new());
                bytes = 0;
            }
            bytes += record.len();
            if let Some(frame) = frames.last_mut() {
                frame.push(record.into());
            }
        }
        let last = frames.len() - 1;
        let mut attestations = Some(attestations);
        for (nth, records) in frames.into_iter().enumerate() {
            let more = nth < last;
            let attestations = if more { None } else { attestations.take() };
            let attestations = attestations.unwrap_or_default().into_iter().map(ByteVec::from).collect();
            let documents = if more { None } else { self.wanted_of(at.1) };
            self.send(at.0, Seed { workspace, records, attestations, more, documents });
        }
        self.note_asked(at);
    }
}

impl JoinRefusal {
    /// Recognises the reasons that end a join.
    fn of(reason: NotFoundReason) -> Option<Self> {
        match reason {
            NotFoundReason::UsedUp => Some(Self::UsedUp),
            NotFoundReason::Expired => Some(Self::Expired),
            NotFoundReason::Ended => Some(Self::Ended),
            NotFoundReason::NeedsToken
            | NotFoundReason::NeedsBinding
            | NotFoundReason::Removed
            | NotFoundReason::Revoked
            | NotFoundReason::RoleExpired => None,
        }
    }
}
