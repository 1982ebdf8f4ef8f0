//! The audit trail of a workspace: who stated what about members, keys and devices, and what became of it.
//!
//! It is read from the membership log and the identity logs in it; nothing is kept for it. The order is
//! that of the log's generations, then of ids, each identity record before the first record that brings
//! it: devices with the same records, attestations and keys read the same trail. Times are what the
//! authors' clocks claimed; a relay's own time stands in its attestations.
//!
//! Invariant: an entry says nothing that the records do not; names are other people's text.

mod acts;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::hash::Digest;
use tombolo_protocol::identity::{Identity, IdentityLog, IdentityRecord, Signer};
use tombolo_protocol::ids::{DeviceId, RecordId, RelayId, UserId, WorkspaceId};
use tombolo_protocol::membership::{Finding, RecordOutcome, RecordRefusal, VoidReason};
use tombolo_protocol::record::{Record, RecordBody, Role};

pub use acts::AuditAct;

use super::Workspace;
use crate::engine::Engine;
use crate::error::Error;

/// One line of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its name.
    pub id: AuditId,
    /// What it states.
    pub act: AuditAct,
    /// Who states it.
    pub author: AuditAuthor,
    /// When, by the author's own clock, milliseconds since 1970; identity records tell no time.
    pub claimed_ms: Option<i64>,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// The records from which its author had the right: the act that gave the role, or a Join's invite.
    pub rests_on: Vec<RecordId>,
    /// What relays say of it.
    pub attestations: Vec<AuditAttestation>,
    /// For an identity record: the first record of the workspace that brings it.
    pub carried_by: Option<RecordId>,
}

/// The name of what an entry of the trail stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AuditId {
    /// A record of the membership log.
    Record(RecordId),
    /// A record of a user's identity log.
    Identity(Digest),
}

/// Who states something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditAuthor {
    /// Whose device it is, as far as that is known.
    pub user: Option<UserId>,
    /// The role that the user had then, as far as the record was judged.
    pub role: Option<Role>,
    /// The device that signed; `None` for the user's root.
    pub device: Option<DeviceId>,
    /// What the user calls that device.
    pub device_name: Option<String>,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditOutcome {
    /// It counts.
    Counts,
    /// It is valid and does not count: a removal beside it struck who made it, or the invite it accepts.
    Struck {
        /// The removal.
        by: RecordId,
    },
    /// It is valid and does not count, since what gave its author the right does not.
    Baseless {
        /// That act.
        on: RecordId,
    },
    /// It is valid and does not apply, since together with what is beside it nobody would be owner.
    WouldLeaveNoOwner,
    /// An identity record that a revocation beside it made void.
    Revoked,
    /// It waits for records that it stands on.
    AwaitsParents,
    /// It waits for a relay's attestation: of a Join, or of the second factor that the policy asks for.
    AwaitsAttestation,
    /// It does not count.
    Refused(RecordRefusal),
}

/// What one relay says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditAttestation {
    /// Which relay.
    pub relay: RelayId,
    /// When it took the record, by its clock, milliseconds since 1970.
    pub time_ms: i64,
    /// How well it knew the author: 1 by the device's key, 3 and 4 by a second factor.
    pub level: u8,
    /// For a Join: which use of its invite it counted.
    pub nth: Option<u32>,
}

impl Engine {
    /// Returns the audit trail of a workspace.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`] if this replica does not have it.
    pub fn audit(&self, id: &WorkspaceId) -> Result<Vec<AuditEntry>, Error> {
        let held = self.workspace_row(id).and_then(|row| self.workspaces.get(&row));
        Ok(held.ok_or(Error::NoWorkspace(*id))?.audit())
    }
}

impl Workspace {
    fn audit(&self) -> Vec<AuditEntry> {
        let names = self.device_names();
        let mut told = BTreeSet::new();
        let mut entries = Vec::new();
        for (record, finding) in self.membership.trail() {
            let brought = match record.body() {
                RecordBody::Devices(devices) => Some(devices.identity.as_ref()),
                RecordBody::Join(join) => Some(join.identity.as_ref()),
                _ => None,
            };
            // What a refused record brings may be anything.
            if let Some(log) = brought.filter(|_| finding.outcome == RecordOutcome::Admitted) {
                entries.extend(self.audit_devices(record.id(), log, &mut told, &names));
            }
            entries.push(self.audit_record(record, &finding, &names));
        }
        entries
    }

    fn audit_record(&self, record: &Record, finding: &Finding, names: &BTreeMap<DeviceId, String>) -> AuditEntry {
        let device = record.author();
        let is_join = matches!(record.body(), RecordBody::Join(_));
        let id = record.id();
        let attested = self.membership.attestations_on(&id).map(|said| AuditAttestation {
            relay: said.relay,
            time_ms: said.time_ms,
            level: said.level,
            nth: is_join.then_some(said.nth),
        });
        AuditEntry {
            id: AuditId::Record(id),
            act: AuditAct::of(record, finding, &self.view),
            author: AuditAuthor {
                user: finding.user,
                role: finding.role,
                device: Some(device),
                device_name: names.get(&device).cloned(),
            },
            claimed_ms: Some(record.time_ms()),
            outcome: outcome_of(finding),
            rests_on: finding.rests_on.clone(),
            attestations: attested.collect(),
            carried_by: None,
        }
    }

    /// Describes the records of an identity log that no earlier record brought.
    fn audit_devices(
        &self,
        carrier: RecordId,
        log: &IdentityLog,
        told: &mut BTreeSet<Digest>,
        names: &BTreeMap<DeviceId, String>,
    ) -> Vec<AuditEntry> {
        // The order within a log is its author's; merged with itself it is everybody's.
        let log = log.merged(log);
        let known = self.view.identity(&log.user()).unwrap_or(&log);
        let void = Identity::void_in(known).unwrap_or_default();
        let new: Vec<&IdentityRecord> = log.records.iter().filter(|record| told.insert(record.id())).collect();
        let describe = |record: &IdentityRecord| {
            let device = match record.signer() {
                Signer::Root => None,
                Signer::Device(device) => Some(device),
            };
            let device_name = device.and_then(|device| names.get(&device).cloned());
            let is_void = void.contains(&record.id());
            AuditEntry {
                id: AuditId::Identity(record.id()),
                act: AuditAct::of_device(record, names),
                author: AuditAuthor { user: Some(log.user()), role: None, device, device_name },
                claimed_ms: None,
                outcome: if is_void { AuditOutcome::Revoked } else { AuditOutcome::Counts },
                rests_on: Vec::new(),
                attestations: Vec::new(),
                carried_by: Some(carrier),
            }
        };
        new.into_iter().map(describe).collect()
    }
}

fn outcome_of(finding: &Finding) -> AuditOutcome {
    match (finding.outcome, finding.void) {
        (RecordOutcome::Admitted, None) => AuditOutcome::Counts,
        (RecordOutcome::Admitted, Some(VoidReason::StruckBy(by))) => AuditOutcome::Struck { by },
        (RecordOutcome::Admitted, Some(VoidReason::RestsOn(on))) => AuditOutcome::Baseless { on },
        (RecordOutcome::Admitted, Some(_)) => AuditOutcome::WouldLeaveNoOwner,
        (RecordOutcome::Refused(reason), _) => AuditOutcome::Refused(reason),
        (RecordOutcome::AwaitsAttestation, _) => AuditOutcome::AwaitsAttestation,
        _ => AuditOutcome::AwaitsParents,
    }
}
