//! One workspace as the engine holds it: its membership log, its keys, and what is to be said to it.
//!
//! Invariant: an epoch's secret is kept only if its id was recomputed from it; the blinding key only
//! if it hashes to what the genesis committed to.

mod act;
mod attests;
mod audit;
mod forget;
mod found;
mod intents;
mod invite;
mod keys;
mod policy;
mod wanted;

pub use act::{ActOutcome, MembershipAct};
pub use audit::{AuditAct, AuditAttestation, AuditAuthor, AuditEntry, AuditId, AuditOutcome};
pub use forget::{Unsent, UnsentWork};
pub use found::{Member, WorkspaceSummary};
pub use invite::{InviteTerms, OpenInvite};
pub(crate) use keys::{EPOCHS, RecoveryBox};
pub use policy::{PolicyRefusal, PolicyTerms};
pub(crate) use wanted::{Fellow, Fellows, Wanted};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tombolo_crypto::{BlindingKey, DeviceSecrets, Entropy, EpochKeys, EpochSecret, InviteLink};
use tombolo_protocol::ids::{EpochId, RecordId, Stream, WorkspaceId, WorkspaceTag};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::membership::{Membership, RecordOutcome, RecordRefusal, View};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Policy, Record, RecordBody, Role};

use self::attests::Attests;
use crate::engine::Struck;
use crate::store::{Branch, StoreError, Tx, WorkspaceRow, WorkspaceState};
use crate::sync::reason::SetAsideReason;

/// An epoch whose secret this device holds.
pub(crate) struct HeldEpoch {
    pub(crate) secret: EpochSecret,
    pub(crate) keys: EpochKeys,
}

/// One workspace.
pub(crate) struct Workspace {
    pub(crate) row: i64,
    pub(crate) id: WorkspaceId,
    pub(crate) tag: WorkspaceTag,
    pub(crate) state: WorkspaceState,
    pub(crate) name: Option<String>,
    pub(crate) join: Option<InviteLink>,
    /// Drawn when it was joined: what this device wrote in an earlier stay, which it forgot, is no part of this
    /// life of its chains.
    pub(crate) life: u64,
    pub(crate) membership: Membership,
    /// What holds at all heads together; looked at for every edit and entry, so it is kept.
    pub(crate) view: Arc<View>,
    /// The role that the app was last told.
    pub(crate) known_role: Option<Role>,
    /// The policy that the app was last told.
    pub(crate) known_policy: Option<Policy>,
    /// Whether some member's role will end.
    pub(crate) has_expiries: bool,
    /// The view by which the documents' entries were counted last.
    pub(crate) counted: Arc<View>,
    /// What does not count of documents' entries.
    pub(crate) struck: BTreeMap<i64, Struck>,
    /// Documents of which something counts because a snapshot with enough words covers it.
    pub(crate) by_cover: BTreeSet<i64>,
    /// The second branches of chains, by the rows of both branches.
    pub(crate) branches: BTreeMap<i64, Branch>,
    /// Chains that begin above 1, and the seq behind which each does: a snapshot stands for what is below.
    pub(crate) lifted: BTreeMap<i64, u64>,
    /// What members have said of snapshots.
    pub(crate) attests: Attests,
    pub(crate) blinding: Option<BlindingKey>,
    /// The documents that relays are asked for, if not for all.
    pub(crate) wanted: Option<Wanted>,
    /// The documents that other devices ask for.
    pub(crate) fellows: Fellows,
    pub(crate) epochs: BTreeMap<EpochId, HeldEpoch>,
    /// What opens epochs wrapped to a recovery key, while a kit is in use.
    pub(crate) recovery: Option<RecoveryBox>,
    /// Documents with changes that no entry carries yet.
    pub(crate) unsealed: BTreeSet<(i64, Stream)>,
    /// Those of them with changes that an older life of this device may have made.
    pub(crate) former: BTreeSet<(i64, Stream)>,
    /// Records that wait for their parents, and what each costs; oldest first.
    waiting: VecDeque<(RecordId, usize)>,
    /// How many waiting records were forgotten and not counted yet.
    pub(crate) forgotten: u64,
    /// Chain and seq of the entries that the disk has changed.
    pub(crate) damaged: BTreeSet<(i64, u64)>,
    /// How many unsealed changes of a document the disk has changed, as far as that was seen.
    pub(crate) damaged_changes: BTreeMap<i64, usize>,
    /// Whether the disk has changed a record: until a relay was compared with, nothing is sealed, for a
    /// member may have been removed.
    pub(crate) incomplete: bool,
}

