//! Judging epochs: their succession, and that they are given to exactly those who must have them.
//!
//! Invariant: the recipients of a rotation are those of its parents' view after its own record's effect.

use std::sync::Arc;

use super::{Judgement, Stop, refuse};
use crate::keys::KeyError;
use crate::membership::facts::Facts;
use crate::membership::{Membership, Recipient, RecordOutcome, RecordRefusal, View};
use crate::record::{Record, Rewrap, Role};

impl Membership {
    /// Checks the epoch that a record begins, if it does.
    pub(super) fn check_epoch(&self, record: &Record, view: &View, facts: &Facts) -> Judgement<()> {
        let Some(rotation) = record.body().rotation() else {
            return Ok(());
        };
        let named = |epoch| rotation.previous.iter().any(|previous| previous.epoch == epoch);
        let to_follow = view.epochs_to_follow();
        let first = to_follow.is_empty() && !rotation.previous.is_empty();
        if first || !to_follow.into_iter().all(named) || view.knows_epoch(&rotation.epoch) {
            return refuse(RecordRefusal::EpochMismatch);
        }
        let mut after = view.clone();
        after.take_statement(record, facts, &|_| true);
        if after.are_recipients(&rotation.wraps) { Ok(()) } else { refuse(RecordRefusal::RecipientSetMismatch) }
    }

    /// Returns to whom the epoch that goes with a record must be wrapped: those who may read after it. The
    /// rotation in the record is not looked at, but must be there if one is needed.
    ///
    /// # Errors
    /// [`RecordRefusal`] if the record would not count for another reason.
    pub fn recipients_after(&self, record: &Record) -> Result<Vec<Recipient>, RecordRefusal> {
        let mut view = self.view_below(record).ok_or(RecordRefusal::RefusedParent)?;
        let facts = self.judge_statement(record, &view).map_err(|stop| match stop {
            Stop::Outcome(RecordOutcome::Refused(reason)) => reason,
            Stop::Outcome(_) => RecordRefusal::InviteNotValid,
            Stop::Forged => RecordRefusal::Key(KeyError::BadSignature),
        })?;
        Arc::make_mut(&mut view).take_statement(record, &facts, &|_| true);
        Ok(view.recipients())
    }

    pub(super) fn judge_rewrap(&self, record: &Record, view: &View, rewrap: &Rewrap) -> Judgement {
        let author = self.author(record, view, Role::Reader)?;
        if !view.knows_epoch(&rewrap.epoch) {
            return refuse(RecordRefusal::EpochMismatch);
        }
        let recipients = view.recipients();
        let is_recipient = |id: &[u8; 32]| recipients.binary_search_by(|(recipient, _)| recipient.cmp(id)).is_ok();
        if !rewrap.wraps.iter().all(|wrap| is_recipient(&wrap.recipient)) {
            return refuse(RecordRefusal::RewrapToNonMember);
        }
        let own = |id: &[u8; 32]| {
            let mut devices = view.devices().filter(|(_, standing)| standing.user == author.user);
            id == author.user.as_bytes() || devices.any(|(device, _)| device.as_bytes() == id)
        };
        if author.role < Role::Writer && !rewrap.wraps.iter().all(|wrap| own(&wrap.recipient)) {
            return refuse(RecordRefusal::RoleDenied);
        }
        let needs = if author.role < Role::Writer { Role::Reader } else { Role::Writer };
        Ok(author.facts(needs))
    }
}
