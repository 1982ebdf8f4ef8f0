//! The public keys of a device, looked at before anything trusts them.
//!
//! Invariant: neither key of a [`DeviceKeys`] is of small order.

use super::IdentityError;
use crate::bytes::Reader;
use crate::ids::DeviceId;
use crate::keys::{KeyError, VerifyKey};

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
        if is_low_order(box_public) {
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

/// Tells whether an X25519 key is a point of low order: what is wrapped to it, anybody can open.
pub(crate) fn is_low_order(point: &[u8; 32]) -> bool {
    LOW_ORDER_X25519.contains(&masked(point))
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
pub(super) const LOW_ORDER_X25519: [[u8; 32]; 7] = {
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