/// What the records that wait for their parents may cost. A log brings parents first, so nothing waits but
/// what a lying relay or a neighbour out of order brings; two records of the greatest size fit.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// What one kept record costs besides its bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 512;

impl Workspace {
    pub(crate) fn new(id: WorkspaceId, state: WorkspaceState) -> Self {
        Self {
            row: 0,
            id,
            tag: id.tag(),
            state,
            name: None,
            join: None,
            life: 0,
            membership: Membership::new(id),
            view: Arc::default(),
            known_role: None,
            known_policy: None,
            has_expiries: false,
            counted: Arc::default(),
            struck: BTreeMap::new(),
            by_cover: BTreeSet::new(),
            branches: BTreeMap::new(),
            lifted: BTreeMap::new(),
            attests: Attests::default(),
            blinding: None,
            wanted: None,
            fellows: Fellows::new(),
            epochs: BTreeMap::new(),
            recovery: None,
            unsealed: BTreeSet::new(),
            former: BTreeSet::new(),
            waiting: VecDeque::new(),
            forgotten: 0,
            damaged: BTreeSet::new(),
            damaged_changes: BTreeMap::new(),
            incomplete: false,
        }
    }

    /// Loads a workspace; what the disk has changed of it is learnt again from its records, and from a relay.
    pub(crate) fn load(
        tx: &Tx<'_>,
        row: i64,
        stored: WorkspaceRow,
        device: &DeviceSecrets,
        recovery: Option<RecoveryBox>,
    ) -> Result<Self, StoreError> {
        let (epochs, records, attestations) = (tx.epochs(row)?, tx.records(row)?, tx.attestations(row)?);
        // The genesis names its workspace, should the disk have changed the id.
        let genesis = records.rows.iter().find(|record| matches!(record.body(), RecordBody::Genesis(_)));
        let id = genesis.map_or(stored.id, Record::workspace);
        let mut workspace = Self::new(id, stored.state);
        workspace.recovery = recovery;
        workspace.row = row;
        workspace.name = stored.name;
        workspace.join = stored.join.and_then(|link| link.parse::<InviteLink>().ok());
        workspace.blinding = stored.blinding;
        workspace.life = stored.life;
        workspace.incomplete = records.damaged + attestations.damaged > 0;
        for (epoch, secret) in epochs.rows {
            let keys = EpochKeys::derive(&workspace.id, &secret);
            workspace.epochs.insert(epoch, HeldEpoch { secret, keys });
        }
        workspace.waiting = records.rows.iter().map(|record| (record.id(), cost(record))).collect();
        for record in records.rows {
            workspace.membership.insert_proven(record);
        }
        for attestation in attestations.rows {
            workspace.membership.attest(attestation);
        }
        workspace.forget_what_waits(tx)?;
        workspace.load_view(tx)?;
        workspace.recollect(stored.damaged || epochs.damaged > 0, device);
        workspace.known_role = workspace.role(device);
        workspace.known_policy = workspace.view.policy().cloned();
        workspace.note_expiries();
        workspace.load_pending(tx)?;
        workspace.damaged = tx.quarantined_places(row, SetAsideReason::Damaged.code())?.into_iter().collect();
        Ok(workspace)
    }

    /// Notes the documents with changes that no entry carries yet; which life those are of is seen when they are sealed.
    fn load_pending(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.unsealed = tx.pending_documents(self.row)?.into_iter().collect();
        self.former.clone_from(&self.unsealed);
        Ok(())
    }

