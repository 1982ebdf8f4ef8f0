//! A record that adds a device, while the new device and the one that vouches for it are apart.
//!
//! Invariant: both sign the same body, which names the user, the record before, the new device's keys
//! and the signer; the record exists only with both signatures.

use super::{DEVICE_CONTEXT, DeviceKeys, IdentityRecord, SIGNER_CONTEXT, Signer};
use crate::hash::Digest;
use crate::ids::{DeviceId, UserId};
use crate::keys::{KeyError, SignKey, Signature};

/// An identity record that nobody has signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    user: UserId,
    record: IdentityRecord,
}

impl Addition {
    /// Says that `signer`, a device of the user, adds a device behind the record `prev`.
    #[must_use]
    pub fn new(user: UserId, prev: Digest, signer: DeviceId, keys: DeviceKeys, platform: u8) -> Self {
        let signer = Signer::Device(signer);
        let record = IdentityRecord { prev, keys, platform, signer, signature: [0; 64], counter_signature: [0; 64] };
        Self { user, record }
    }

    /// Signs as the new device: "I am this user's".
    #[must_use]
    pub fn counter_sign(&self, device: &SignKey) -> Signature {
        device.sign(DEVICE_CONTEXT, &self.record.body(&self.user))
    }

    /// Checks the new device's signature.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it is not over this body by this device.
    pub fn verify(&self, counter_signature: &Signature) -> Result<(), KeyError> {
        self.record.keys.sign.verify(DEVICE_CONTEXT, &self.record.body(&self.user), counter_signature)
    }

    /// Signs as the device that vouches, which makes the record whole.
    #[must_use]
    pub fn certify(mut self, signer: &SignKey, counter_signature: Signature) -> IdentityRecord {
        self.record.signature = signer.sign(SIGNER_CONTEXT, &self.record.body(&self.user));
        self.record.counter_signature = counter_signature;
        self.record
    }
}
