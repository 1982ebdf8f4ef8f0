//! Records and attestations on their way into a log: one by one from members, or as a seed.
//!
//! Invariant: only records that count, and attestations of a relay that counts the invite they are
//! about, enter the log; this relay attests a Join only while the invite is open by its own clock.

use tombolo_protocol::frame::{LevelGap, RefusalReason};
use tombolo_protocol::ids::RecordId;
use tombolo_protocol::item::{ItemHash, LogItem};
use tombolo_protocol::membership::{Membership, RecordOutcome, RecordRefusal};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Record, RecordBody, Role};
use tombolo_protocol::snapshot::Attest;

use super::judge::Judge;
use super::right::{Caller, NoRight, ended_between, level_in, right_in};
use super::verdicts::{Ended, Stop, Verdicts};
use crate::log::{Log, LogError, MembershipItem, WorkspaceRow};

/// Why a seed is not taken; the device is told the same for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeedError {
    /// The session's device is no member, or may not begin a workspace.
    NoRight(NoRight),
    /// The invite of the device's Join does not hold here.
    InviteNotValid,
    /// A record of its own needs a second factor.
    Level(LevelGap),
}

impl std::fmt::Display for SeedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoRight(_) => "the device that brings the workspace is no member of it; it must join first",
            Self::InviteNotValid => "the invite by which the device joined does not hold here; it needs a new one",
            Self::Level(_) => "a record that the device made needs a second factor; its user must show one",
        })
    }
}

impl std::error::Error for SeedError {}

impl Judge {
    pub(super) fn load(log: &dyn Log, row: &WorkspaceRow, proven: bool) -> Result<Self, LogError> {
        let mut judge = Self::begin(row);
        for item in log.membership(row.row)? {
            judge.restore(item, proven)?;
        }
        judge.view = judge.membership.view();
        Ok(judge)
    }

    fn restore(&mut self, item: MembershipItem, proven: bool) -> Result<(), LogError> {
        let corrupt = |_| LogError::Corrupt { what: "record" };
        match LogItem::decode(&item.bytes) {
            Ok(LogItem::Record(bytes)) => {
                let record = Record::decode(bytes).map_err(|_| LogError::Corrupt { what: "record" })?;
                if *record.id().as_bytes() != item.hash {
                    return Err(LogError::Corrupt { what: "record" });
                }
                let insert = if proven { Membership::insert_proven } else { Membership::insert };
                let outcome = insert(&mut self.membership, record);
                // What a record stands on, and what it waits for, comes before it or right behind it.
                self.doubtful |= !matches!(outcome, RecordOutcome::Admitted | RecordOutcome::AwaitsAttestation);
            }
            Ok(LogItem::Attestation(bytes)) => {
                self.membership.attest(Signed::decode(bytes).map_err(corrupt)?);
            }
            Ok(LogItem::Attest(bytes)) => {
                let attest = Attest::decode(bytes).map_err(|_| LogError::Corrupt { what: "attest" })?;
                *self.words.entry(attest.device).or_default() += 1;
            }
            _ => return Err(LogError::Corrupt { what: "log item" }),
        }
        self.held.insert(item.hash, item.position);
        Ok(())
    }

    /// Judges one record or attestation that a member sends.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read.
    pub fn take_statement(
        &mut self,
        caller: &Caller<'_>,
        index: u32,
        item: &LogItem<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), LogError> {
        match self.judge_statement(caller, item, verdicts) {
            Ok(placed) => verdicts.placed.push(placed),
            Err(stop) => verdicts.stop(index, stop)?,
        }
        Ok(())
    }

