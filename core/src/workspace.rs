//! One workspace as the engine holds it: its membership log, its keys, and what is to be said to it.
//!
//! Invariant: an epoch's secret is kept only if its id was recomputed from it; the blinding key only
//! if it hashes to what the genesis committed to.

mod forget;
mod found;
mod invite;

pub use forget::{Unsent, UnsentWork};
pub use found::{Member, WorkspaceSummary};
pub use invite::InviteTerms;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tombolo_crypto::{BlindingKey, DeviceSecrets, Entropy, EpochKeys, EpochSecret, InviteLink, unwrap_epoch};
use tombolo_protocol::ids::{EpochId, RecordId, Stream, WorkspaceId, WorkspaceTag};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::membership::{Membership, RecordOutcome, View};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{EpochWrap, Record, RecordBody, Role, Rotation};

use crate::store::{StoreError, Tx, WorkspaceRow, WorkspaceState};

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
    pub(crate) view: View,
    pub(crate) blinding: Option<BlindingKey>,
    pub(crate) epochs: BTreeMap<EpochId, HeldEpoch>,
    /// Documents with changes that no entry carries yet.
    pub(crate) unsealed: BTreeSet<(i64, Stream)>,
    /// Records that wait for their parents, and what each costs; oldest first.
    waiting: VecDeque<(RecordId, usize)>,
    /// How many waiting records were forgotten and not counted yet.
    pub(crate) forgotten: u64,
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
            view: View::default(),
            blinding: None,
            epochs: BTreeMap::new(),
            unsealed: BTreeSet::new(),
            waiting: VecDeque::new(),
            forgotten: 0,
        }
    }

    pub(crate) fn load(tx: &Tx<'_>, row: i64, stored: WorkspaceRow) -> Result<Self, StoreError> {
        let mut workspace = Self::new(stored.id, stored.state);
        workspace.row = row;
        workspace.name = stored.name;
        let link = stored.join.map(|link| link.parse::<InviteLink>()).transpose();
        workspace.join = link.map_err(|_| StoreError::Corrupt { table: "workspace" })?;
        workspace.blinding = stored.blinding;
        workspace.life = stored.life;
        for (epoch, secret) in tx.epochs(row)? {
            let keys = EpochKeys::derive(&workspace.id, &secret);
            workspace.epochs.insert(epoch, HeldEpoch { secret, keys });
        }
        let records = tx.records(row)?;
        workspace.waiting = records.iter().map(|record| (record.id(), cost(record))).collect();
        for record in records {
            workspace.membership.insert(record);
        }
        for attestation in tx.attestations(row)? {
            workspace.membership.attest(attestation);
        }
        workspace.forget_what_waits(tx)?;
        workspace.view = workspace.membership.view();
        workspace.unsealed = tx.pending_documents(row)?.into_iter().collect();
        Ok(workspace)
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
        }
    }

    pub(crate) fn save(&self, tx: &Tx<'_>, entropy: &mut dyn Entropy) -> Result<(), StoreError> {
        tx.update_workspace(self.row, &self.to_row(), entropy)
    }

    /// Returns the role of a device's user, as things stand.
    pub(crate) fn role(&self, device: &DeviceSecrets) -> Option<Role> {
        self.view.role_of_device(&device.id())
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
        if kept && !known {
            tx.insert_record(self.row, record, entropy)?;
            if outcome == RecordOutcome::AwaitsParents {
                self.waiting.push_back((record.id(), cost(record)));
                self.forget_what_waits(tx)?;
            }
            self.learn_epochs(device, tx, entropy)?;
        }
        Ok(outcome)
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
        self.learn_epochs(device, tx, entropy)?;
        Ok(true)
    }

    /// Opens every epoch that some admitted record gives to this device or to the invite it holds, and
    /// those before it.
    fn learn_epochs(
        &mut self,
        device: &DeviceSecrets,
        tx: &Tx<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let mut rotations = Vec::new();
        let mut found = Vec::new();
        for record in self.membership.in_order() {
            if self.membership.outcome(&record.id()) != Some(RecordOutcome::Admitted) {
                continue;
            }
            if let Some(rotation) = record.body().rotation() {
                rotations.push(rotation.clone());
                found.extend(self.open_wraps(rotation, device));
            }
            found.extend(self.open_invite(record));
        }
        for (secret, blinding) in found {
            self.keep_epoch(secret, tx, entropy)?;
            self.keep_blinding(blinding, tx, entropy)?;
        }
        for rotation in rotations.iter().rev() {
            for previous in &rotation.previous {
                let Some(held) = self.epochs.get(&rotation.epoch) else {
                    break;
                };
                if self.epochs.contains_key(&previous.epoch) {
                    continue;
                }
                if let Ok(secret) = held.keys.open_previous(previous, &self.id) {
                    self.keep_epoch(secret, tx, entropy)?;
                }
            }
        }
        Ok(())
    }

    fn open_wraps(&self, rotation: &Rotation, device: &DeviceSecrets) -> Option<(EpochSecret, BlindingKey)> {
        if self.epochs.contains_key(&rotation.epoch) {
            return None;
        }
        let wrap_to = |recipient: &[u8; 32]| -> Option<&EpochWrap> {
            let at = rotation.wraps.binary_search_by(|wrap| wrap.recipient.cmp(recipient)).ok()?;
            rotation.wraps.get(at)
        };
        if let Some(wrap) = wrap_to(device.id().as_bytes()) {
            return unwrap_epoch(&self.id, &rotation.epoch, wrap, device.box_secret()).ok();
        }
        let link = self.join.as_ref()?;
        let wrap = wrap_to(link.invite.as_bytes())?;
        unwrap_epoch(&self.id, &rotation.epoch, wrap, &link.secret.box_secret()).ok()
    }

    fn open_invite(&self, record: &Record) -> Option<(EpochSecret, BlindingKey)> {
        let (RecordBody::InviteCreate(invite), Some(link)) = (record.body(), self.join.as_ref()) else {
            return None;
        };
        if record.id() != link.invite || self.epochs.contains_key(&invite.epoch) {
            return None;
        }
        unwrap_epoch(&self.id, &invite.epoch, &invite.wrap, &link.secret.box_secret()).ok()
    }

    pub(crate) fn keep_epoch(
        &mut self,
        secret: EpochSecret,
        tx: &Tx<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let keys = EpochKeys::derive(&self.id, &secret);
        tx.insert_epoch(self.row, &keys.epoch(), &secret, entropy)?;
        self.epochs.insert(keys.epoch(), HeldEpoch { secret, keys });
        Ok(())
    }

    fn keep_blinding(
        &mut self,
        blinding: BlindingKey,
        tx: &Tx<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let committed = self.view.blinding_commitment();
        if self.blinding.is_none() && committed == Some(blinding.commitment()) {
            self.blinding = Some(blinding);
            self.save(tx, entropy)?;
        }
        Ok(())
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

    /// Returns the head, epoch and keys that an entry may be sealed under now, if there are any.
    pub(crate) fn sealing(&self) -> Option<(RecordId, &EpochKeys)> {
        let head = self.membership.head()?;
        let epoch = self.membership.view_at(&head)?.epoch()?;
        self.epochs.get(&epoch).map(|held| (head, &held.keys))
    }
}

fn cost(record: &Record) -> usize {
    record.encoded_bytes() + RECORD_OVERHEAD_BYTES
}
