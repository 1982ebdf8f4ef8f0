//! Judging grants, changes, removals and departures, the sweep of expired roles, and the handing over of
//! ownership.
//!
//! Invariant: no record that counts by itself leaves a workspace without an owner.

use super::{Author, Judgement, check_rotation, counts_for, refusal, refuse};
use crate::ids::{RecordId, UserId};
use crate::membership::facts::{Facts, Grant, Target};
use crate::membership::{Membership, RecordRefusal, View};
use crate::record::{Record, RecordBody, Role, Standing};

impl Membership {
    pub(super) fn judge_standing(&self, record: &Record, view: &View, standing: &Standing) -> Judgement {
        let author = self.author(record, view, Role::Carrier)?;
        let before = view.role(&standing.subject);
        let lowers = before.is_some() && standing.role < before;
        let needs = self.needed_for_standing(view, standing, &author, before)?;
        if author.role < needs {
            return refuse(RecordRefusal::RoleDenied);
        }
        let last_owner =
            before == Some(Role::Owner) && view.members().filter(|(_, role)| *role == Role::Owner).count() == 1;
        if last_owner && lowers {
            return refuse(RecordRefusal::LastOwner);
        }
        let mut facts = author.facts(needs);
        facts.departs = view.departs(&author.user, standing);
        check_rotation(view.takes_keys(standing), facts.departs, standing.rotation.is_some())?;
        if author.role < Role::Owner && author.user != standing.subject {
            facts.rests_on.extend(self.loss_of_ownership(view, &standing.subject));
        }
        let target = (Target::User(standing.subject), standing.role);
        if lowers {
            facts.removes.push(target);
            facts.removes_owner = before == Some(Role::Owner);
        }
        if before.is_none() && standing.role.is_none() {
            facts.adds_pins_to.push(target);
            return Ok(facts);
        }
        let ended = view.invites_ended(&standing.subject, standing.role);
        facts.removes.extend(ended.map(|(invite, _)| (Target::Invite(invite), None)));
        let expiry = standing.expiry.filter(|_| standing.role.is_some());
        facts.grants = vec![Grant { user: standing.subject, role: standing.role, expiry }];
        Ok(facts)
    }

    /// Returns the act that took ownership from a user, if it decides their standing: only as long as it
    /// counts have others than owners a right over them.
    fn loss_of_ownership(&self, view: &View, user: &UserId) -> Option<RecordId> {
        let decides = view.decided_by(user)?;
        let (record, facts) = (self.record(&decides)?, self.facts_of(&decides)?);
        let handed_over = matches!(record.body(), RecordBody::OwnerTransfer(_)) && facts.user == *user;
        (facts.removes_owner || handed_over).then_some(decides)
    }

    /// Returns the least role that an author needs for this change.
    fn needed_for_standing(
        &self,
        view: &View,
        standing: &Standing,
        author: &Author,
        before: Option<Role>,
    ) -> Judgement<Role> {
        if let Some(proof) = &standing.proof {
            let expiry = view.expiry(&standing.subject).filter(|_| standing.role.is_none());
            let expiry = expiry.ok_or(refusal(RecordRefusal::ExpiryNotProven))?;
            let receipt = proof.verify().map_err(refusal)?;
            let proves = receipt.workspace == self.workspace()
                && receipt.time_ms > expiry.expires_ms
                && counts_for(view, expiry.relay, receipt.relay);
            return if proves { Ok(Role::Writer) } else { refuse(RecordRefusal::ExpiryNotProven) };
        }
        if standing.subject == author.user && standing.role < before {
            return Ok(Role::Carrier);
        }
        Ok(match standing.role {
            None if before <= Some(Role::Admin) => Role::Admin,
            Some(role) if role <= Role::Writer && before <= Some(Role::Writer) => Role::Admin,
            _ => Role::Owner,
        })
    }

    pub(super) fn judge_transfer(&self, record: &Record, view: &View, to: &UserId) -> Judgement {
        let author = self.author(record, view, Role::Owner)?;
        if *to == author.user || view.role(to).is_none() {
            return refuse(RecordRefusal::RoleDenied);
        }
        let mut facts: Facts = author.facts(Role::Owner);
        let grant = |user, role| Grant { user, role: Some(role), expiry: None };
        facts.grants = vec![grant(*to, Role::Owner), grant(author.user, Role::Admin)];
        Ok(facts)
    }
}
