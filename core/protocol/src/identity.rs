//! The identity log of a user: which devices are theirs.
//!
//! A user is named by a root key. The root, or a device that is already in the log, adds and revokes
//! devices; a new device counter-signs, so nobody can claim a device that is not theirs. Devices act
//! without asking each other, so the records form a graph, and a workspace may know two branches.
//!
//! Invariant: [`Identity::evaluate`] is a pure function of the root key and the set of records: among
//! concurrent ones a revocation by the root voids what the revoked device signed, revocations
//! included; revocations by devices all apply, and void what the revoked device added.

mod keys;
mod record;

use std::collections::{BTreeMap, BTreeSet};

pub use keys::DeviceKeys;
pub(crate) use keys::is_low_order;
pub use record::{IdentityAct, IdentityDraft, IdentityRecord, Signer};

use crate::bytes::{DecodeError, Reader};
use crate::hash::Digest;
use crate::ids::{DeviceId, UserId};
use crate::keys::{KeyError, VerifyKey};
use crate::limits::IDENTITY_RECORDS_MAX;
use crate::void::{Act, void};
use record::RECORD_BYTES_MIN;

/// Why an identity log does not say what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The bytes are not an identity log.
    Malformed(DecodeError),
    /// A key is weak, or a signature is not the one that is needed.
    Key(KeyError),
    /// A record does not follow the one before it.
    Broken,
    /// The signer is neither the root nor a device that the user had then.
    StrangeSigner,
}

impl std::fmt::Display for IdentityError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not an identity log: {error}"),
            Self::Key(error) => write!(f, "in an identity log: {error}"),
            Self::Broken => f.write_str("an identity record does not follow the one before it"),
            Self::StrangeSigner => f.write_str("a statement about a device was signed by one that is not the user's"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl From<DecodeError> for IdentityError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<KeyError> for IdentityError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// A user's root key and the records so far, as they travel in membership records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLog {
    /// The key that the user's id is derived from.
    pub root: VerifyKey,
    /// The records, each behind those that it stands on.
    pub records: Vec<IdentityRecord>,
}

impl IdentityLog {
    /// Returns the user it belongs to.
    #[must_use]
    pub fn user(&self) -> UserId {
        UserId::derive(&self.root.to_bytes())
    }

    /// Appends root and records.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.root.to_bytes());
        out.extend_from_slice(&(self.records.len() as u16).to_be_bytes());
        for record in &self.records {
            record.write(out);
        }
    }

    /// Reads root and records; signatures are judged by [`Identity::evaluate`].
    ///
    /// # Errors
    /// [`IdentityError`] if the bytes are no identity log or a key in them is weak.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, IdentityError> {
        let root = VerifyKey::parse(&reader.array()?)?;
        let user = UserId::derive(&root.to_bytes());
        let count = reader.count("identity records", IDENTITY_RECORDS_MAX, RECORD_BYTES_MIN)?;
        let mut records = Vec::new();
        for _ in 0..count {
            let record = IdentityRecord::read(reader)?;
            if record.user() != user {
                return Err(IdentityError::Broken);
            }
            records.push(record);
        }
        // Almost always one or two; a list that grows makes room for four.
        records.shrink_to_fit();
        Ok(Self { root, records })
    }

    /// Returns the log with the records of another of the same user, each behind those it stands on.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let both = self.records.iter().chain(&other.records);
        let mut records: BTreeMap<Digest, &IdentityRecord> = both.map(|record| (record.id(), record)).collect();
        let mut placed = BTreeSet::new();
        let mut merged = Vec::with_capacity(records.len());
        // By depth, then id: one set of records has one order. Both logs hold what their records stand on.
        while !records.is_empty() {
            let ready = |record: &IdentityRecord| record.parents().iter().all(|parent| placed.contains(parent));
            let layer: Vec<Digest> = records.iter().filter(|(_, record)| ready(record)).map(|(id, _)| *id).collect();
            if layer.is_empty() {
                break;
            }
            merged.extend(layer.iter().filter_map(|id| records.remove(id)).cloned());
            placed.extend(layer);
        }
        Self { root: self.root, records: merged }
    }
}

/// What an identity log says, once it has been judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub user: UserId,
    /// The devices that the user has.
    pub devices: BTreeMap<DeviceId, DeviceKeys>,
    /// The devices that the user had; their signatures on earlier work stay good.
    pub revoked: BTreeMap<DeviceId, DeviceKeys>,
    /// Of the revoked, those that the root itself revoked.
    pub revoked_by_root: BTreeSet<DeviceId>,
    /// The records that no other stands on, sorted: what the next one stands on.
    pub heads: Vec<Digest>,
}

impl Identity {
    /// Judges every signature and link.
    ///
    /// # Errors
    /// [`IdentityError`] names the first thing that is wrong.
    pub fn evaluate(log: &IdentityLog) -> Result<Self, IdentityError> {
        let graph = Graph::read(log, true)?;
        Ok(graph.identity(log.user(), &(0..log.records.len()).collect()))
    }

