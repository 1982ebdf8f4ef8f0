//! What a workspace is still to be told of this user: devices, names, the recovery key, and its epoch's
//! keys for all of these. Found by comparing, so nothing is forgotten by a crash.
//!
//! Invariant: acts are stated only while a session is level. The device that caused one states it at once;
//! the user's others wait a random time, and find that it was stated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crypto::EpochSecret;
use tombolo_protocol::identity::{Identity, IdentityAct, IdentityRecord, Signer};
use tombolo_protocol::ids::{DeviceId, EpochId};
use tombolo_protocol::membership::Recipient;
use tombolo_protocol::record::{Devices, RecordBody, Rewrap, Role, Rotation};

use super::{is_add_of, missing};
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx, WorkspaceState};
use crate::sync::channel::{Channel, Phase};
use crate::workspace::{EPOCHS, Workspace};

/// How long the user's other devices wait before they state what one of them should have.
const OTHERS_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What is to be stated, and whether this device caused it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owed {
    Nothing,
    ByOthers,
    ByThis,
}

impl Engine {
    /// States what a workspace is still to be told, if this device is the one to do it now.
    pub(crate) fn state_owed(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let wants = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1));
        let Some(is_due) = wants.filter(|channel| channel.has_records).map(|channel| channel.take_owes_due()) else {
            return Ok(());
        };
        let row = at.1;
        if self.workspaces.get(&row).is_none_or(|workspace| workspace.state != WorkspaceState::Member) {
            return Ok(());
        }
        self.learn_identity(row, tx)?;
        self.learn_recovery(row, tx)?;
        self.learn_names(row, tx)?;
        self.revoke_lost(tx)?;
        let devices = self.owes_devices(row);
        let states = devices == Owed::ByThis || (is_due && devices == Owed::ByOthers);
        if states && !self.has_act_waiting(row) {
            unless_denied(self.state_devices(now, row, tx))?;
        }
        let set = self.owes_recovery(row);
        if set {
            unless_denied(self.state_recovery(now, row, tx))?;
        }
        let (wraps, is_odd) = self.owes_wraps(row);
        let has_wraps = !wraps.is_empty();
        if has_wraps && (set || is_odd || is_due) {
            unless_denied(self.state_wraps(now, row, wraps, tx))?;
        } else if !is_due && (has_wraps || devices == Owed::ByOthers) {
            let wait = crate::sync::draw(self.entropy.as_mut(), OTHERS_WAIT.0, OTHERS_WAIT.1);
            if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(row)) {
                channel.owes_at.get_or_insert(now.mono + wait);
            }
        }
        self.finish_recovery(tx)
    }

    /// Looks again after a record, where it can matter: this user has other devices, or a kit.
    pub(crate) fn look_at_owed(&mut self, row: i64) {
        if self.identity.records.len() > 1 || self.own.recovery.is_some() {
            self.records_to_send(row);
        }
    }

    /// Learns the names that this user's other devices gave.
    fn learn_names(&mut self, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(workspace) = self.workspaces.get(&row) else {
            return Ok(());
        };
        let told = workspace.names_of(&self.identity.user());
        if self.own.names.merge(&told) { self.save_names(tx) } else { Ok(()) }
    }

    fn owes_devices(&self, row: i64) -> Owed {
        let Some(workspace) = self.workspaces.get(&row) else {
            return Owed::Nothing;
        };
        let user = self.identity.user();
        if workspace.view.role(&user).is_none() {
            return Owed::Nothing;
        }
        let lacking = missing(&self.identity, workspace.view.identity(&user));
        let this = self.device.id();
        let mine = |record: &&IdentityRecord| {
            record.signer() == Signer::Device(this) || is_add_of(record, &this) || self.own.is_recovering
        };
        if lacking.iter().any(mine) {
            return Owed::ByThis;
        }
        let mut told = workspace.names_of(&user);
        let told_new = workspace.view.epoch().is_some() && !self.own.names.is_empty() && told.merge(&self.own.names);
        match (lacking.is_empty(), told_new) {
            (true, false) => Owed::Nothing,
            (true, true) => Owed::ByThis,
            (false, _) => Owed::ByOthers,
        }
    }

    /// States the user's devices; where one was given up, with pins and, if it is another, a new epoch.
    pub(super) fn state_devices(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), Error> {
        let user = self.identity.user();
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        let known = workspace.view.identity(&user);
        let log = known.map_or_else(|| self.identity.clone(), |known| known.merged(&self.identity));
        let identity = Identity::evaluate(&log).map_err(|_| Error::NotReady)?;
        let active = |device: &DeviceId| workspace.view.device(device).is_some_and(|held| held.is_active());
        let revoked: Vec<DeviceId> = identity.revoked.keys().copied().filter(active).collect();
        let reads = workspace.view.role(&user).is_some_and(Role::may_read);
        let pins = if revoked.is_empty() { None } else { Some(self.pins_of_devices(row, &revoked, tx)?) };
        // A device that is given up draws no keys for the others: it would know them.
        let rotates = reads && !revoked.is_empty() && !revoked.contains(&self.device.id());
        let rotation = if rotates { Some(self.rotation_after(row, &identity)?) } else { None };
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        let names = &self.own.names;
        let secret = if names.is_empty() { Vec::new() } else { workspace.seal_names(names, self.entropy.as_mut()) };
        let body = RecordBody::Devices(Box::new(Devices { identity: log.into(), pins, rotation }));
        self.state_record(now, row, body, secret, tx).map(|_| ())
    }

    /// Begins an epoch for all who may read once the user's devices are these.
    fn rotation_after(&mut self, row: i64, identity: &Identity) -> Result<Rotation, Error> {
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        let mut recipients: BTreeMap<[u8; 32], [u8; 32]> = workspace.view.recipients().into_iter().collect();
        recipients.retain(|id, _| !identity.revoked.contains_key(&DeviceId::from_bytes(*id)));
        recipients.extend(identity.devices.iter().map(|(id, keys)| (*id.as_bytes(), keys.box_public)));
        let recipients: Vec<_> = recipients.into_iter().collect();
        let previous: Vec<(EpochId, &EpochSecret)> = workspace
            .view
            .newest_epochs()
            .filter_map(|epoch| workspace.epochs.get(&epoch).map(|held| (epoch, &held.secret)))
            .collect();
        let blinding = workspace.blinding.as_ref().ok_or(Error::NotReady)?;
        let rotated = EPOCHS.begin(&workspace.id, &recipients, &previous, blinding, self.entropy.as_mut());
        rotated.map(|(_, rotation)| rotation).map_err(|_| Error::NotReady)
    }

    /// Returns the user's devices and recovery key that no record gives the present epoch to; and whether
    /// this device is such a one itself: then it has the epoch by an invite, an approval or its own past,
    /// and nobody else is nearer to sharing it.
    fn owes_wraps(&self, row: i64) -> (Vec<Recipient>, bool) {
        const NOTHING: (Vec<Recipient>, bool) = (Vec::new(), false);
        let Some(workspace) = self.workspaces.get(&row) else {
            return NOTHING;
        };
        let Some(epoch) = workspace.view.epoch().filter(|epoch| workspace.epochs.contains_key(epoch)) else {
            return NOTHING;
        };
        let user = self.identity.user();
        let is_own = |id: &[u8; 32]| {
            let device = workspace.view.device(&DeviceId::from_bytes(*id));
            id == user.as_bytes() || device.is_some_and(|held| held.user == user)
        };
        let own: Vec<_> = workspace.view.recipients().into_iter().filter(|(id, _)| is_own(id)).collect();
        if own.len() < 2 {
            return NOTHING;
        }
        let given = workspace.given(&epoch);
        let lacking: Vec<_> = own.into_iter().filter(|(id, _)| !given.contains(id)).collect();
        let this = *self.device.id().as_bytes();
        let is_odd = lacking.iter().any(|(id, _)| *id == this);
        if lacking.iter().any(|(id, _)| *id != this) { (lacking, is_odd) } else { NOTHING }
    }

    fn state_wraps(&mut self, now: Now, row: i64, recipients: Vec<Recipient>, tx: &Tx<'_>) -> Result<(), Error> {
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        let epoch = workspace.view.epoch().ok_or(Error::NotReady)?;
        let held = workspace.epochs.get(&epoch).ok_or(Error::NotReady)?;
        let blinding = workspace.blinding.as_ref().ok_or(Error::NotReady)?;
        let mut wraps = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let wrap = EPOCHS.give(&workspace.id, &recipient, &held.secret, blinding, self.entropy.as_mut());
            wraps.push(wrap.map_err(|_| Error::NotReady)?);
        }
        self.state_record(now, row, RecordBody::Rewrap(Rewrap { epoch, wraps }), Vec::new(), tx).map(|_| ())
    }

    /// Gives up, by the root, what a kit found beside this device and those it linked since.
    fn revoke_lost(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        if !self.own.is_recovering {
            return Ok(());
        }
        let this = self.device.id();
        loop {
            let (Some(identity), Some(root)) = (self.own_identity(), self.own.root.as_ref()) else {
                return Ok(());
            };
            let linked_here = |device: &DeviceId| {
                let mut adds = self.identity.records.iter().filter(|record| is_add_of(record, device));
                adds.any(|record| record.signer() == Signer::Device(this))
            };
            let lost = identity.devices.keys().find(|device| **device != this && !linked_here(device)).copied();
            let Some(lost) = lost else {
                return Ok(());
            };
            let draft = identity.draft(IdentityAct::Revoke(lost), Signer::Root);
            let signature = draft.sign(root.sign_key());
            let mut log = self.identity.clone();
            log.records.push(draft.complete(signature, None));
            self.extend_identity(log, tx)?;
        }
    }

    /// Looks again at what the user's others should have stated by now.
    pub(crate) fn owe_due(&mut self, now: Now) {
        for live in self.relays.values_mut().filter_map(crate::sync::Relay::live_mut) {
            for channel in live.channels.values_mut() {
                channel.owe_due(now.mono);
            }
        }
    }
}

impl Channel {
    /// Notes that the wait for this user's other devices is over.
    pub(crate) fn owe_due(&mut self, now: Duration) {
        if self.phase == Phase::Level && self.owes_at.is_some_and(|at| at <= now) {
            (self.owes_at, self.owes_due, self.has_records) = (None, true, true);
        }
    }

    /// Tells once that the wait is over.
    pub(crate) fn take_owes_due(&mut self) -> bool {
        std::mem::take(&mut self.owes_due)
    }
}

impl Workspace {
    /// Returns to whom records give an epoch.
    fn given(&self, epoch: &EpochId) -> BTreeSet<[u8; 32]> {
        let wraps = self.membership.counting().filter_map(|record| record.body().wraps());
        let wraps = wraps.filter(|(of, _)| of == epoch).flat_map(|(_, wraps)| wraps);
        wraps.map(|wrap| wrap.recipient).collect()
    }
}

/// A refusal means that the heads moved, or a key is not here yet; the next look finds out.
fn unless_denied(stated: Result<(), Error>) -> Result<(), StoreError> {
    match stated {
        Err(Error::Store(error)) => Err(error),
        _ => Ok(()),
    }
}
