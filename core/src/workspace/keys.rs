//! The keys of a workspace: learning epochs from records, beginning new ones, and giving them to members
//! who lack them.
//!
//! How a key is drawn, given and taken is behind [`EPOCHS`].
//!
//! Invariant: an epoch is kept only if its secret gives its id; a new one is wrapped to exactly those who
//! may read once its record counts.

use std::collections::BTreeSet;

use tombolo_crypto::{
    BlindingKey, DeviceSecrets, Entropy, EpochKeys, EpochSecret, EpochSource, HpkeWraps, Secret32, UserRoot,
};
use tombolo_protocol::ids::{EpochId, RecordId};
use tombolo_protocol::membership::{Recipient, RecordOutcome};
use tombolo_protocol::record::{EpochWrap, OrganisationRecovery, Policy, Record, RecordBody, Rewrap, Role, Rotation};

use super::{HeldEpoch, Workspace};
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx};

/// Where the keys of epochs come from.
pub(crate) static EPOCHS: &dyn EpochSource = &HpkeWraps;

/// What a recovery kit opens.
pub(crate) struct RecoveryBox {
    /// The names under which epochs are wrapped to it: the user, and the organisation that the user may be.
    recipients: [[u8; 32]; 2],
    secret: Secret32,
}

impl RecoveryBox {
    pub(crate) fn of(root: &UserRoot) -> Self {
        let organisation = OrganisationRecovery { user: root.user(), box_public: root.box_public() };
        Self { recipients: [*root.user().as_bytes(), organisation.recipient()], secret: root.box_secret() }
    }
}

/// Stands in a record whose recipients are being found out.
const PLACEHOLDER: Rotation = Rotation { epoch: EpochId::from_bytes([0; 32]), previous: Vec::new(), wraps: Vec::new() };

impl Workspace {
    /// Keeps what [`Workspace::discover`] finds.
    pub(super) fn learn_epochs(
        &mut self,
        device: &DeviceSecrets,
        tx: &Tx<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let had_blinding = self.blinding.is_some();
        for epoch in self.discover(device) {
            if let Some(held) = self.epochs.get(&epoch) {
                tx.insert_epoch(self.row, &epoch, &held.secret, entropy)?;
            }
        }
        if self.blinding.is_some() && !had_blinding {
            self.save(tx, entropy)?;
        }
        Ok(())
    }

    /// Returns the epochs that records begin and whose keys are not here, though this device's user may read.
    pub(crate) fn missing_epochs(&self, device: &DeviceSecrets) -> BTreeSet<EpochId> {
        if !self.role(device).is_some_and(Role::may_read) {
            return BTreeSet::new();
        }
        let counts = |record: &&Record| self.membership.outcome(&record.id()) == Some(RecordOutcome::Admitted);
        let begun = self.membership.in_order().into_iter().filter(counts).filter_map(|record| record.body().wraps());
        begun.map(|(epoch, _)| epoch).filter(|epoch| !self.epochs.contains_key(epoch)).collect()
    }

    /// Opens every epoch that some admitted record gives to this device or to the invite it holds, and
    /// those before it; returns those that are new.
    pub(super) fn discover(&mut self, device: &DeviceSecrets) -> Vec<EpochId> {
        let mut rotations = Vec::new();
        let mut found = Vec::new();
        for record in self.membership.in_order() {
            if self.membership.outcome(&record.id()) != Some(RecordOutcome::Admitted) {
                continue;
            }
            rotations.extend(record.body().rotation().cloned());
            if let Some((epoch, wraps)) = record.body().wraps() {
                found.extend(self.open_wraps(epoch, wraps, device));
            }
            found.extend(self.open_invite(record));
        }
        let mut new = Vec::new();
        for (secret, blinding) in found {
            new.extend(self.hold_epoch(secret));
            if self.blinding.is_none() && self.view.blinding_commitment() == Some(blinding.commitment()) {
                self.blinding = Some(blinding);
            }
        }
        for rotation in rotations.iter().rev() {
            for previous in &rotation.previous {
                let Some(held) = self.epochs.get(&rotation.epoch) else {
                    break;
                };
                if self.epochs.contains_key(&previous.epoch) {
                    continue;
                }
                if let Ok(secret) = EPOCHS.take_previous(&self.id, &held.keys, previous) {
                    new.extend(self.hold_epoch(secret));
                }
            }
        }
        new
    }

    /// Takes an epoch's secret into memory; returns its id if it was not there.
    fn hold_epoch(&mut self, secret: EpochSecret) -> Option<EpochId> {
        let keys = EpochKeys::derive(&self.id, &secret);
        let epoch = keys.epoch();
        self.epochs.insert(epoch, HeldEpoch { secret, keys }).is_none().then_some(epoch)
    }