    /// Evaluates a log whose parts have been judged before.
    pub(crate) fn of_judged(log: &IdentityLog) -> Result<Self, IdentityError> {
        let graph = Graph::read(log, false)?;
        Ok(graph.identity(log.user(), &(0..log.records.len()).collect()))
    }

    /// Returns the records of a judged log that do not count, because of a revocation beside them.
    ///
    /// # Errors
    /// [`IdentityError`] if a record does not follow those it stands on.
    pub fn void_in(log: &IdentityLog) -> Result<BTreeSet<Digest>, IdentityError> {
        let graph = Graph::read(log, false)?;
        let all = (0..log.records.len()).collect();
        let void = graph.void(&graph.canonical(&all));
        Ok(void.into_iter().filter_map(|at| graph.ids.get(at)).copied().collect())
    }

    /// Returns a draft that stands on all of the log.
    #[must_use]
    pub fn draft(&self, act: IdentityAct, signer: Signer) -> IdentityDraft {
        IdentityDraft::new(self.user, &self.heads, act, signer)
    }

    /// Returns the keys of a device that the user has or had.
    #[must_use]
    pub fn keys(&self, device: &DeviceId) -> Option<&DeviceKeys> {
        self.devices.get(device).or_else(|| self.revoked.get(device))
    }
}

/// The records of a log by place, with what each stands on.
struct Graph<'a> {
    records: Vec<&'a IdentityRecord>,
    ids: Vec<Digest>,
    acts: Vec<Act<DeviceId>>,
    below: Vec<BTreeSet<usize>>,
}

impl<'a> Graph<'a> {
    fn read(log: &'a IdentityLog, verifying: bool) -> Result<Self, IdentityError> {
        let mut graph = Self { records: Vec::new(), ids: Vec::new(), acts: Vec::new(), below: Vec::new() };
        let mut places = BTreeMap::new();
        for (at, record) in log.records.iter().enumerate() {
            let parents: Option<Vec<usize>> = record.parents().iter().map(|id| places.get(id).copied()).collect();
            let parents = parents.ok_or(IdentityError::Broken)?;
            let below = graph.below(&parents);
            let signer = graph.signer(log, record, &below)?;
            if verifying {
                record.verify(&signer)?;
            }
            let act = graph.act(record, parents, &below);
            if places.insert(record.id(), at).is_some() {
                return Err(IdentityError::Broken);
            }
            graph.records.push(record);
            graph.ids.push(record.id());
            graph.acts.push(act);
            graph.below.push(below);
        }
        Ok(graph)
    }

    fn below(&self, parents: &[usize]) -> BTreeSet<usize> {
        let further = parents.iter().filter_map(|parent| self.below.get(*parent)).flatten();
        parents.iter().chain(further).copied().collect()
    }

    fn signer(
        &self,
        log: &IdentityLog,
        record: &IdentityRecord,
        below: &BTreeSet<usize>,
    ) -> Result<VerifyKey, IdentityError> {
        let Signer::Device(device) = record.signer() else {
            return Ok(log.root);
        };
        let then = self.identity(log.user(), below);
        then.devices.get(&device).map(|keys| keys.sign).ok_or(IdentityError::StrangeSigner)
    }

    fn act(&self, record: &IdentityRecord, parents: Vec<usize>, below: &BTreeSet<usize>) -> Act<DeviceId> {
        let (rank, by) = match record.signer() {
            Signer::Root => (1, Vec::new()),
            Signer::Device(device) => (0, vec![device]),
        };
        let removes = match record.act() {
            IdentityAct::Revoke(device) => vec![(*device, 0)],
            IdentityAct::Add { .. } => Vec::new(),
        };
        // Of several records that added the signer, the one with the lowest id that still holds.
        let held = self.standing(below);
        let rests_on = by.iter().filter_map(|device| self.added_by(device, &held)).collect();
        Act { parents, rank, by, needs: 1, removes, rests_on }
    }

    /// Returns the places, among some that hold whatever stands below them, of the adds that hold.
    fn standing(&self, places: &BTreeSet<usize>) -> Vec<usize> {
        let order: Vec<usize> = self.canonical(places);
        let void = self.void(&order);
        let counts = order.into_iter().filter(|at| !void.contains(at));
        let counting: Vec<usize> = counts.collect();
        counting.iter().copied().filter(|at| self.is_held(*at, &counting)).collect()
    }

    /// Returns which of these places, in canonical order, do not count.
    fn void(&self, order: &[usize]) -> BTreeSet<usize> {
        let place_of: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let renamed = |old: &[usize]| old.iter().filter_map(|old| place_of.get(old).copied()).collect();
        let acts: Vec<Act<DeviceId>> = order
            .iter()
            .filter_map(|old| self.acts.get(*old))
            .map(|act| Act { parents: renamed(&act.parents), rests_on: renamed(&act.rests_on), ..act.clone() })
            .collect();
        let void = void(&acts, &BTreeSet::new());
        void.into_iter().filter_map(|new| order.get(new)).copied().collect()
    }

