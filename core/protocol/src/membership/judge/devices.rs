//! Judging what users say of their devices, and their recovery keys.
//!
//! Invariant: a device is never one of two users, and nobody brings devices for somebody else but by
//! that user's own signed log.

use super::{Author, Judgement, check_rotation, refusal, refuse};
use crate::identity::{Identity, IdentityLog};
use crate::ids::DeviceId;
use crate::membership::facts::{Facts, RANKS_PER_ROLE, Target};
use crate::membership::{Membership, RecordRefusal, View};
use crate::record::{Devices, Record, RecoverySet, Role};

impl Membership {
    pub(super) fn judge_devices(&self, record: &Record, view: &View, devices: &Devices) -> Judgement {
        let (identity, signed_by_author) = self.identity_with(record, view, &devices.identity)?;
        let Some(role) = view.role(&identity.user) else {
            return refuse(RecordRefusal::RoleDenied);
        };
        let author = if signed_by_author {
            Author { user: identity.user, role, decided_by: view.decided_by(&identity.user) }
        } else {
            self.author(record, view, Role::Carrier)?
        };
        let revoked: Vec<DeviceId> =
            identity.revoked.keys().copied().filter(|device| is_active(view, device)).collect();
        let own = author.user == identity.user;
        if devices.rotation.is_some() && author.role < Role::Commenter && !(own && role.may_read()) {
            return refuse(RecordRefusal::RoleDenied);
        }
        if devices.rotation.is_some() && revoked.is_empty() && author.role < Role::Commenter {
            return refuse(RecordRefusal::RoleDenied);
        }
        let takes_keys = !revoked.is_empty() && role.may_read();
        let mut facts = author.facts(Role::Carrier);
        facts.departs = takes_keys && revoked.contains(&record.author());
        check_rotation(takes_keys, facts.departs, devices.rotation.is_some())?;
        facts.rank = rank(author.role, &identity, &revoked);
        facts.removes = revoked.into_iter().map(|device| (Target::Device(device), None)).collect();
        Ok(facts)
    }

    /// Judges a log, alone and with what is known of the user; tells whether a device that the two
    /// together hold active signed the record, be it new.
    fn identity_with(&self, record: &Record, view: &View, log: &IdentityLog) -> Judgement<(Identity, bool)> {
        self.judge_log(record, log)?;
        let merged = view.identity(&log.user()).map_or_else(|| log.clone(), |known| known.merged(log));
        let identity = Identity::of_judged(&merged).map_err(refusal)?;
        for device in identity.devices.keys().chain(identity.revoked.keys()) {
            if view.device(device).is_some_and(|held| held.user != identity.user) {
                return refuse(RecordRefusal::RoleDenied);
            }
        }
        let Some(keys) = identity.devices.get(&record.author()) else {
            return Ok((identity, false));
        };
        self.verify(record, &keys.sign)?;
        Ok((identity, true))
    }

    /// Judges an identity log by itself, signatures included, unless its record was proven before.
    pub(super) fn judge_log(&self, record: &Record, log: &IdentityLog) -> Judgement<Identity> {
        let proven = self.is_proven(record);
        let judged = if proven { Identity::of_judged(log) } else { Identity::evaluate(log) };
        judged.map_err(refusal)
    }

    pub(super) fn judge_recovery(&self, record: &Record, view: &View, recovery: &RecoverySet) -> Judgement {
        let author = self.author(record, view, Role::Reader)?;
        let Some(log) = view.identity(&author.user) else {
            return refuse(RecordRefusal::UnknownAuthor);
        };
        recovery.verify(&log.root).map_err(refusal)?;
        Ok(author.facts(Role::Reader))
    }
}

fn is_active(view: &View, device: &DeviceId) -> bool {
    view.device(device).is_some_and(|standing| standing.is_active())
}

/// A revocation outranks what the role alone may, so that a stolen device can not undo it by a removal;
/// one by the root outranks those by devices.
fn rank(role: Role, identity: &Identity, revoked: &[DeviceId]) -> u8 {
    let by_root = revoked.iter().all(|device| identity.revoked_by_root.contains(device));
    let step = match (revoked.is_empty(), by_root) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    };
    role as u8 * RANKS_PER_ROLE + step
}

/// Facts of a record that only proves devices.
pub(super) fn joins(identity: &Identity, needs: Role) -> Facts {
    Facts::of(identity.user, None, needs, None)
}
