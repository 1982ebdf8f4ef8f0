//! The judgement of one record in the view of its parents.
//!
//! Invariant: nothing but the record, its ancestors and the attestations on it is looked at.

use super::{Membership, RecordOutcome, RecordRefusal};
use crate::identity::{Identity, IdentityLog};
use crate::ids::{RecordId, UserId};
use crate::keys::VerifyKey;
use crate::membership::view::{InviteStanding, View};
use crate::record::{Genesis, InviteCreate, Join, Record, RecordBody, Role, Rotation};

type Judgement = Result<View, RecordOutcome>;

impl Membership {
    /// Judges a record and keeps its view if it is admitted; `None` while a parent is missing.
    pub(super) fn judge(&mut self, id: &RecordId) -> Option<RecordOutcome> {
        let record = self.records.get(id)?;
        if record
            .parents()
            .iter()
            .any(|parent| !self.is_settled(parent))
        {
            return None;
        }
        match self.judge_settled(record) {
            Ok(view) => {
                self.views.insert(*id, view);
                Some(RecordOutcome::Admitted)
            }
            Err(outcome) => Some(outcome),
        }
    }

    fn is_settled(&self, id: &RecordId) -> bool {
        matches!(
            self.outcomes.get(id),
            Some(RecordOutcome::Admitted | RecordOutcome::Refused(_))
        )
    }

    fn judge_settled(&self, record: &Record) -> Judgement {
        if record
            .parents()
            .iter()
            .any(|parent| !self.views.contains_key(parent))
        {
            return refuse(RecordRefusal::RefusedParent);
        }
        if record.generation() != self.generation_above(record.parents().iter()) {
            return refuse(RecordRefusal::Generation);
        }
        let view = self.joined(record.parents().iter());
        match record.body() {
            RecordBody::Genesis(genesis) => found(record, genesis),
            RecordBody::Devices(identity, rotation) => {
                admit_devices(record, view, identity, rotation.as_ref())
            }
            RecordBody::Rotate(rotation) => rotate(record, view, rotation),
            RecordBody::InviteCreate(invite) => offer(record, view, invite),
            RecordBody::Join(join) => self.accept(record, view, join),
            RecordBody::RelaySuccession(succession) => {
                author(record, &view, Role::Admin)?;
                let mut view = view;
                view.succeed(succession.old, succession.new);
                Ok(view)
            }
            RecordBody::Unsupported { .. } => refuse(RecordRefusal::Unsupported),
        }
    }

    fn accept(&self, record: &Record, mut view: View, join: &Join) -> Judgement {
        let Some(invite) = view.invite(&join.invite).copied() else {
            return refuse(RecordRefusal::InviteNotValid);
        };
        join.verify(&invite.sign).map_err(refusal)?;
        let identity = Identity::evaluate(&join.identity).map_err(refusal)?;
        let keys = identity.devices.get(&record.author());
        let keys = keys.ok_or(RecordOutcome::Refused(RecordRefusal::UnknownAuthor))?;
        verify(record, &keys.sign)?;
        let nth = self.attested_use(record.id(), &view, &invite)?;
        view.count_use(&join.invite, nth);
        view.grant(identity.user, invite.role);
        for keys in identity.devices.values() {
            view.certify(identity.user, *keys);
        }
        Ok(view)
    }

    /// Returns which use of its invite a Join is, on the word of the relay that counts them.
    fn attested_use(
        &self,
        join: RecordId,
        view: &View,
        invite: &InviteStanding,
    ) -> Result<u32, RecordOutcome> {
        let mut too_late = None;
        for attestation in self.attestations.get(&join).into_iter().flatten() {
            let Ok(statement) = attestation.verify() else {
                continue;
            };
            if !Self::counts_for(view, invite.relay, statement.relay) {
                continue;
            }
            let within_time = invite.expires_ms == 0 || statement.time_ms <= invite.expires_ms;
            let within_uses = invite.uses == 0 || statement.nth <= invite.uses;
            if within_time && within_uses && statement.nth > 0 {
                return Ok(statement.nth);
            }
            too_late = Some(RecordOutcome::Refused(RecordRefusal::InviteNotValid));
        }
        Err(too_late.unwrap_or(RecordOutcome::AwaitsAttestation))
    }
}