    /// Takes the view that the records make, what is known to be kept out by it, what members said of snapshots, and what is
    /// asked for.
    fn load_view(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.wanted = tx.wanted(self.row)?.map(Wanted::new);
        self.load_attests(tx)?;
        self.doubt_what_waits();
        self.view = self.membership.view();
        self.counted = self.view.clone();
        for (document, hash, chain, reason) in tx.struck(self.row)? {
            let reason = SetAsideReason::from_code(reason);
            self.struck.entry(document).or_default().insert(hash, chain, reason);
        }
        tx.branches(self.row)?.into_iter().for_each(|branch| self.note_branch(branch));
        self.lifted = tx.lifted(self.row)?;
        Ok(())
    }

    /// Notes a second branch of a chain.
    pub(crate) fn note_branch(&mut self, branch: Branch) {
        self.branches.insert(branch.row, branch);
        self.branches.insert(branch.of, branch);
    }

    /// Returns the seq behind which a chain's own entries begin.
    pub(crate) fn floor_of(&self, chain: i64) -> u64 {
        let branch = self.branches.get(&chain).filter(|branch| branch.row == chain);
        branch.map_or_else(|| self.lifted.get(&chain).copied().unwrap_or(0), |branch| branch.floor_seq)
    }

    /// Learns from the records what the disk has changed of the keys, the name and the state.
    fn recollect(&mut self, damaged: bool, device: &DeviceSecrets) {
        if damaged || self.view.newest_epochs().any(|epoch| !self.epochs.contains_key(&epoch)) {
            self.discover(device);
            self.name = self.name.take().or_else(|| self.read_name());
        }
        if self.role(device).is_some() {
            self.state = WorkspaceState::Member;
        } else if self.state == WorkspaceState::Member && self.join.is_some() && self.membership.heads().is_empty() {
            self.state = WorkspaceState::Joining;
        }
    }

    /// Tells whether the disk has changed an entry of a chain behind this seq.
    pub(crate) fn is_damaged_behind(&self, chain: i64, seq: u64) -> bool {
        self.damaged.range((chain, seq.saturating_add(1))..=(chain, u64::MAX)).next().is_some()
    }