    fn knows(&self, epoch: &EpochId) -> bool {
        self.epochs.contains_key(epoch) && self.blinding.is_some()
    }

    fn open_wraps(
        &self,
        epoch: EpochId,
        wraps: &[EpochWrap],
        device: &DeviceSecrets,
    ) -> Option<(EpochSecret, BlindingKey)> {
        if self.knows(&epoch) {
            return None;
        }
        let wrap_to = |recipient: &[u8; 32]| -> Option<&EpochWrap> {
            let at = wraps.binary_search_by(|wrap| wrap.recipient.cmp(recipient)).ok()?;
            wraps.get(at)
        };
        if let Some(wrap) = wrap_to(device.id().as_bytes()) {
            return EPOCHS.take(&self.id, &epoch, wrap, device.box_secret()).ok();
        }
        if let Some(kit) = &self.recovery
            && let Some(wrap) = kit.recipients.iter().find_map(wrap_to)
        {
            return EPOCHS.take(&self.id, &epoch, wrap, &kit.secret).ok();
        }
        let link = self.join.as_ref()?;
        let wrap = wrap_to(link.invite.as_bytes())?;
        EPOCHS.take(&self.id, &epoch, wrap, &link.secret.box_secret()).ok()
    }

    fn open_invite(&self, record: &Record) -> Option<(EpochSecret, BlindingKey)> {
        let (RecordBody::InviteCreate(invite), Some(link)) = (record.body(), self.join.as_ref()) else {
            return None;
        };
        if record.id() != link.invite || self.knows(&invite.epoch) {
            return None;
        }
        EPOCHS.take(&self.id, &invite.epoch, &invite.wrap, &link.secret.box_secret()).ok()
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

    /// Returns the head, epoch and keys that an entry may be sealed under now, if there are any.
    pub(crate) fn sealing(&self) -> Option<(RecordId, &EpochKeys)> {
        let head = self.membership.head().filter(|_| !self.incomplete)?;
        let epoch = self.membership.view_at(&head)?.epoch()?;
        self.epochs.get(&epoch).map(|held| (head, &held.keys))
    }

    /// Tells whether nothing can be sealed before a rotation makes one head of several, or shuts out who left.
    pub(crate) fn needs_rotation(&self) -> bool {
        self.membership.heads().len() > 1 || self.view.needs_healing()
    }

    /// Tells whether an organisation whose recovery key was taken away was given the present epoch: its end may have
    /// come to count only once a relay had attested it.
    pub(crate) fn is_known_to_former_organisation(&self) -> bool {
        let recipient = |policy: &Policy| policy.recovery.as_ref().map(OrganisationRecovery::recipient);
        let present = self.view.policy().and_then(recipient);
        let policy_of = |record: &&Record| match record.body() {
            RecordBody::Policy(policy) => recipient(policy),
            _ => None,
        };
        let records = self.membership.in_order();
        let mut former: BTreeSet<[u8; 32]> = records.iter().filter_map(policy_of).collect();
        former.retain(|recipient| Some(*recipient) != present);
        let Some(epoch) = self.view.epoch().filter(|_| !former.is_empty()) else {
            return false;
        };
        let mut wraps = records.iter().filter_map(|record| record.body().wraps()).filter(|(of, _)| *of == epoch);
        wraps.any(|(_, wraps)| wraps.iter().any(|wrap| former.contains(&wrap.recipient)))
    }

    /// Returns the present epoch and those beside it that no epoch carries on, each with the members' keys that it was
    /// not wrapped to: theirs came concurrently or later, or by an invite that an earlier epoch was wrapped to.
    pub(crate) fn without_keys(&self) -> Vec<(EpochId, Vec<Recipient>)> {
        if self.view.epoch().is_none() {
            return Vec::new();
        }
        let admitted = |record: &&Record| self.membership.outcome(&record.id()) == Some(RecordOutcome::Admitted);
        let records: Vec<&Record> = self.membership.in_order().into_iter().filter(admitted).collect();
        let rotations = || records.iter().filter_map(|record| record.body().rotation());
        let carried: BTreeSet<EpochId> =
            rotations().flat_map(|rotation| rotation.previous.iter().map(|previous| previous.epoch)).collect();
        let begun: BTreeSet<EpochId> = rotations().map(|rotation| rotation.epoch).collect();
        let lacking = |epoch: &EpochId| (*epoch, self.without_epoch(*epoch, &records));
        let lacking = begun.difference(&carried).map(lacking);
        lacking.filter(|(_, recipients)| !recipients.is_empty()).collect()
    }

    fn without_epoch(&self, epoch: EpochId, records: &[&Record]) -> Vec<Recipient> {
        let mut given = BTreeSet::new();
        let mut by_invite: Vec<([u8; 32], [u8; 32])> = Vec::new();
        for record in records {
            match record.body() {
                RecordBody::InviteCreate(invite) if invite.epoch == epoch && invite.role.may_read() => {
                    given.extend([*record.id().as_bytes()]);
                }
                RecordBody::Join(join) => by_invite.extend([(*join.invite.as_bytes(), *record.author().as_bytes())]),
                body => {
                    let wraps = body.wraps().filter(|(wrapped, _)| *wrapped == epoch);
                    given.extend(wraps.into_iter().flat_map(|(_, wraps)| wraps).map(|wrap| wrap.recipient));
                }
            }
        }
        let joined: Vec<[u8; 32]> =
            by_invite.into_iter().filter(|(invite, _)| given.contains(invite)).map(|(_, device)| device).collect();
        given.extend(joined);
        let recipients = self.view.recipients().into_iter();
        recipients.filter(|(recipient, _)| !given.contains(recipient)).collect()
    }
}

impl Engine {
    /// Completes a record with the epoch that must go with it, for those who may read after it.
    ///
    /// # Errors
    /// [`Error::Refused`] if the record would not count, [`Error::NotReady`] without the present keys.
    pub(crate) fn with_rotation(
        &mut self,
        now: Now,
        row: i64,
        complete: impl Fn(Rotation) -> RecordBody,
    ) -> Result<RecordBody, Error> {
        let record = self.draft_record(now, row, complete(PLACEHOLDER), Vec::new())?;
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        let recipients = workspace.membership.recipients_after(&record).map_err(Error::Refused)?;
        let blinding = workspace.blinding.as_ref().ok_or(Error::NotReady)?;
        let held = |epoch: EpochId| workspace.epochs.get(&epoch).map(|held| (epoch, &held.secret));
        let to_follow = workspace.view.epochs_to_follow();
        if to_follow.iter().any(|epoch| !workspace.epochs.contains_key(epoch)) {
            return Err(Error::NotReady);
        }
        let previous: Vec<(EpochId, &EpochSecret)> = workspace.view.newest_epochs().filter_map(held).collect();
        let rotated = EPOCHS.begin(&workspace.id, &recipients, &previous, blinding, self.entropy.as_mut());
        let (_, rotation) = rotated.map_err(|_| Error::NotReady)?;
        Ok(complete(rotation))
    }