fn found(record: &Record, genesis: &Genesis) -> Judgement {
    if record.author() != genesis.device.id() {
        return refuse(RecordRefusal::UnknownAuthor);
    }
    verify(record, &genesis.device.sign)?;
    let mut view = View::default();
    let user = UserId::derive(&genesis.root.to_bytes());
    view.found(user, genesis.device, genesis.blinding_commitment);
    Ok(view)
}

fn admit_devices(
    record: &Record,
    mut view: View,
    log: &IdentityLog,
    rotation: Option<&Rotation>,
) -> Judgement {
    let Some(standing) = view.device(&record.author()).copied() else {
        return refuse(RecordRefusal::UnknownAuthor);
    };
    verify(record, &standing.keys.sign)?;
    let identity = Identity::evaluate(log).map_err(refusal)?;
    let vouched = standing.certified || identity.devices.contains_key(&record.author());
    if !vouched || view.role(&identity.user).is_none() || view.role(&standing.user).is_none() {
        return refuse(RecordRefusal::RoleDenied);
    }
    if !standing.certified && identity.user != standing.user {
        return refuse(RecordRefusal::RoleDenied);
    }
    for keys in identity.devices.values() {
        let held_by_another = view
            .device(&keys.id())
            .is_some_and(|held| held.user != identity.user);
        if held_by_another {
            return refuse(RecordRefusal::RoleDenied);
        }
        view.certify(identity.user, *keys);
    }
    match rotation {
        Some(rotation) => begin_epoch(record.id(), view, rotation),
        None => Ok(view),
    }
}

fn rotate(record: &Record, view: View, rotation: &Rotation) -> Judgement {
    author(record, &view, Role::Commenter)?;
    begin_epoch(record.id(), view, rotation)
}

fn begin_epoch(record: RecordId, mut view: View, rotation: &Rotation) -> Judgement {
    let follows = match view.epoch() {
        None => rotation.previous.is_empty(),
        Some(epoch) => rotation
            .previous
            .iter()
            .any(|previous| previous.epoch == epoch),
    };
    if !follows {
        return refuse(RecordRefusal::EpochMismatch);
    }
    let expected = view.recipients();
    let given = rotation.wraps.iter().map(|wrap| wrap.recipient);
    if !given.eq(expected.iter().map(|(recipient, _)| *recipient)) {
        return refuse(RecordRefusal::RecipientSetMismatch);
    }
    view.begin_epoch(record, rotation.epoch);
    Ok(view)
}

fn offer(record: &Record, mut view: View, invite: &InviteCreate) -> Judgement {
    let needed = if invite.role >= Role::Admin {
        Role::Owner
    } else {
        Role::Admin
    };
    author(record, &view, needed)?;
    if view.epoch() != Some(invite.epoch) {
        return refuse(RecordRefusal::EpochMismatch);
    }
    let standing = InviteStanding {
        role: invite.role,
        expires_ms: invite.expires_ms,
        uses: invite.uses,
        used: 0,
        relay: invite.relay,
        sign: invite.sign_public,
        box_public: invite.box_public,
    };
    view.offer(record.id(), standing);
    Ok(view)
}

/// Checks that a certified device of at least this role signed the record.
fn author(record: &Record, view: &View, needed: Role) -> Result<(), RecordOutcome> {
    let device = record.author();
    let standing = view.device(&device).filter(|standing| standing.certified);
    let standing = standing.ok_or(RecordOutcome::Refused(RecordRefusal::UnknownAuthor))?;
    verify(record, &standing.keys.sign)?;
    if view.role(&standing.user).is_none_or(|role| role < needed) {
        return Err(RecordOutcome::Refused(RecordRefusal::RoleDenied));
    }
    Ok(())
}

fn verify(record: &Record, key: &VerifyKey) -> Result<(), RecordOutcome> {
    record.verify(key).map_err(refusal)
}

fn refusal(error: impl Into<RecordRefusal>) -> RecordOutcome {
    RecordOutcome::Refused(error.into())
}

fn refuse(refusal: RecordRefusal) -> Judgement {
    Err(RecordOutcome::Refused(refusal))
}
