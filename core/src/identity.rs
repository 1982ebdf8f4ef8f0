//! The user as this device knows them: root while it is kept, devices, names, recovery, links under way.
//!
//! Data comes from the store, from what people do on this device, and from the Devices records of
//! workspaces; it goes into records again. What a workspace does not know yet is the intent: it is
//! stated when a session is level (`owed`), so nothing has to be remembered but the identity log.
//!
//! Invariant: the identity log only grows; the root's seed is kept until a kit was confirmed, or what a
//! kit brought back is complete.

mod claims;
mod devices;
pub(crate) mod linking;
mod merge;
mod names;
mod owed;
mod recovery;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use devices::{Alarm, AlarmKind, DeviceDescription, Platform};
pub use linking::{LinkFailure, LinkWay};
use names::Names;
use tombolo_crypto::{DeviceSecrets, Entropy, UserRoot};
use tombolo_protocol::bytes::Reader;
use tombolo_protocol::identity::{Identity, IdentityAct, IdentityLog, IdentityRecord};
use tombolo_protocol::ids::DeviceId;
use tombolo_protocol::keys::{KeyError, VerifyKey};
use tombolo_protocol::record::RecoverySet;

use crate::engine::{Engine, Event, Now};
use crate::store::{StoreError, Tx};

/// How long after an open the app is reminded of a missing kit: it has subscribed by then.
const REMIND_FIRST: Duration = Duration::from_secs(2);
/// How often it is reminded after that.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What is this user's own, beside device and log.
pub(crate) struct Own {
    /// The user's root, until a kit has it.
    root: Option<UserRoot>,
    names: Names,
    /// The statement that makes a recovery key the user's, once there is a kit.
    recovery: Option<RecoverySet>,
    /// Whether a kit brings the user back at present.
    is_recovering: bool,
    /// The relays that said which workspaces are the user's.
    claimed: BTreeSet<i64>,
    /// When to ask the relays again.
    claim_at: Vec<Duration>,
    remind_at: Option<Duration>,
    links: linking::Links,
}

impl Own {
    fn load(tx: &Tx<'_>, root: Option<UserRoot>) -> Result<Self, StoreError> {
        let names = tx.meta("device-names")?.map(|bytes| Names::decode(&bytes).ok_or(CORRUPT)).transpose()?;
        let recovery = tx.meta("recovery-set")?;
        let recovery = recovery.map(|bytes| RecoverySet::read(&mut Reader::new(&bytes)).map_err(|_| CORRUPT));
        Ok(Self {
            root,
            names: names.unwrap_or_default(),
            recovery: recovery.transpose()?,
            is_recovering: tx.meta("recovering")?.is_some(),
            claimed: BTreeSet::new(),
            claim_at: Vec::new(),
            remind_at: None,
            links: linking::Links::default(),
        })
    }

    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let claim = self.claim_at.iter().min().copied();
        [claim, self.remind_at, self.links.wake_at()].into_iter().flatten().min()
    }
}

/// Loads what is the user's; the first open makes a user.
pub(crate) fn load_own(
    tx: &Tx<'_>,
    device: &DeviceSecrets,
    entropy: &mut dyn Entropy,
) -> Result<(IdentityLog, Own), StoreError> {
    let root = load_root(tx, entropy)?;
    let log = load_identity(tx, root.as_ref(), device, entropy)?;
    Ok((log, Own::load(tx, root)?))
}

/// Loads the root: the first open draws it, and it is gone once a kit was confirmed.
fn load_root(tx: &Tx<'_>, entropy: &mut dyn Entropy) -> Result<Option<UserRoot>, StoreError> {
    if let Some(bytes) = tx.meta("root")? {
        return bytes.try_into().map(|seed| Some(UserRoot::from_seed(&seed))).map_err(|_| CORRUPT);
    }
    if tx.meta("identity")?.is_some() {
        return Ok(None);
    }
    let root = UserRoot::generate(entropy);
    tx.set_meta("root", root.seed().as_slice(), entropy)?;
    Ok(Some(root))
}

/// Loads the identity log, or begins it with this device.
fn load_identity(
    tx: &Tx<'_>,
    root: Option<&UserRoot>,
    device: &DeviceSecrets,
    entropy: &mut dyn Entropy,
) -> Result<IdentityLog, StoreError> {
    if let Some(bytes) = tx.meta("identity")? {
        return IdentityLog::read(&mut Reader::new(&bytes)).map_err(|_| CORRUPT);
    }
    let log = begun(root.ok_or(CORRUPT)?, device).map_err(|_| CORRUPT)?;
    save(&log, tx, entropy)?;
    Ok(log)
}

