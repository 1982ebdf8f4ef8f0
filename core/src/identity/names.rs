//! What people call their devices: told to workspaces in the sealed section of Devices records.
//!
//! Sealed is `u16 n | (device 32 | i64 since | u8 length | name)ⁿ`, behind the id of the epoch it is
//! sealed under. Of two names for one device the later one holds, then the greater.
//!
//! Invariant: names are at most [`NAME_BYTES_MAX`] and for at most [`NAMES_MAX`] devices.

use std::collections::BTreeMap;

use tombolo_protocol::bytes::{DecodeError, Reader};
use tombolo_protocol::ids::{DeviceId, EpochId, UserId};
use tombolo_protocol::limits::IDENTITY_RECORDS_MAX;
use tombolo_protocol::record::{Record, RecordBody};

use crate::workspace::Workspace;

/// Bytes of a device's name: what fits a line.
pub(super) const NAME_BYTES_MAX: usize = 64;
/// Devices that have names: as many as an identity log can have.
const NAMES_MAX: usize = IDENTITY_RECORDS_MAX;
/// The label of the sealed section.
const LABEL: &str = "device-names";

/// The names of a user's devices, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(BTreeMap<DeviceId, (i64, String)>);

impl Names {
    pub(super) fn of(&self, device: &DeviceId) -> Option<&str> {
        self.0.get(device).map(|(_, name)| name.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names a device; a name that is too long is cut.
    pub(super) fn set(&mut self, device: DeviceId, since_ms: i64, name: &str) {
        let mut name = name.to_owned();
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        self.0.insert(device, (since_ms, name));
    }

    pub(super) fn remove(&mut self, device: &DeviceId) -> Option<(i64, String)> {
        self.0.remove(device)
    }

    /// Takes what is newer in another; returns whether anything was.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (device, named) in &other.0 {
            if self.0.get(device).is_none_or(|held| held < named) && (self.0.len() < NAMES_MAX) {
                self.0.insert(*device, named.clone());
                changed = true;
            }
        }
        changed
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = (self.0.len() as u16).to_be_bytes().to_vec();
        for (device, (since, name)) in &self.0 {
            out.extend_from_slice(device.as_bytes());
            out.extend_from_slice(&since.to_be_bytes());
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Self::read(&mut Reader::new(bytes)).ok()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid { field: "device name" };
        let mut names = BTreeMap::new();
        for _ in 0..reader.count("device names", NAMES_MAX, 41)? {
            let (device, since) = (DeviceId::read(reader)?, reader.i64()?);
            let length = usize::from(reader.u8()?);
            let name = String::from_utf8(reader.take(length)?.to_vec()).map_err(|_| INVALID)?;
            names.insert(device, (since, name));
        }
        reader.finish()?;
        Ok(Self(names))
    }
}

impl Workspace {
    /// Reads the names that a user's devices were given here, by devices of that user.
    pub(super) fn names_of(&self, user: &UserId) -> Names {
        let mut names = Names::default();
        for record in self.membership.counting() {
            let by_user = || self.view.device(&record.author()).is_some_and(|device| device.user == *user);
            if matches!(record.body(), RecordBody::Devices(_))
                && by_user()
                && let Some(told) = self.open_names(record)
            {
                names.merge(&told);
            }
        }
        names
    }

    /// Reads what all users call their devices here, as far as this device holds the keys: of each device the
    /// name that its own user gave last.
    pub(crate) fn device_names(&self) -> BTreeMap<DeviceId, String> {
        let mut all: BTreeMap<DeviceId, (i64, String)> = BTreeMap::new();
        let user_of = |device: &DeviceId| self.view.device(device).map(|standing| standing.user);
        for record in self.membership.in_order() {
            let RecordBody::Devices(_) = record.body() else {
                continue;
            };
            let (author, told) = (user_of(&record.author()), self.open_names(record).unwrap_or_default());
            for (device, named) in told.0.into_iter().filter(|(device, _)| user_of(device) == author) {
                let held = all.entry(device).or_default();
                *held = named.max(std::mem::take(held));
            }
        }
        all.into_iter().map(|(device, (_, name))| (device, name)).collect()
    }

    fn open_names(&self, record: &Record) -> Option<Names> {
        let (epoch, sealed) = record.secret().split_first_chunk::<32>()?;
        let held = self.epochs.get(&EpochId::from_bytes(*epoch))?;
        let names = held.keys.open_section(LABEL, self.id.as_bytes(), sealed).ok()?;
        Names::decode(&names)
    }

    /// Seals names under the present epoch; nothing if there is none.
    pub(super) fn seal_names(&self, names: &Names, entropy: &mut dyn tombolo_crypto::Entropy) -> Vec<u8> {
        let Some((epoch, held)) = self.view.epoch().and_then(|epoch| Some((epoch, self.epochs.get(&epoch)?))) else {
            return Vec::new();
        };
        let sealed = held.keys.seal_section(LABEL, self.id.as_bytes(), &names.encode(), entropy);
        [epoch.as_bytes().as_slice(), &sealed].concat()
    }
}
