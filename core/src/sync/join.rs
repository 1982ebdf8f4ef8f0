//! Entering a workspace by an invite, and giving a relay the records it does not have.
//!
//! Invariant: a workspace that a relay does not know is seeded by its members, records first; a joiner
//! shows the invite's key, is given the records, and becomes a member by a Join among them.

use minicbor::bytes::ByteVec;
use tombolo_protocol::frame::{Enter, NotFound, Seed};
use tombolo_protocol::receipt::Signed;
use tombolo_protocol::record::Record;

use super::channel::Phase;
use super::handshake::MALFORMED;
use super::receipt::{RETRY_MAX, RETRY_MIN};
use super::{Fault, draw};
use crate::engine::{Engine, Event, Now};
use crate::store::{StoreError, Tx};

/// Bytes of records in one `Seed` frame.
const SEED_BYTES_TARGET: usize = 1 << 20;

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

    /// The records are here: accept the invite, and ask to be let in by it.
    pub(super) fn ask_to_join(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        match self.accept_invite(now, at.1, tx)? {
            Some(join) => {
                self.set_phase(at.0, at.1, Phase::Seeding);
                self.seed(at, vec![join], Vec::new());
            }
            None => self.turned_away(now, at),
        }
        Ok(())
    }

    /// The relay has no such workspace for this device.
    pub(super) fn not_found(&mut self, now: Now, relay: i64, absent: &NotFound, tx: &Tx<'_>) -> Result<(), Fault> {
        let found = self.workspaces.values().find(|workspace| workspace.tag == absent.workspace);
        let at = (relay, found.map(|workspace| workspace.row).ok_or(MALFORMED)?);
        let phase = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(at.1)).map(|c| c.phase);
        if phase != Some(Phase::Opening) {
            self.turned_away(now, at);
            return Ok(());
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

    /// Asks again later: the relay may not have been healed yet, or another may know better.
    fn turned_away(&mut self, now: Now, at: (i64, i64)) {
        let wait = draw(self.entropy.as_mut(), RETRY_MIN, RETRY_MAX);
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.phase = Phase::Dormant;
            channel.retry_at = Some(now.mono + wait);
        }
        if let Some(workspace) = self.workspaces.get(&at.1).map(|workspace| workspace.id)
            && self.is_joining(at.1)
        {
            self.tell(Event::JoinRefused { workspace });
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
                    channel.unplaced.extend(std::mem::take(&mut channel.refused).into_keys());
                    channel.has_changes = true;
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
            self.send(at.0, Seed { workspace, records, attestations, more });
        }
    }
}