    fn judge_statement(
        &mut self,
        caller: &Caller<'_>,
        item: &LogItem<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(ItemHash, u64), Stop> {
        self.right(&caller.device, caller.now_ms).map_err(RefusalReason::from)?;
        match item {
            LogItem::Record(bytes) => {
                let record = Record::decode(bytes).map_err(|_| RefusalReason::Malformed)?;
                self.take_record(caller, record, verdicts)
            }
            LogItem::Attestation(bytes) => {
                let attestation = Signed::decode(bytes).map_err(|_| RefusalReason::Malformed)?;
                Ok(self.take_attestation(attestation, verdicts)?)
            }
            LogItem::Attest(bytes) => {
                let attest = Attest::decode(bytes).map_err(|_| RefusalReason::Malformed)?;
                Ok(self.take_attest(&attest, verdicts)?)
            }
            _ => Err(RefusalReason::Malformed.into()),
        }
    }

    fn take_record(
        &mut self,
        caller: &Caller<'_>,
        record: Record,
        verdicts: &mut Verdicts,
    ) -> Result<(ItemHash, u64), Stop> {
        let id = record.id();
        let held = self.record_position(&id);
        if held.is_some() && self.membership.outcome(&id) != Some(RecordOutcome::AwaitsAttestation) {
            return Ok((ItemHash::Record(id), held.unwrap_or_default()));
        }
        if record.parents().iter().any(|parent| self.record_position(parent).is_none()) {
            return Err(RefusalReason::UnknownRecord.into());
        }
        self.may_publish(caller, &record)?;
        let bytes = record.encode();
        // On a copy: a refused record must leave nothing behind. Records are rare.
        let mut with = self.membership.clone();
        match with.insert(record) {
            RecordOutcome::Admitted | RecordOutcome::AwaitsAttestation => {}
            RecordOutcome::AwaitsParents | RecordOutcome::NotKept => return Err(RefusalReason::UnknownRecord.into()),
            RecordOutcome::Refused(refusal) => return Err(reason_of(refusal).into()),
            _ => return Err(RefusalReason::RecordRefused.into()),
        }
        let waits = with.outcome(&id) == Some(RecordOutcome::AwaitsAttestation);
        let before = waits.then(|| with.clone());
        let attestation = if waits { attest_level(&mut with, caller, &id) } else { None };
        let placed = match held {
            Some(position) => (ItemHash::Record(id), position),
            None => {
                self.membership = before.unwrap_or(with);
                self.write_record(id, &bytes, verdicts)
            }
        };
        if let Some(attestation) = attestation {
            self.take_attestation(attestation, verdicts)?;
        }
        Ok(placed)
    }

    fn write_record(&mut self, id: RecordId, bytes: &[u8], verdicts: &mut Verdicts) -> (ItemHash, u64) {
        let written = self.write_statement(ItemHash::Record(id), LogItem::encode_record(bytes), verdicts);
        self.look_again(verdicts);
        written
    }

    /// Places an item that is no entry at the end of the log.
    pub(super) fn write_statement(
        &mut self,
        hash: ItemHash,
        item: Vec<u8>,
        verdicts: &mut Verdicts,
    ) -> (ItemHash, u64) {
        let position = self.push(hash, None, item, verdicts);
        self.held.insert(*hash.digest(), position);
        (hash, position)
    }

    fn take_attestation(
        &mut self,
        attestation: Signed<Attestation>,
        verdicts: &mut Verdicts,
    ) -> Result<(ItemHash, u64), RefusalReason> {
        let hash = attestation.item_hash();
        if let Some(position) = self.held.get(hash.digest()) {
            return Ok((hash, *position));
        }
        let statement = attestation.verify().map_err(|_| RefusalReason::BadSignature)?;
        if self.record_position(&statement.subject).is_none() {
            return Err(RefusalReason::UnknownRecord);
        }
        let bytes = LogItem::encode_attestation(&attestation.encode());
        // Not of a relay that counts, or not its earliest word.
        if !self.membership.attest(attestation) {
            return Err(RefusalReason::RecordRefused);
        }
        let written = self.write_statement(hash, bytes, verdicts);
        self.look_again(verdicts);
        Ok(written)
    }

    /// Takes the members anew, and notes devices and users that were not there before.
    fn look_again(&mut self, verdicts: &mut Verdicts) {
        let (before, view) = (&self.view, self.membership.view());
        let position = self.last_position();
        let ended = before
            .devices()
            .filter_map(|(device, _)| ended_between(before, &view, &device).map(|why| Ended { device, position, why }));
        verdicts.ended.extend(ended);
        let came = |id: &_| before.role_of_device(id).is_none() && view.role_of_device(id).is_some();
        for (device, _) in view.devices().filter(|(id, standing)| standing.is_active() && came(id)) {
            verdicts.ended.retain(|ended| ended.device != device);
            verdicts.members.retain(|id| id != device.as_bytes());
            verdicts.members.push(*device.as_bytes());
        }
        let users = view.members().filter(|(user, _)| before.role(user).is_none());
        verdicts.members.extend(users.map(|(user, _)| *user.as_bytes()));
        verdicts.members_changed = true;
        self.members_nth += 1;
        self.view = view;
    }

    /// Takes the union with a seed, if the session's device is a member by it.
    ///
    /// # Errors
    /// [`SeedError`] if not; nothing was changed then.
    pub fn take_seed(
        &mut self,
        caller: &Caller<'_>,
        records: Vec<Record>,
        attestations: Vec<Signed<Attestation>>,
        verdicts: &mut Verdicts,
    ) -> Result<(), SeedError> {
        let mut union = self.membership.clone();
        let mut join = None;
        for record in records {
            if record.author() == caller.device && matches!(record.body(), RecordBody::Join(_)) {
                join = Some(record.id());
            }
            union.insert(record);
        }
        for attestation in attestations {
            // What does not count is not kept.
            union.attest(attestation);
        }
        if let Some(join) = join {
            attest_join(&mut union, caller, &join)?;
        }
        let role = right_in(&union.view(), &caller.device, caller.now_ms).map_err(SeedError::NoRight)?;
        let needed = if self.held.is_empty() { Role::Writer } else { Role::Carrier };
        if role < needed {
            return Err(SeedError::NoRight(NoRight::Stranger));
        }
        self.may_seed(caller, &union).map_err(SeedError::Level)?;
        self.adopt(&union, verdicts);
        Ok(())
    }

    /// Checks that what the session's device itself adds to a workspace that is here has the level that
    /// this relay asks; what a policy asks is part of the evaluation.
    fn may_seed(&self, caller: &Caller<'_>, union: &Membership) -> Result<(), LevelGap> {
        let Some(user) = self.view.device(&caller.device).map(|standing| standing.user) else {
            return Ok(());
        };
        let own = union.in_order().into_iter().filter(|record| record.author() == caller.device);
        let new = own.filter(|record| self.record_position(&record.id()).is_none());
        let needed = new.map(|record| caller.minimum.needed(record.body(), &user)).max();
        self.reaches(caller, needed.unwrap_or(0))
    }

    /// Writes what the union has and the log has not, each Join's attestation behind it.
    fn adopt(&mut self, union: &Membership, verdicts: &mut Verdicts) {
        let mut attested = std::collections::BTreeMap::<RecordId, Vec<_>>::new();
        for attestation in union.attestations() {
            if let Ok(statement) = attestation.verify() {
                attested.entry(statement.subject).or_default().push(attestation);
            }
        }
        for record in union.in_order() {
            let id = record.id();
            if union.outcome(&id) != Some(RecordOutcome::Admitted) {
                continue;
            }
            if self.record_position(&id).is_none() {
                self.membership.insert(record.clone());
                self.write_record(id, &record.encode(), verdicts);
            }
            for attestation in attested.remove(&id).into_iter().flatten() {
                if let Err(reason) = self.take_attestation(attestation.clone(), verdicts) {
                    tracing::warn!(?reason, "an attestation of an admitted Join was not taken");
                }
            }
        }
    }
}

/// Counts the session's own Join and attests it, if this relay counts its invite.
fn attest_join(union: &mut Membership, caller: &Caller<'_>, join: &RecordId) -> Result<(), SeedError> {
    if union.outcome(join) != Some(RecordOutcome::AwaitsAttestation) {
        return Ok(());
    }
    let Some(record) = union.record(join) else {
        return Ok(());
    };
    let RecordBody::Join(body) = record.body() else {
        return Ok(());
    };
    let (invite, view) = (body.invite, union.view_of(record.parents()));
    // As of the Join's parents, and as of now: a removal that the joiner did not see may have ended it.
    let standing = view.invite(&invite).ok_or(SeedError::InviteNotValid)?;
    let ended = union.view().invite(&invite).is_none_or(|invite| invite.ended);
    let nth = union.uses_of(&invite).checked_add(1).ok_or(SeedError::InviteNotValid)?;
    let expired = standing.expires_ms != 0 && caller.now_ms > standing.expires_ms;
    if ended || expired || (standing.uses != 0 && nth > standing.uses) {
        return Err(SeedError::InviteNotValid);
    }
    // Kept only if this relay is among those that count.
    let kept = union.attest(attestation(union, caller, *join, nth));
    kept.then_some(()).ok_or(SeedError::InviteNotValid)
}

/// Attests the level of the session that made a record, if the record counts by that.
fn attest_level(with: &mut Membership, caller: &Caller<'_>, id: &RecordId) -> Option<Signed<Attestation>> {
    let record = with.record(id)?;
    if record.author() != caller.device || matches!(record.body(), RecordBody::Join(_)) {
        return None;
    }
    let attestation = attestation(with, caller, *id, 0);
    with.attest(attestation.clone());
    (with.outcome(id) == Some(RecordOutcome::Admitted)).then_some(attestation)
}

fn attestation(membership: &Membership, caller: &Caller<'_>, subject: RecordId, nth: u32) -> Signed<Attestation> {
    let statement = Attestation {
        relay: caller.relay,
        workspace: membership.workspace(),
        subject,
        nth,
        time_ms: caller.now_ms,
        level: level_in(&membership.view(), caller),
    };
    Signed::sign(statement, caller.key)
}

/// Says in the words of the wire why a record does not count.
fn reason_of(refusal: RecordRefusal) -> RefusalReason {
    match refusal {
        RecordRefusal::InviteNotValid => RefusalReason::InviteNotValid,
        RecordRefusal::UnknownAuthor => RefusalReason::UnknownAuthor,
        RecordRefusal::Key(_) => RefusalReason::BadSignature,
        RecordRefusal::RoleDenied => RefusalReason::RoleDenied,
        RecordRefusal::EpochMismatch => RefusalReason::EpochMismatch,
        RecordRefusal::RecipientSetMismatch => RefusalReason::RecipientSetMismatch,
        RecordRefusal::LastOwner => RefusalReason::LastOwner,
        RecordRefusal::RotationMissing => RefusalReason::RotationMissing,
        RecordRefusal::RewrapToNonMember => RefusalReason::RewrapToNonMember,
        RecordRefusal::ExpiryNotProven => RefusalReason::ExpiryNotProven,
        _ => RefusalReason::RecordRefused,
    }
}