/// Begins a log with one device, on the word of the root.
fn begun(root: &UserRoot, device: &DeviceSecrets) -> Result<IdentityLog, KeyError> {
    let record = IdentityRecord::first(root.sign_key(), device.public(), Platform::here() as u8, device.sign_key());
    Ok(IdentityLog { root: VerifyKey::parse(&root.sign_key().public())?, records: vec![record] })
}

fn save(log: &IdentityLog, tx: &Tx<'_>, entropy: &mut dyn Entropy) -> Result<(), StoreError> {
    let mut bytes = Vec::new();
    log.write(&mut bytes);
    tx.set_meta("identity", &bytes, entropy)
}

impl Engine {
    /// Does what the time has come for; called for every turn, so it is cheap when there is nothing.
    pub(crate) fn settle_own(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        if self.own.remind_at.is_none() {
            self.own.remind_at = Some(now.mono + REMIND_FIRST);
        }
        if self.own.remind_at.is_some_and(|at| at <= now.mono) {
            self.own.remind_at = Some(now.mono + REMIND_EVERY);
            if self.own.recovery.is_none() {
                self.tell(Event::RecoveryKitMissing);
            }
        }
        self.owe_due(now);
        self.claim_due(now);
        self.drive_links(now);
        self.approval_due(now, tx)
    }

    /// Learns what a workspace knows of this user's devices.
    pub(crate) fn learn_identity(&mut self, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(workspace) = self.workspaces.get(&row) else {
            return Ok(());
        };
        let Some(known) = workspace.view.identity(&self.identity.user()) else {
            return Ok(());
        };
        if missing(known, Some(&self.identity)).is_empty() {
            return Ok(());
        }
        let merged = self.identity.merged(known);
        self.extend_identity(merged, tx)
    }

    /// Takes over a log that holds the present one, and says what is new in it.
    fn extend_identity(&mut self, log: IdentityLog, tx: &Tx<'_>) -> Result<(), StoreError> {
        let (Ok(before), Ok(after)) = (Identity::evaluate(&self.identity), Identity::evaluate(&log)) else {
            return Ok(());
        };
        self.identity = log;
        save(&self.identity, tx, self.entropy.as_mut())?;
        for device in after.devices.keys().filter(|device| !before.devices.contains_key(device)) {
            let name = self.own.names.of(device).map(ToOwned::to_owned);
            self.tell(Event::DeviceLinked { device: *device, name });
        }
        for device in after.revoked.keys().filter(|device| before.devices.contains_key(device)) {
            self.tell(Event::DeviceRevoked { device: *device });
        }
        self.owe_all();
        Ok(())
    }

    /// Looks again, in every workspace, whether something is to be stated.
    fn owe_all(&mut self) {
        for row in self.workspaces.keys().copied().collect::<Vec<_>>() {
            self.records_to_send(row);
        }
    }

    /// Returns what the user's log says; an unreadable one was never kept.
    fn own_identity(&self) -> Option<Identity> {
        Identity::evaluate(&self.identity).ok()
    }

    /// Returns the part of the log that this device's own place in it stands on.
    fn own_descent(&self) -> IdentityLog {
        let by_id: BTreeMap<_, _> = self.identity.records.iter().map(|record| (record.id(), record)).collect();
        let adds = |record: &&IdentityRecord| is_add_of(record, &self.device.id());
        let mut open: Vec<_> = self.identity.records.iter().filter(adds).map(IdentityRecord::id).collect();
        let mut below = BTreeSet::new();
        while let Some(id) = open.pop() {
            if below.insert(id) {
                open.extend(by_id.get(&id).into_iter().flat_map(|record| record.parents()));
            }
        }
        let records = self.identity.records.iter().filter(|record| below.contains(&record.id()));
        IdentityLog { root: self.identity.root, records: records.cloned().collect() }
    }
}

/// Returns the records of a log that another one lacks.
fn missing<'a>(log: &'a IdentityLog, of: Option<&IdentityLog>) -> Vec<&'a IdentityRecord> {
    let held: BTreeSet<_> = of.into_iter().flat_map(|log| &log.records).map(IdentityRecord::id).collect();
    log.records.iter().filter(|record| !held.contains(&record.id())).collect()
}

fn is_add_of(record: &IdentityRecord, device: &DeviceId) -> bool {
    matches!(record.act(), IdentityAct::Add { keys, .. } if keys.id() == *device)
}

const CORRUPT: StoreError = StoreError::Corrupt { table: "meta" };
