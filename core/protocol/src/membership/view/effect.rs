//! What a record that was judged does to a view.
//!
//! Invariant: effects of concurrent records commute, so any topological order of one set of records
//! gives one view.

use std::sync::Arc;

use super::{DeviceStanding, InviteStanding, MemberAct, Newest, View};
use crate::identity::{Identity, IdentityLog};
use crate::ids::{DeviceId, RecordId, UserId};
use crate::membership::facts::{Facts, Target};
use crate::record::{EpochWrap, Genesis, InviteCreate, Policy, Record, RecordBody};

/// Tells what a record whose effect is taken descends from.
pub(in crate::membership) type Below<'a> = &'a dyn Fn(&RecordId) -> bool;

impl View {
    /// Takes the effect of a valid record; a void one only proves devices and leaves its epoch readable.
    pub(in crate::membership) fn take(&mut self, record: &Record, facts: &Facts, below: Below<'_>, void: bool) {
        if facts.is_decisive() {
            self.decisive.insert_mut(record.id(), ());
        }
        if void {
            self.void.insert_mut(record.id(), ());
            if let RecordBody::Devices(devices) = record.body() {
                self.know(&devices.identity);
            }
        } else {
            self.take_statement(record, facts, below);
        }
        if let Some(rotation) = record.body().rotation() {
            let newest = Newest { epoch: rotation.epoch, behind: false, leads: false, void };
            self.begin_epoch(record.id(), newest, below);
        }
    }

    /// Takes the effect of a record, but for the epoch that it may begin.
    pub(in crate::membership) fn take_statement(&mut self, record: &Record, facts: &Facts, below: Below<'_>) {
        let id = record.id();
        for grant in &facts.grants {
            let act = MemberAct { record: id, rank: facts.rank, role: grant.role, expiry: grant.expiry };
            self.stand(grant.user, act, below);
        }
        self.remove(id, facts);
        match record.body() {
            RecordBody::Genesis(genesis) => self.found(facts.user, genesis),
            RecordBody::Devices(devices) => self.know(&devices.identity),
            RecordBody::InviteCreate(invite) => self.offer(id, facts.user, invite),
            RecordBody::Join(join) => {
                self.know(&join.identity);
                self.joined_by.insert_mut((facts.user, join.invite), ());
                self.count_use(&join.invite, facts.nth);
            }
            RecordBody::RelaySuccession(succession) => {
                self.successions.insert_mut((succession.old, succession.new), ());
            }
            RecordBody::Policy(policy) => self.settle_policy(id, facts.rank, policy, below),
            RecordBody::RecoverySet(recovery) => self.keep_kit(id, facts.user, recovery.box_public, below),
            RecordBody::Purge(document) => {
                self.purged.insert_mut(*document, ());
            }
            RecordBody::Admit(_) | RecordBody::Exclude(_) => self.take_verdict(record, below),
            RecordBody::Standing(_)
            | RecordBody::OwnerTransfer(_)
            | RecordBody::Rotate(_)
            | RecordBody::Rewrap(_)
            | RecordBody::InviteRevoke(_)
            | RecordBody::Unsupported { .. } => {}
        }
    }

    fn remove(&mut self, id: RecordId, facts: &Facts) {
        for (target, floor) in facts.removes.iter().chain(&facts.adds_pins_to) {
            match target {
                Target::Invite(invite) => self.end_invite(invite),
                Target::User(_) | Target::Device(_) => self.removals.insert_mut((*target, id), *floor),
            }
        }
        if facts.departs {
            self.departures.insert_mut(id, ());
        }
    }

    fn settle_policy(&mut self, id: RecordId, rank: u8, policy: &Policy, below: Below<'_>) {
        self.policies.retain(|(_, older, _)| !below(older));
        self.policies.push((rank, id, Arc::new(policy.clone())));
        self.policies.sort_unstable_by_key(|(rank, record, _)| (*rank, *record));
    }

    fn keep_kit(&mut self, id: RecordId, user: UserId, box_public: [u8; 32], below: Below<'_>) {
        let mut keys = self.recovery.get(&user).cloned().unwrap_or_default();
        keys.retain(|(older, _)| !below(older));
        keys.push((id, box_public));
        keys.sort_unstable();
        self.recovery.insert_mut(user, keys);
    }

