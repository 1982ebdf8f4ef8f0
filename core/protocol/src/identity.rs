//! The identity log of a user: which devices are theirs.
//!
//! A user is named by a root key. The root, or a device that is already in the log, adds a device;
//! the new device counter-signs, so nobody can claim a device that is not theirs.
//!
//! Invariant: [`Identity::evaluate`] is a pure function of the root key and the records in order;
//! each record names the hash of the one before.

mod addition;

use std::collections::BTreeMap;

pub use addition::Addition;

use crate::bytes::{DecodeError, Reader};
use crate::hash::{Digest, hash};
use crate::ids::{DeviceId, UserId};
use crate::keys::{KeyError, SignKey, Signature, VerifyKey};
use crate::limits::IDENTITY_RECORDS_MAX;

const MAGIC: [u8; 4] = *b"TBI1";
const SIGNER_CONTEXT: &str = "identity-sig";
/// Bytes of a record that the root signed; one signed by a device names it with 32 more.
const RECORD_BYTES_MIN: usize = 263;
const DEVICE_CONTEXT: &str = "identity-device-sig";

/// The public keys of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    /// Ed25519: what it signs with.
    pub sign: VerifyKey,
    /// X25519: what secrets are wrapped to.
    pub box_public: [u8; 32],
}

impl DeviceKeys {
    /// Judges the two public keys.
    ///
    /// # Errors
    /// [`KeyError::WeakKey`] if either is of small order.
    pub fn parse(sign: &[u8; 32], box_public: &[u8; 32]) -> Result<Self, KeyError> {
        if LOW_ORDER_X25519.contains(&masked(box_public)) {
            return Err(KeyError::WeakKey);
        }
        Ok(Self { sign: VerifyKey::parse(sign)?, box_public: *box_public })
    }

    /// Returns the device's id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId::derive(&self.sign.to_bytes(), &self.box_public)
    }

    /// Reads and judges the two keys.
    ///
    /// # Errors
    /// [`IdentityError`] if bytes are missing or a key is weak.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, IdentityError> {
        let (sign, box_public) = (reader.array()?, reader.array()?);
        Ok(Self::parse(&sign, &box_public)?)
    }

    /// Appends the two keys.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sign.to_bytes());
        out.extend_from_slice(&self.box_public);
    }
}

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
    /// The signer is neither the root nor a device of the user.
    StrangeSigner,
}

impl std::fmt::Display for IdentityError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not an identity log: {error}"),
            Self::Key(error) => write!(f, "in an identity log: {error}"),
            Self::Broken => f.write_str("an identity record does not follow the one before it"),
            Self::StrangeSigner => f.write_str("a device was added by one that is not the user's"),
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

/// Who vouches for a new device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signer {
    Root,
    Device(DeviceId),
}

/// One statement: "this device is mine".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRecord {
    prev: Digest,
    keys: DeviceKeys,
    platform: u8,
    signer: Signer,
    signature: Signature,
    counter_signature: Signature,
}

impl IdentityRecord {
    const ADD_DEVICE: u8 = 1;

    /// Adds a device on the word of the user's root, as the first record of a log.
    #[must_use]
    pub fn first(root: &SignKey, keys: DeviceKeys, platform: u8, device: &SignKey) -> Self {
        let mut record = Self {
            prev: [0; 32],
            keys,
            platform,
            signer: Signer::Root,
            signature: [0; 64],
            counter_signature: [0; 64],
        };
        let body = record.body(&UserId::derive(&root.public()));
        record.signature = root.sign(SIGNER_CONTEXT, &body);
        record.counter_signature = device.sign(DEVICE_CONTEXT, &body);
        record
    }

    /// Adds a device on the word of one that the identity already has.
    #[must_use]
    pub fn next(
        identity: &Identity,
        signer: (DeviceId, &SignKey),
        keys: DeviceKeys,
        platform: u8,
        device: &SignKey,
    ) -> Self {
        let addition = Addition::new(identity.user, identity.head, signer.0, keys, platform);
        let counter_signature = addition.counter_sign(device);
        addition.certify(signer.1, counter_signature)
    }

