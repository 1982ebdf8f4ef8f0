//! Records and attestations on their way into a log: one by one from members, or as a seed.
//!
//! Invariant: only records that count, and attestations of a relay that counts the invite they are
//! about, enter the log; this relay attests a Join only while the invite is open by its own clock.

use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::ids::{DeviceId, RecordId, RelayId};
use tombolo_protocol::item::{ItemHash, LogItem};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::membership::{Membership, RecordOutcome, RecordRefusal};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Record, RecordBody, Role};

use super::judge::{Judge, Verdicts};
use crate::log::{Log, LogError, MembershipItem, WorkspaceRow};

/// Level of a session that proved a device key and nothing else.
const LEVEL_DEVICE_KEY: u8 = 1;

/// Why a seed is not taken; the device is told the same for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeedError {
    /// The session's device is no member, or may not begin a workspace.
    NotMember,
    /// The invite of the device's Join does not hold here.
    InviteNotValid,
}

impl std::fmt::Display for SeedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotMember => "the device that brings the workspace is no member of it; it must join first",
            Self::InviteNotValid => "the invite by which the device joined does not hold here; it needs a new one",
        })
    }
}

impl std::error::Error for SeedError {}

impl Judge {
    pub(super) fn load(log: &dyn Log, row: &WorkspaceRow) -> Result<Self, LogError> {
        let mut judge = Self::begin(row);
        for item in log.membership(row.row)? {
            judge.restore(item)?;
        }
        judge.view = judge.membership.view();
        Ok(judge)
    }

    fn restore(&mut self, item: MembershipItem) -> Result<(), LogError> {
        let corrupt = |_| LogError::Corrupt { what: "record" };
        match LogItem::decode(&item.bytes) {
            Ok(LogItem::Record(bytes)) => {
                let record = Record::decode(bytes).map_err(|_| LogError::Corrupt { what: "record" })?;
                self.membership.insert(record);
            }
            Ok(LogItem::Attestation(bytes)) => {
                self.membership.attest(Signed::decode(bytes).map_err(corrupt)?);
            }
            _ => return Err(LogError::Corrupt { what: "log item" }),
        }
        self.held.insert(item.hash, item.position);
        Ok(())
    }

    /// Judges one record or attestation that a member sends.
    pub fn take_statement(&mut self, session: &DeviceId, index: u32, item: &LogItem<'_>, verdicts: &mut Verdicts) {
        let outcome = match item {
            _ if self.view.role_of_device(session).is_none() => Err(RefusalReason::RoleDenied),
            LogItem::Record(bytes) => Record::decode(bytes)
                .map_err(|_| RefusalReason::Malformed)
                .and_then(|record| self.take_record(record, verdicts)),
            LogItem::Attestation(bytes) => Signed::decode(bytes)
                .map_err(|_| RefusalReason::Malformed)
                .and_then(|attestation| self.take_attestation(attestation, verdicts)),
            _ => Err(RefusalReason::Malformed),
        };
        match outcome {
            Ok(placed) => verdicts.placed.push(placed),
            Err(reason) => verdicts.refuse(index, reason),
        }
    }

    fn take_record(&mut self, record: Record, verdicts: &mut Verdicts) -> Result<(ItemHash, u64), RefusalReason> {
        let id = record.id();
        if let Some(position) = self.record_position(&id) {
            return Ok((ItemHash::Record(id), position));
        }
        if record.parents().iter().any(|parent| self.record_position(parent).is_none()) {
            return Err(RefusalReason::UnknownRecord);
        }
        let bytes = record.encode();
        // On a copy: a refused record must leave nothing behind. Records are rare.
        let mut with = self.membership.clone();
        match with.insert(record) {
            RecordOutcome::Admitted | RecordOutcome::AwaitsAttestation => {
                self.membership = with;
                Ok(self.write_record(id, &bytes, verdicts))
            }
            RecordOutcome::AwaitsParents | RecordOutcome::NotKept => Err(RefusalReason::UnknownRecord),
            RecordOutcome::Refused(RecordRefusal::InviteNotValid) => Err(RefusalReason::InviteNotValid),
            RecordOutcome::Refused(_) | _ => Err(RefusalReason::RecordRefused),
        }
    }