    /// Tells whether a place adds a device that no counting revocation concurrent or later takes away.
    fn is_held(&self, at: usize, counting: &[usize]) -> bool {
        let Some(IdentityAct::Add { keys, .. }) = self.records.get(at).map(|record| record.act()) else {
            return false;
        };
        let revokes = |other: &usize| {
            let act = self.records.get(*other).map(|record| record.act());
            matches!(act, Some(IdentityAct::Revoke(device)) if *device == keys.id())
        };
        let earlier = |other: &usize| self.below.get(at).is_some_and(|below| below.contains(other));
        counting.iter().filter(|other| revokes(other)).all(earlier)
    }

    fn heads(&self, places: &BTreeSet<usize>) -> Vec<Digest> {
        let below: BTreeSet<usize> = places.iter().filter_map(|at| self.below.get(*at)).flatten().copied().collect();
        let mut heads: Vec<Digest> = places.difference(&below).filter_map(|at| self.ids.get(*at)).copied().collect();
        heads.sort_unstable();
        heads
    }

    fn added_by(&self, device: &DeviceId, held: &[usize]) -> Option<usize> {
        let adds = held.iter().copied().filter(|at| {
            let act = self.records.get(*at).map(|record| record.act());
            matches!(act, Some(IdentityAct::Add { keys, .. }) if keys.id() == *device)
        });
        adds.min_by_key(|at| self.ids.get(*at))
    }

    /// Sorts places by depth and id: an order that does not depend on how the log was written.
    fn canonical(&self, places: &BTreeSet<usize>) -> Vec<usize> {
        let mut order: Vec<usize> = places.iter().copied().collect();
        order.sort_by_key(|at| (self.below.get(*at).map(BTreeSet::len), self.ids.get(*at)));
        order
    }

    fn identity(&self, user: UserId, places: &BTreeSet<usize>) -> Identity {
        let held = self.standing(places);
        let mut identity = Identity {
            user,
            devices: BTreeMap::new(),
            revoked: BTreeMap::new(),
            revoked_by_root: BTreeSet::new(),
            heads: self.heads(places),
        };
        for at in places {
            let Some(IdentityAct::Add { keys, .. }) = self.records.get(*at).map(|record| record.act()) else {
                continue;
            };
            let target = if held.contains(at) { &mut identity.devices } else { &mut identity.revoked };
            target.insert(keys.id(), *keys);
        }
        let devices = &identity.devices;
        identity.revoked.retain(|device, _| !devices.contains_key(device));
        for at in places {
            let record = self.records.get(*at).filter(|record| record.signer() == Signer::Root);
            if let Some(IdentityAct::Revoke(device)) = record.map(|record| record.act()) {
                identity.revoked_by_root.insert(*device);
            }
        }
        identity.revoked_by_root.retain(|device| identity.revoked.contains_key(device));
        identity
    }
}

#[cfg(test)]
mod tests {
    use super::keys::LOW_ORDER_X25519;
    use super::*;
    use crate::keys::SignKey;

    fn keys(seed: u8) -> (SignKey, DeviceKeys) {
        let sign = SignKey::from_seed(&[seed; 32]);
        let keys = DeviceKeys::parse(&sign.public(), &[seed; 32]).unwrap();
        (sign, keys)
    }

    #[test]
    fn a_device_belongs_to_the_user_whose_root_it_counter_signed() {
        let root = SignKey::from_seed(&[1; 32]);
        let (device, device_keys) = keys(2);
        let record = IdentityRecord::first(&root, device_keys, 1, &device);
        let log = IdentityLog { root: VerifyKey::parse(&root.public()).unwrap(), records: vec![record] };
        let mut bytes = Vec::new();
        log.write(&mut bytes);
        let read = IdentityLog::read(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, log);
        assert!(Identity::evaluate(&read).unwrap().devices.contains_key(&device_keys.id()));

        let act = IdentityAct::Add { keys: device_keys, platform: 1 };
        let draft = IdentityDraft::new(log.user(), &[], act, Signer::Root);
        let uncounted = draft.clone().complete(draft.sign(&root), Some(draft.sign(&root)));
        let forged = IdentityLog { records: vec![uncounted], ..log };
        assert_eq!(Identity::evaluate(&forged), Err(IdentityError::Key(KeyError::BadSignature)));
    }

    #[test]
    fn low_order_box_keys_are_refused_in_both_encodings() {
        let sign = SignKey::from_seed(&[1; 32]).public();
        for mut point in LOW_ORDER_X25519 {
            assert_eq!(DeviceKeys::parse(&sign, &point), Err(KeyError::WeakKey));
            point[31] |= 0x80;
            assert_eq!(DeviceKeys::parse(&sign, &point), Err(KeyError::WeakKey));
        }
    }
}