    /// Begins an epoch that joins several heads into one, and that nobody who left knows, so that entries can be
    /// sealed again.
    pub(crate) fn heal_heads(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let may = self.workspaces.get(&row).and_then(|workspace| workspace.role(&self.device)) >= Some(Role::Commenter);
        if !may {
            return Ok(());
        }
        let stated = self
            .with_rotation(now, row, RecordBody::Rotate)
            .and_then(|body| self.state_record(now, row, body, Vec::new(), tx));
        match stated {
            Err(Error::Store(error)) => Err(error),
            // A refusal here means that the heads moved in between; the next flush looks again.
            _ => Ok(()),
        }
    }

    /// Gives epochs to members who lack them: a writer to all, others to their own devices.
    pub(crate) fn rewrap(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let lacking = self.workspaces.get(&row).map(Workspace::without_keys).unwrap_or_default();
        for (epoch, recipients) in lacking {
            self.give_epoch(now, row, epoch, recipients, tx)?;
        }
        Ok(())
    }

    fn give_epoch(
        &mut self,
        now: Now,
        row: i64,
        epoch: EpochId,
        mut recipients: Vec<Recipient>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(workspace) = self.workspaces.get(&row) else {
            return Ok(());
        };
        let role = workspace.role(&self.device);
        let own = workspace.view.device(&self.device.id()).map(|standing| standing.user);
        let is_own = |recipient: &[u8; 32]| {
            let mut devices = workspace.view.devices().filter(|(_, standing)| Some(standing.user) == own);
            devices.any(|(device, _)| device.as_bytes() == recipient)
        };
        recipients.retain(|(recipient, _)| role >= Some(Role::Writer) || is_own(recipient));
        let held = (workspace.epochs.get(&epoch), workspace.blinding.as_ref());
        let ((Some(held), Some(blinding)), false) = (held, recipients.is_empty()) else {
            return Ok(());
        };
        let mut wraps = Vec::new();
        for recipient in recipients {
            let wrap = EPOCHS.give(&workspace.id, &recipient, &held.secret, blinding, self.entropy.as_mut());
            wraps.extend(wrap.ok());
        }
        let body = RecordBody::Rewrap(Rewrap { epoch: held.keys.epoch(), wraps });
        match self.state_record(now, row, body, Vec::new(), tx) {
            Err(Error::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }
}