    fn write_record(&mut self, id: RecordId, bytes: &[u8], verdicts: &mut Verdicts) -> (ItemHash, u64) {
        let hash = ItemHash::Record(id);
        let position = self.push(hash, None, LogItem::encode_record(bytes), verdicts);
        self.held.insert(*id.as_bytes(), position);
        self.look_again(verdicts);
        (hash, position)
    }

    fn take_attestation(
        &mut self,
        attestation: Signed<Attestation>,
        verdicts: &mut Verdicts,
    ) -> Result<(ItemHash, u64), RefusalReason> {
        let hash = attestation.item_hash();
        let ItemHash::Attestation(digest) = hash else {
            return Err(RefusalReason::Malformed);
        };
        if let Some(position) = self.held.get(&digest) {
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
        let position = self.push(hash, None, bytes, verdicts);
        self.held.insert(digest, position);
        self.look_again(verdicts);
        Ok((hash, position))
    }

    /// Takes the members anew, and notes devices and users that were not there before.
    fn look_again(&mut self, verdicts: &mut Verdicts) {
        let view = self.membership.view();
        let new = view.devices().filter(|(id, standing)| standing.certified && self.view.role_of_device(id).is_none());
        verdicts.members.extend(new.map(|(id, _)| *id.as_bytes()));
        let users = view.members().filter(|(user, _)| self.view.role(user).is_none());
        verdicts.members.extend(users.map(|(user, _)| *user.as_bytes()));
        self.view = view;
    }

    /// Takes the union with a seed, if the session's device is a member by it.
    ///
    /// # Errors
    /// [`SeedError`] if not; nothing was changed then.
    pub fn take_seed(
        &mut self,
        seed: &Seeding<'_>,
        records: Vec<Record>,
        attestations: Vec<Signed<Attestation>>,
        verdicts: &mut Verdicts,
    ) -> Result<(), SeedError> {
        let mut union = self.membership.clone();
        let mut join = None;
        for record in records {
            if record.author() == seed.device && matches!(record.body(), RecordBody::Join(_)) {
                join = Some(record.id());
            }
            union.insert(record);
        }
        for attestation in attestations {
            // What does not count is not kept.
            union.attest(attestation);
        }
        if let Some(join) = join {
            seed.attest(&mut union, &join)?;
        }
        let role = union.view().role_of_device(&seed.device);
        let needed = if self.held.is_empty() { Role::Writer } else { Role::Carrier };
        if role.is_none_or(|role| role < needed) {
            return Err(SeedError::NotMember);
        }
        self.adopt(&union, verdicts);
        Ok(())
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

/// Who seeds, and with what this relay attests.
pub struct Seeding<'a> {
    /// The session's device.
    pub device: DeviceId,
    /// This relay.
    pub relay: RelayId,
    /// Its key.
    pub key: &'a SignKey,
    /// Its clock, milliseconds since 1970.
    pub now_ms: i64,
}

impl Seeding<'_> {
    /// Counts the session's own Join and attests it, if this relay counts its invite.
    fn attest(&self, union: &mut Membership, join: &RecordId) -> Result<(), SeedError> {
        if union.outcome(join) != Some(RecordOutcome::AwaitsAttestation) {
            return Ok(());
        }
        let Some(record) = union.record(join) else {
            return Ok(());
        };
        let RecordBody::Join(body) = record.body() else {
            return Ok(());
        };
        let view = union.view_of(record.parents());
        let invite = view.invite(&body.invite).ok_or(SeedError::InviteNotValid)?;
        let nth = union.uses_of(&body.invite).checked_add(1).ok_or(SeedError::InviteNotValid)?;
        let expired = invite.expires_ms != 0 && self.now_ms > invite.expires_ms;
        if expired || (invite.uses != 0 && nth > invite.uses) {
            return Err(SeedError::InviteNotValid);
        }
        let statement = Attestation {
            relay: self.relay,
            workspace: union.workspace(),
            subject: *join,
            nth,
            time_ms: self.now_ms,
            level: LEVEL_DEVICE_KEY,
        };
        // Kept only if this relay is among those that count.
        let kept = union.attest(Signed::sign(statement, self.key));
        kept.then_some(()).ok_or(SeedError::InviteNotValid)
    }
}