    /// Tells whether records wait for others that are not here.
    pub(crate) fn awaits_records(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tells whether the disk has changed an entry of a chain up to this seq.
    pub(crate) fn is_damaged_up_to(&self, chain: i64, seq: u64) -> bool {
        self.damaged.range((chain, 0)..=(chain, seq)).next().is_some()
    }

    /// Returns the row to be stored.
    pub(crate) fn to_row(&self) -> WorkspaceRow {
        WorkspaceRow {
            id: self.id,
            state: self.state,
            name: self.name.clone(),
            join: self.join.as_ref().map(ToString::to_string),
            blinding: self.blinding.as_ref().map(|key| BlindingKey::from_bytes(*key.as_bytes())),
            life: self.life,
            damaged: false,
        }
    }

    pub(crate) fn save(&self, tx: &Tx<'_>, entropy: &mut dyn Entropy) -> Result<(), StoreError> {
        tx.update_workspace(self.row, &self.to_row(), entropy)
    }

    /// Returns the role of a device's user, as things stand.
    pub(crate) fn role(&self, device: &DeviceSecrets) -> Option<Role> {
        self.view.role_of_device(&device.id())
    }

    /// Tells whether this device's unsealed work is kept aside: its user has a role, and may not write any more.
    pub(crate) fn keeps_own_aside(&self) -> bool {
        self.known_role.is_some_and(|role| !role.may_write(Stream::CONTENT))
    }

    /// Notes whether some member's role will end.
    pub(crate) fn note_expiries(&mut self) {
        let view = &self.view;
        self.has_expiries = view.members().any(|(user, _)| view.expiry(&user).is_some());
    }

    /// Takes in a record, keeps it, and learns what secrets it wraps to this device.
    ///
    /// Returns whether anything new was learnt from it: a record admitted, or a key.
    pub(crate) fn take_record(
        &mut self,
        record: &Record,
        device: &DeviceSecrets,
        tx: &Tx<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<RecordOutcome, StoreError> {
        let known = self.membership.record(&record.id()).is_some();
        let outcome = self.membership.insert(record.clone());
        self.view = self.membership.view();
        let kept = self.membership.record(&record.id()).is_some();
        let released = self.store_what_waited(tx, entropy)?;
        if kept && !known && !is_false(&outcome) {
            tx.insert_record(self.row, record, entropy)?;
            if outcome == RecordOutcome::AwaitsParents {
                self.waiting.push_back((record.id(), cost(record)));
                self.forget_what_waits(tx)?;
            }
        }
        let bears_keys = record.body().wraps().is_some() || matches!(record.body(), RecordBody::InviteCreate(_));
        let is_new = kept && !known && (bears_keys || outcome != RecordOutcome::Admitted || self.epochs.is_empty());
        if is_new || released {
            self.learn_epochs(device, tx, entropy)?;
        }
        Ok(outcome)
    }

    /// Takes the records that wait for what they are: nobody's signature was looked at before their parents came.
    fn doubt_what_waits(&mut self) {
        for (id, _) in &self.waiting {
            if let Some(record) = self.membership.record(id).cloned() {
                self.membership.forget_waiting(id);
                self.membership.insert(record);
            }
        }
    }

    /// Stores what became of records that waited: the copy that was taken of several, or none. Tells whether any did
    /// that wait no more.
    fn store_what_waited(&mut self, tx: &Tx<'_>, entropy: &mut dyn Entropy) -> Result<bool, StoreError> {
        let membership = &self.membership;
        let waits = |id: &RecordId| membership.outcome(id) == Some(RecordOutcome::AwaitsParents);
        for (id, _) in self.waiting.iter().filter(|(id, _)| !waits(id)) {
            match membership.record(id).filter(|_| !membership.outcome(id).is_some_and(|outcome| is_false(&outcome))) {
                Some(record) => tx.insert_record(self.row, record, entropy)?,
                None => tx.delete_record(self.row, id)?,
            }
        }
        let waited = self.waiting.len();
        self.waiting.retain(|(id, _)| waits(id));
        Ok(self.waiting.len() < waited)
    }

    /// Forgets the oldest of the records that wait, as long as they cost too much.
    fn forget_what_waits(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let membership = &self.membership;
        self.waiting.retain(|(id, _)| membership.outcome(id) == Some(RecordOutcome::AwaitsParents));
        let mut bytes: usize = self.waiting.iter().map(|(_, cost)| cost).sum();
        while bytes > WAITING_BYTES_MAX
            && let Some((id, cost)) = self.waiting.pop_front()
        {
            self.membership.forget_waiting(&id);
            tx.delete_record(self.row, &id)?;
            bytes = bytes.saturating_sub(cost);
            self.forgotten += 1;
        }
        Ok(())
    }

    /// Takes in a relay's attestation; returns whether it was new.
    pub(crate) fn take_attestation(
        &mut self,
        attestation: Signed<Attestation>,
        device: &DeviceSecrets,
        tx: &Tx<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<bool, StoreError> {
        if !self.membership.attest(attestation.clone()) {
            return Ok(false);
        }
        self.view = self.membership.view();
        tx.insert_attestation(self.row, &attestation)?;
        self.store_what_waited(tx, entropy)?;
        self.learn_epochs(device, tx, entropy)?;
        Ok(true)
    }

    /// Returns the records and attestations that every relay should hold: what does not count, or waits
    /// for parents that may never have been, is owed to nobody.
    pub(crate) fn owed_records(&self) -> impl Iterator<Item = ItemHash> {
        let counts = |record: &&Record| {
            let outcome = self.membership.outcome(&record.id());
            matches!(outcome, Some(RecordOutcome::Admitted | RecordOutcome::AwaitsAttestation))
        };
        let records = self.membership.in_order().into_iter().filter(counts);
        let records: Vec<ItemHash> = records.map(|record| ItemHash::Record(record.id())).collect();
        records.into_iter().chain(self.membership.attestations().map(Signed::item_hash))
    }
}

/// Tells whether a record was refused for a signature in it: it is not stored, for what is stored counts as verified
/// when it is loaded again.
fn is_false(outcome: &RecordOutcome) -> bool {
    matches!(outcome, RecordOutcome::Refused(RecordRefusal::Key(_) | RecordRefusal::Identity(_)))
}

fn cost(record: &Record) -> usize {
    record.encoded_bytes() + RECORD_OVERHEAD_BYTES
}
