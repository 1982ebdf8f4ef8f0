//! The devices of a user, as an app lists them: names, platforms, giving one up; and alarms.
//!
//! Invariant: an alarm stays listed until somebody dismisses it, also after a restart.

use std::collections::BTreeMap;

use tombolo_protocol::bytes::Reader;
use tombolo_protocol::identity::{IdentityAct, IdentityLog, Signer};
use tombolo_protocol::ids::{DeviceId, WorkspaceId};

use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx};

/// Alarms that are kept; the oldest go first.
const ALARMS_MAX: usize = 64;

/// What kind of machine a device says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Platform {
    /// It does not say.
    Unknown = 0,
    /// Linux.
    Linux = 1,
    /// macOS.
    MacOs = 2,
    /// Windows.
    Windows = 3,
    /// Android.
    Android = 4,
    /// iOS or iPadOS.
    Ios = 5,
    /// A browser.
    Web = 6,
}

impl Platform {
    /// Returns what this program was built for.
    #[must_use]
    pub const fn here() -> Self {
        if cfg!(target_os = "android") {
            Self::Android
        } else if cfg!(target_os = "ios") {
            Self::Ios
        } else if cfg!(target_os = "linux") {
            Self::Linux
        } else if cfg!(target_os = "macos") {
            Self::MacOs
        } else if cfg!(target_os = "windows") {
            Self::Windows
        } else if cfg!(target_family = "wasm") {
            Self::Web
        } else {
            Self::Unknown
        }
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "device",
            Self::Linux => "Linux",
            Self::MacOs => "macOS",
            Self::Windows => "Windows",
            Self::Android => "Android",
            Self::Ios => "iOS",
            Self::Web => "browser",
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Linux,
            2 => Self::MacOs,
            3 => Self::Windows,
            4 => Self::Android,
            5 => Self::Ios,
            6 => Self::Web,
            _ => Self::Unknown,
        }
    }
}

/// One device of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDescription {
    /// Its id.
    pub id: DeviceId,
    /// What it was named.
    pub name: Option<String>,
    /// What it says it is.
    pub platform: Platform,
    /// Whether it is the one that was asked.
    pub is_this: bool,
    /// Who vouched for it: another device, or the user's root for the first and for a recovered one.
    pub added: Option<DeviceId>,
    /// Whether it was given up.
    pub revoked: bool,
}

/// Something that a person should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What.
    pub kind: AlarmKind,
    /// When it was noticed, milliseconds since 1970.
    pub since_ms: i64,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlarmKind {
    /// An entry of this device came that it never wrote: its store was copied or restored.
    CloneSuspected {
        /// In which workspace.
        workspace: WorkspaceId,
    },
    /// A device was to be linked, and what it showed or said was false: somebody may stand between.
    LinkFailed {
        /// Which device asked.
        device: DeviceId,
    },
}

