//! The judgement of one record in the view of its parents: who its author is, and what the act needs.
//!
//! Invariant: nothing but the record, its ancestors and the attestations on it is looked at.

mod devices;
mod epoch;
mod invite;
mod standing;

use std::collections::BTreeSet;

use super::facts::{Facts, Grant};
use super::{Membership, RecordOutcome, RecordRefusal, View};
use crate::ids::{RecordId, RelayId, UserId};
use crate::keys::VerifyKey;
use crate::record::{Genesis, Record, RecordBody, Role};

/// Why a judgement did not end in facts.
pub(super) enum Stop {
    /// What became of the record.
    Outcome(RecordOutcome),
    /// The record's own signature does not fit: nothing is known of the record, since its id does not
    /// cover the signature and another copy may be genuine.
    Forged,
}

pub(super) type Judgement<T = Facts> = Result<T, Stop>;

/// Who made a record, and from where the right comes.
pub(super) struct Author {
    pub(super) user: UserId,
    pub(super) role: Role,
    pub(super) decided_by: Option<RecordId>,
}

impl Author {
    pub(super) fn facts(&self, needs: Role) -> Facts {
        Facts::of(self.user, Some(self.role), needs, self.decided_by)
    }
}

impl Membership {
    /// Judges a record in the view of its parents, which are admitted.
    pub(super) fn judge(&self, record: &Record, view: &View) -> Judgement {
        let facts = self.judge_statement(record, view)?;
        self.check_epoch(record, view, &facts)?;
        self.check_level(record, view, &facts)?;
        Ok(facts)
    }

    /// Judges all but the epoch that a record begins and the level it was brought at.
    fn judge_statement(&self, record: &Record, view: &View) -> Judgement {
        Ok(match record.body() {
            RecordBody::Genesis(genesis) => self.found(record, genesis)?,
            RecordBody::Standing(standing) => self.judge_standing(record, view, standing)?,
            RecordBody::Rotate(_) => self.author(record, view, Role::Commenter)?.facts(Role::Commenter),
            RecordBody::Devices(devices) => self.judge_devices(record, view, devices)?,
            RecordBody::InviteCreate(invite) => self.judge_invite(record, view, invite)?,
            RecordBody::InviteRevoke(revoke) => self.judge_invite_revoke(record, view, revoke)?,
            RecordBody::Join(join) => self.judge_join(record, view, join)?,
            RecordBody::Rewrap(rewrap) => self.judge_rewrap(record, view, rewrap)?,
            RecordBody::Policy(_) => self.author(record, view, Role::Owner)?.facts(Role::Owner),
            RecordBody::OwnerTransfer(to) => self.judge_transfer(record, view, to)?,
            RecordBody::RecoverySet(recovery) => self.judge_recovery(record, view, recovery)?,
            RecordBody::Admit(_) | RecordBody::Exclude(_) | RecordBody::Purge(_) | RecordBody::RelaySuccession(_) => {
                self.author(record, view, Role::Admin)?.facts(Role::Admin)
            }
            RecordBody::Unsupported { .. } => return refuse(RecordRefusal::Unsupported),
        })
    }

    fn found(&self, record: &Record, genesis: &Genesis) -> Judgement {
        if record.author() != genesis.device.id() {
            return refuse(RecordRefusal::UnknownAuthor);
        }
        self.verify(record, &genesis.device.sign)?;
        let user = UserId::derive(&genesis.root.to_bytes());
        let mut facts = Facts::of(user, Some(Role::Owner), Role::Owner, None);
        facts.grants = vec![Grant { user, role: Some(Role::Owner), expiry: None }];
        Ok(facts)
    }

    /// Checks that an active device of a member of at least this role signed the record.
    pub(super) fn author(&self, record: &Record, view: &View, needed: Role) -> Judgement<Author> {
        let device = record.author();
        let standing = view.device(&device).filter(|standing| standing.is_active());
        let standing = standing.ok_or(refusal(RecordRefusal::UnknownAuthor))?;
        self.verify(record, &standing.keys.sign)?;
        match view.role(&standing.user) {
            Some(role) if role >= needed => {
                Ok(Author { user: standing.user, role, decided_by: view.decided_by(&standing.user) })
            }
            _ => Err(refusal(RecordRefusal::RoleDenied)),
        }
    }

    pub(super) fn verify(&self, record: &Record, key: &VerifyKey) -> Judgement<()> {
        if self.is_proven(record) {
            return Ok(());
        }
        record.verify(key).map_err(|_| Stop::Forged)
    }

    pub(super) fn is_proven(&self, record: &Record) -> bool {
        self.records.get(&record.id()).is_some_and(|kept| kept.proven)
    }

    /// Checks that a relay which the policy names saw the author at the level that the act needs.
    fn check_level(&self, record: &Record, view: &View, facts: &Facts) -> Judgement<()> {
        let Some(policy) = view.policy() else {
            return Ok(());
        };
        let needed = policy.levels.needed(record.body(), &facts.user);
        let counts = |relay: RelayId| policy.relays.iter().any(|named| counts_for(view, *named, relay));
        let reached = |level: u8, relay: RelayId| level >= needed && counts(relay);
        let id = record.id();
        let mut attested = self.attestations.on(&id);
        if needed <= 1 || attested.any(|statement| reached(statement.level, statement.relay)) {
            return Ok(());
        }
        Err(Stop::Outcome(RecordOutcome::AwaitsAttestation))
    }
}

/// Tells whether a relay may attest for another: it is the same, or succeeded it.
pub(super) fn counts_for(view: &View, named: RelayId, signer: RelayId) -> bool {
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

/// Checks that an epoch goes with an act that takes the keys from somebody, but for its author's own departure:
/// that one would know it.
fn check_rotation(takes_keys: bool, departs: bool, rotates: bool) -> Judgement<()> {
    match (takes_keys, departs, rotates) {
        (true, false, false) => refuse(RecordRefusal::RotationMissing),
        (true, true, true) => refuse(RecordRefusal::RotationByLeaver),
        _ => Ok(()),
    }
}

pub(super) fn refusal(error: impl Into<RecordRefusal>) -> Stop {
    Stop::Outcome(RecordOutcome::Refused(error.into()))
}

pub(super) fn refuse<T>(reason: RecordRefusal) -> Judgement<T> {
    Err(refusal(reason))
}