    /// Returns what both parties sign; it binds the user.
    fn body(&self, user: &UserId) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(Self::ADD_DEVICE);
        out.extend_from_slice(user.as_bytes());
        out.extend_from_slice(&self.prev);
        self.keys.write(&mut out);
        out.push(self.platform);
        match self.signer {
            Signer::Root => out.push(0),
            Signer::Device(device) => {
                out.push(1);
                out.extend_from_slice(device.as_bytes());
            }
        }
        out
    }

    fn write(&self, user: &UserId, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body(user));
        out.extend_from_slice(&self.signature);
        out.extend_from_slice(&self.counter_signature);
    }

    fn read(reader: &mut Reader<'_>, user: &UserId) -> Result<Self, IdentityError> {
        if reader.array()? != MAGIC {
            return Err(DecodeError::Magic.into());
        }
        match reader.u8()? {
            Self::ADD_DEVICE => {}
            kind => {
                return Err(DecodeError::Unknown { field: "identity record", value: u64::from(kind) }.into());
            }
        }
        if UserId::read(reader)? != *user {
            return Err(IdentityError::Broken);
        }
        let prev = reader.array()?;
        let keys = DeviceKeys::read(reader)?;
        let platform = reader.u8()?;
        let signer = match reader.u8()? {
            0 => Signer::Root,
            1 => Signer::Device(DeviceId::read(reader)?),
            value => {
                return Err(DecodeError::Unknown { field: "signer", value: u64::from(value) }.into());
            }
        };
        Ok(Self { prev, keys, platform, signer, signature: reader.array()?, counter_signature: reader.array()? })
    }

    fn digest(&self, user: &UserId) -> Digest {
        hash("identity-record", &[&self.body(user)])
    }
}

/// A user's root key and the records so far, as they travel in membership records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLog {
    /// The key that the user's id is derived from.
    pub root: VerifyKey,
    /// The records, oldest first.
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
        let user = self.user();
        for record in &self.records {
            record.write(&user, out);
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
            records.push(IdentityRecord::read(reader, &user)?);
        }
        Ok(Self { root, records })
    }
}

/// What an identity log says, once it has been judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub user: UserId,
    /// The user's devices.
    pub devices: BTreeMap<DeviceId, DeviceKeys>,
    /// Hash of the last record.
    pub head: Digest,
}

impl Identity {
    /// Judges every signature and link.
    ///
    /// # Errors
    /// [`IdentityError`] names the first thing that is wrong.
    pub fn evaluate(log: &IdentityLog) -> Result<Self, IdentityError> {
        let user = log.user();
        let mut identity = Self { user, devices: BTreeMap::new(), head: [0; 32] };
        for record in &log.records {
            if record.prev != identity.head {
                return Err(IdentityError::Broken);
            }
            let signer = match &record.signer {
                Signer::Root => log.root,
                Signer::Device(device) => identity.devices.get(device).ok_or(IdentityError::StrangeSigner)?.sign,
            };
            let body = record.body(&user);
            signer.verify(SIGNER_CONTEXT, &body, &record.signature)?;
            record.keys.sign.verify(DEVICE_CONTEXT, &body, &record.counter_signature)?;
            identity.devices.insert(record.keys.id(), record.keys);
            identity.head = record.digest(&user);
        }
        Ok(identity)
    }
}

/// X25519 ignores the top bit, so two encodings name one point.
fn masked(point: &[u8; 32]) -> [u8; 32] {
    let mut masked = *point;
    if let Some(last) = masked.last_mut() {
        *last &= 0x7f;
    }
    masked
}

/// The points of low order on Curve25519 (RFC 7748 §6.1; the list of its errata), top bit cleared.
const LOW_ORDER_X25519: [[u8; 32]; 7] = {
    const ORDER_8_A: [u8; 32] = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    const ORDER_8_B: [u8; 32] = [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ];
    [small(0, 0x00), small(1, 0x00), ORDER_8_A, ORDER_8_B, near_p(0xec), near_p(0xed), near_p(0xee)]
};

const fn small(value: u8, last: u8) -> [u8; 32] {
    let mut point = [0; 32];
    point[0] = value;
    point[31] = last;
    point
}

/// p − 1, p and p + 1 differ in their first byte only.
const fn near_p(first: u8) -> [u8; 32] {
    let mut point = [0xff; 32];
    point[0] = first;
    point[31] = 0x7f;
    point
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let log = IdentityLog { root: VerifyKey::parse(&root.public()).unwrap(), records: vec![record.clone()] };
        let mut bytes = Vec::new();
        log.write(&mut bytes);
        let read = IdentityLog::read(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, log);
        assert!(Identity::evaluate(&read).unwrap().devices.contains_key(&device_keys.id()));

        let mut uncounted = record;
        uncounted.counter_signature = uncounted.signature;
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