impl Engine {
    /// Lists the devices of this user, those that were given up too.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceDescription> {
        let Some(identity) = self.own_identity() else {
            return Vec::new();
        };
        let added = added(&self.identity);
        let all = identity.devices.keys().chain(identity.revoked.keys());
        let describe = |id: &DeviceId| {
            let (platform, added) = added.get(id).copied().unwrap_or((Platform::Unknown, None));
            let name = self.own.names.of(id).map(ToOwned::to_owned);
            let (is_this, revoked) = (*id == self.device.id(), identity.revoked.contains_key(id));
            DeviceDescription { id: *id, name, platform, is_this, added, revoked }
        };
        all.map(describe).collect()
    }

    /// Names a device of this user; the user's other devices hear of it, sealed.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if the user has no such device, [`Error::Store`].
    pub fn rename_device(&mut self, now: Now, device: &DeviceId, name: &str, tx: &Tx<'_>) -> Result<(), Error> {
        let identity = self.own_identity().ok_or(Error::NotReady)?;
        if !identity.devices.contains_key(device) {
            return Err(Error::NoDevice(*device));
        }
        self.own.names.set(*device, now.wall_ms, name);
        self.save_names(tx)?;
        self.owe_all();
        Ok(())
    }

    /// Gives up a device of this user. It is out at once here, and in each workspace as soon as a session
    /// is level: with a new epoch, and pins for what it wrote.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if the user has no such device, [`Error::NotReady`] for this very device: use
    /// another one, [`Error::Store`].
    pub fn revoke_device(&mut self, device: &DeviceId, tx: &Tx<'_>) -> Result<(), Error> {
        let identity = self.own_identity().ok_or(Error::NotReady)?;
        if !identity.devices.contains_key(device) {
            return Err(Error::NoDevice(*device));
        }
        if *device == self.device.id() || !identity.devices.contains_key(&self.device.id()) {
            return Err(Error::NotReady);
        }
        let draft = identity.draft(IdentityAct::Revoke(*device), Signer::Device(self.device.id()));
        let signature = draft.sign(self.device.sign_key());
        let mut log = self.identity.clone();
        log.records.push(draft.complete(signature, None));
        Ok(self.extend_identity(log, tx)?)
    }

    pub(super) fn save_names(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.set_meta("device-names", &self.own.names.encode(), self.entropy.as_mut())
    }

    /// Lists what a person should look at, the oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn alarms(&self, tx: &Tx<'_>) -> Result<Vec<Alarm>, Error> {
        let Some(bytes) = tx.meta("alarms")? else {
            return Ok(Vec::new());
        };
        read_alarms(&bytes).ok_or(Error::Store(super::CORRUPT))
    }

    /// Forgets the alarms: somebody has looked at them.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn dismiss_alarms(&mut self, tx: &Tx<'_>) -> Result<(), Error> {
        Ok(tx.forget_meta("alarms")?)
    }

    /// Keeps an alarm; the same one again is not another.
    /// Lists an alarm; returns whether it was not listed already.
    pub(crate) fn alarm(&mut self, now_ms: i64, kind: AlarmKind, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let bytes = tx.meta("alarms")?;
        let mut alarms = bytes.as_deref().map_or(Some(Vec::new()), read_alarms).ok_or(super::CORRUPT)?;
        if alarms.iter().any(|alarm| alarm.kind == kind) {
            return Ok(false);
        }
        if alarms.len() == ALARMS_MAX {
            alarms.remove(0);
        }
        alarms.push(Alarm { kind, since_ms: now_ms });
        tx.set_meta("alarms", &write_alarms(&alarms), self.entropy.as_mut())?;
        Ok(true)
    }

    /// Tells, once until the alarms are dismissed, that another copy of this store writes as this device.
    pub(crate) fn suspect_clone(&mut self, now: Now, workspace: WorkspaceId, tx: &Tx<'_>) -> Result<(), StoreError> {
        if self.alarm(now.wall_ms, AlarmKind::CloneSuspected { workspace }, tx)? {
            self.tell(Event::CloneSuspected { workspace });
        }
        Ok(())
    }
}

/// Of each device what it says it is, and who vouched for it.
fn added(log: &IdentityLog) -> BTreeMap<DeviceId, (Platform, Option<DeviceId>)> {
    let mut added = BTreeMap::new();
    for record in &log.records {
        if let IdentityAct::Add { keys, platform } = record.act() {
            let by = match record.signer() {
                Signer::Root => None,
                Signer::Device(device) => Some(device),
            };
            added.insert(keys.id(), (Platform::from_number(*platform), by));
        }
    }
    added
}

fn write_alarms(alarms: &[Alarm]) -> Vec<u8> {
    let mut out = Vec::new();
    for alarm in alarms {
        let (kind, id) = match &alarm.kind {
            AlarmKind::CloneSuspected { workspace } => (0, workspace.as_bytes()),
            AlarmKind::LinkFailed { device } => (1, device.as_bytes()),
        };
        out.push(kind);
        out.extend_from_slice(id);
        out.extend_from_slice(&alarm.since_ms.to_be_bytes());
    }
    out
}

fn read_alarms(bytes: &[u8]) -> Option<Vec<Alarm>> {
    let mut reader = Reader::new(bytes);
    let mut alarms = Vec::new();
    while reader.remaining() > 0 {
        let kind = match reader.u8().ok()? {
            0 => AlarmKind::CloneSuspected { workspace: WorkspaceId::read(&mut reader).ok()? },
            1 => AlarmKind::LinkFailed { device: DeviceId::read(&mut reader).ok()? },
            _ => return None,
        };
        alarms.push(Alarm { kind, since_ms: reader.i64().ok()? });
    }
    Some(alarms)
}
