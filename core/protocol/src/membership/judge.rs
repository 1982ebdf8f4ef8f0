//! The judgement of one record in the view of its parents.
//!
//! Invariant: nothing but the record, its ancestors and the attestations on it is looked at.

use std::collections::BTreeSet;

use super::{Membership, RecordOutcome, RecordRefusal};
use crate::identity::{Identity, IdentityLog};
use crate::ids::{RecordId, RelayId, UserId};
use crate::keys::VerifyKey;
use crate::membership::view::{InviteStanding, View};
use crate::record::{Genesis, InviteCreate, Join, Record, RecordBody, Role, Rotation};

/// Why a judgement did not end in a view.
pub(super) enum Stop {
    /// What became of the record.
    Outcome(RecordOutcome),
    /// The record's own signature does not fit: nothing is known of the record, since its id does not
    /// cover the signature and another copy may be genuine.
    Forged,
}

pub(super) type Judgement = Result<View, Stop>;

impl Membership {
    /// Judges a record whose parents are settled.
    pub(super) fn judge(&self, record: &Record) -> Judgement {
        let parents = record.parents();
        if parents.iter().any(|parent| !self.views.contains_key(parent)) {
            return refuse(RecordRefusal::RefusedParent);
        }
        if record.generation() != self.generation_above(parents.iter()) {
            return refuse(RecordRefusal::Generation);
        }
        let view = self.joined(parents.iter());
        match record.body() {
            RecordBody::Genesis(genesis) => found(record, genesis),
            RecordBody::Devices(identity, rotation) => admit_devices(record, view, identity, rotation.as_ref()),
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
        let Some(keys) = identity.devices.get(&record.author()) else {
            return refuse(RecordRefusal::UnknownAuthor);
        };
        verify(record, &keys.sign)?;
        certify_all(&mut view, &identity)?;
        let nth = self.attested_use(record.id(), &view, &invite)?;
        view.count_use(&join.invite, nth);
        view.grant(identity.user, invite.role);
        Ok(view)
    }

    /// Returns which use of its invite a Join is, on the word of a relay that counts them: the lowest
    /// number any of them gives within the invite's bounds.
    fn attested_use(&self, join: RecordId, view: &View, invite: &InviteStanding) -> Result<u32, Stop> {
        let counting: Vec<_> =
            self.attestations.on(&join).filter(|statement| counts_for(view, invite.relay, statement.relay)).collect();
        let within = counting.iter().filter(|statement| {
            let within_time = invite.expires_ms == 0 || statement.time_ms <= invite.expires_ms;
            let within_uses = invite.uses == 0 || statement.nth <= invite.uses;
            within_time && within_uses && statement.nth > 0
        });
        match within.map(|statement| statement.nth).min() {
            Some(nth) => Ok(nth),
            None if counting.is_empty() => Err(Stop::Outcome(RecordOutcome::AwaitsAttestation)),
            None => Err(refusal(RecordRefusal::InviteNotValid)),
        }
    }

    /// Tells whether a relay is among those that count the uses of a Join's invite; `None` if that is
    /// not known before the Join's parents are admitted.
    pub(super) fn counts_join(&self, record: &Record, signer: RelayId) -> Option<bool> {
        let RecordBody::Join(join) = record.body() else {
            return None;
        };
        let parents = record.parents();
        if parents.iter().any(|parent| !self.views.contains_key(parent)) {
            return None;
        }
        let view = self.joined(parents.iter());
        let invite = view.invite(&join.invite)?;
        Some(counts_for(&view, invite.relay, signer))
    }
}

/// Tells whether a relay may attest for another: it is the same, or succeeded it.
fn counts_for(view: &View, named: RelayId, signer: RelayId) -> bool {
    let mut open = vec![named];
    let mut seen = BTreeSet::new();
    while let Some(relay) = open.pop() {
        if relay == signer {
            return true;
        }
        if seen.insert(relay) {
            open.extend(view.successors(&relay));
        }
    }
    false
}

/// Gives a user's devices effect, unless one is already another user's.
fn certify_all(view: &mut View, identity: &Identity) -> Result<(), Stop> {
    for keys in identity.devices.values() {
        let held_by_another = view.device(&keys.id()).is_some_and(|held| held.user != identity.user);
        if held_by_another {
            return Err(refusal(RecordRefusal::RoleDenied));
        }
        view.certify(identity.user, *keys);
    }
    Ok(())
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

fn admit_devices(record: &Record, mut view: View, log: &IdentityLog, rotation: Option<&Rotation>) -> Judgement {
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
    let may_rotate = view.role(&standing.user) >= Some(Role::Commenter);
    certify_all(&mut view, &identity)?;
    match rotation {
        Some(_) if !may_rotate => refuse(RecordRefusal::RoleDenied),
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
        Some(epoch) => rotation.previous.iter().any(|previous| previous.epoch == epoch),
    };
    if !follows || view.knows_epoch(&rotation.epoch) {
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
    let needed = if invite.role >= Role::Admin { Role::Owner } else { Role::Admin };
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
fn author(record: &Record, view: &View, needed: Role) -> Result<(), Stop> {
    let device = record.author();
    let standing = view.device(&device).filter(|standing| standing.certified);
    let standing = standing.ok_or(refusal(RecordRefusal::UnknownAuthor))?;
    verify(record, &standing.keys.sign)?;
    if view.role(&standing.user).is_none_or(|role| role < needed) {
        return Err(refusal(RecordRefusal::RoleDenied));
    }
    Ok(())
}

fn verify(record: &Record, key: &VerifyKey) -> Result<(), Stop> {
    record.verify(key).map_err(|_| Stop::Forged)
}

fn refusal(error: impl Into<RecordRefusal>) -> Stop {
    Stop::Outcome(RecordOutcome::Refused(error.into()))
}

fn refuse(reason: RecordRefusal) -> Judgement {
    Err(refusal(reason))
}