    fn stand(&mut self, user: UserId, act: MemberAct, below: Below<'_>) {
        let mut acts = self.members.get(&user).cloned().unwrap_or_default();
        acts.retain(|older| !below(&older.record));
        acts.push(act);
        acts.sort_unstable_by_key(|act| act.record);
        // Almost always one, in a relay's thousands of workspaces; a list that grows makes room for four.
        acts.shrink_to_fit();
        self.members.insert_mut(user, acts);
    }

    fn found(&mut self, user: UserId, genesis: &Genesis) {
        let standing = DeviceStanding { user, keys: genesis.device, certified: false, revoked: false };
        self.devices.insert_mut(genesis.device.id(), standing);
        self.blinding_commitment = Some(genesis.blinding_commitment);
    }

    /// Learns what a user says of their devices; the log was judged with its record.
    fn know(&mut self, log: &Arc<IdentityLog>) {
        let user = log.user();
        let known = self.identities.get(&user);
        let merged = known.map_or_else(|| Arc::clone(log), |known| Arc::new(known.merged(log)));
        if let Ok(identity) = Identity::of_judged(&merged) {
            self.certify(&identity);
            self.identities.insert_mut(user, merged);
        }
    }

    fn certify(&mut self, identity: &Identity) {
        let user = identity.user;
        let active = identity.devices.values().map(|keys| (*keys, false));
        for (keys, revoked) in active.chain(identity.revoked.values().map(|keys| (*keys, true))) {
            self.keep_device(keys.id(), DeviceStanding { user, keys, certified: true, revoked });
        }
    }

    /// If two users certified one device in concurrent records, which takes its own signature for both,
    /// the lower user has it.
    fn keep_device(&mut self, id: DeviceId, standing: DeviceStanding) {
        let held = self.devices.get(&id);
        let keeps = held.is_some_and(|held| *held == standing || held.certified && held.user < standing.user);
        if !keeps {
            self.devices.insert_mut(id, standing);
        }
    }

    fn offer(&mut self, id: RecordId, maker: UserId, invite: &InviteCreate) {
        let standing = InviteStanding {
            maker,
            role: invite.role,
            expires_ms: invite.expires_ms,
            uses: invite.uses,
            used: 0,
            relay: invite.relay,
            sign: invite.sign_public,
            box_public: invite.box_public,
            ended: false,
        };
        self.invites.insert_mut(id, standing);
    }

    fn count_use(&mut self, invite: &RecordId, nth: u32) {
        if let Some(standing) = self.invites.get_mut(invite) {
            standing.used = standing.used.max(nth);
        }
    }

    fn end_invite(&mut self, invite: &RecordId) {
        if let Some(standing) = self.invites.get_mut(invite) {
            standing.ended = true;
        }
    }

    fn take_verdict(&mut self, record: &Record, below: Below<'_>) {
        let (entries, admitted) = match record.body() {
            RecordBody::Admit(entries) => (entries, true),
            RecordBody::Exclude(entries) => (entries, false),
            _ => return,
        };
        for entry in entries {
            let mut verdicts = self.verdicts.get(entry).cloned().unwrap_or_default();
            verdicts.retain(|(older, _)| !below(older));
            verdicts.push((record.id(), admitted));
            verdicts.sort_unstable();
            self.verdicts.insert_mut(*entry, verdicts);
        }
    }

    /// A void rotation supersedes none: what it stands on may have to serve again.
    fn begin_epoch(&mut self, record: RecordId, newest: Newest, below: Below<'_>) {
        if !newest.void {
            let stale: Vec<RecordId> = self.newest.keys().filter(|older| below(older)).copied().collect();
            for older in &stale {
                self.newest.remove_mut(older);
            }
            let shut_out: Vec<RecordId> = self.departures.keys().filter(|older| below(older)).copied().collect();
            for departure in &shut_out {
                self.departures.remove_mut(departure);
            }
        }
        self.rotations.insert_mut((newest.epoch, record), ());
        self.newest.insert_mut(record, newest);
    }

    /// Returns whether a record's wraps are for exactly these recipients.
    pub(in crate::membership) fn are_recipients(&self, wraps: &[EpochWrap]) -> bool {
        let expected = self.recipients();
        wraps.iter().map(|wrap| wrap.recipient).eq(expected.iter().map(|(recipient, _)| *recipient))
    }
}
