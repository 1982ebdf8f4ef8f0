//! Judging invites: the offer, its acceptance and its end.
//!
//! Invariant: a Join counts only on the word of a relay that counts the uses of its invite.

use super::devices::joins;
use super::{Judgement, Stop, counts_for, refusal, refuse};
use crate::ids::{RecordId, RelayId};
use crate::membership::facts::{Grant, Target};
use crate::membership::view::needed_to_invite;
use crate::membership::{InviteStanding, Membership, RecordOutcome, RecordRefusal, View};
use crate::record::{InviteCreate, InviteRevoke, Join, Record, RecordBody, Role};

impl Membership {
    pub(super) fn judge_invite(&self, record: &Record, view: &View, invite: &InviteCreate) -> Judgement {
        let needed = needed_to_invite(invite.role);
        let author = self.author(record, view, needed)?;
        if invite.role == Role::Owner {
            return refuse(RecordRefusal::RoleDenied);
        }
        if view.epoch() != Some(invite.epoch) {
            return refuse(RecordRefusal::EpochMismatch);
        }
        Ok(author.facts(needed))
    }

    pub(super) fn judge_invite_revoke(&self, record: &Record, view: &View, revoke: &InviteRevoke) -> Judgement {
        let author = self.author(record, view, Role::Carrier)?;
        let Some(invite) = view.invite(&revoke.invite).filter(|invite| !invite.ended) else {
            return refuse(RecordRefusal::InviteNotValid);
        };
        let needs = if invite.maker == author.user { Role::Carrier } else { Role::Admin };
        if author.role < needs {
            return refuse(RecordRefusal::RoleDenied);
        }
        if invite.is_keyed() && revoke.rotation.is_none() {
            return refuse(RecordRefusal::RotationMissing);
        }
        let mut facts = author.facts(needs);
        facts.removes.push((Target::Invite(revoke.invite), None));
        Ok(facts)
    }

    pub(super) fn judge_join(&self, record: &Record, view: &View, join: &Join) -> Judgement {
        let Some(invite) = view.invite(&join.invite).filter(|invite| !invite.ended).copied() else {
            return refuse(RecordRefusal::InviteNotValid);
        };
        if !self.is_proven(record) {
            join.verify(&invite.sign).map_err(refusal)?;
        }
        let identity = self.judge_log(record, &join.identity)?;
        let Some(keys) = identity.devices.get(&record.author()) else {
            return refuse(RecordRefusal::UnknownAuthor);
        };
        self.verify(record, &keys.sign)?;
        for device in identity.devices.keys().chain(identity.revoked.keys()) {
            if view.device(device).is_some_and(|held| held.user != identity.user) {
                return refuse(RecordRefusal::RoleDenied);
            }
        }
        if view.device(&record.author()).is_some_and(|held| held.revoked) {
            return refuse(RecordRefusal::UnknownAuthor);
        }
        let mut facts = joins(&identity, Role::Carrier);
        facts.nth = self.attested_use(record.id(), view, &invite)?;
        facts.rests_on.push(join.invite);
        if view.role(&identity.user) < Some(invite.role) {
            facts.grants = vec![Grant { user: identity.user, role: Some(invite.role), expiry: None }];
        }
        Ok(facts)
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
    pub(in crate::membership) fn counts_join(&self, record: &Record, signer: RelayId) -> Option<bool> {
        let RecordBody::Join(join) = record.body() else {
            return None;
        };
        let view = self.view_below(record)?;
        let invite = view.invite(&join.invite)?;
        Some(counts_for(&view, invite.relay, signer))
    }
}
