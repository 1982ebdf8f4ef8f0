//! The proof that a session's two ends hold the keys they claim.
//!
//! Both sides sign a transcript of relay, host, both nonces and what ties the session to its TLS
//! connection (the exporter of RFC 9266), each in a context of its own. A proof is good for one pair of
//! nonces, hence for one session.
//!
//! Invariant: a device's proof made for one relay, host or TLS connection is worthless at another.

use data_encoding::BASE64URL_NOPAD;

use crate::bytes::put_run;
use crate::hash::hash;
use crate::identity::DeviceKeys;
use crate::ids::{DeviceId, RelayId};
use crate::keys::{KeyError, SignKey, Signature, VerifyKey};

const DEVICE_CONTEXT: &str = "auth-device";
const RELAY_CONTEXT: &str = "auth-relay";
const ENTER_CONTEXT: &str = "auth-enter";

/// The version that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// The label of the TLS exporter that binds a session (RFC 5705, RFC 9266).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// What ties a session to the connection below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Nothing: plain `ws` on loopback, or TLS that ends at a proxy which both sides agreed to.
    None,
    /// 32 bytes exported from the TLS session.
    Exporter([u8; 32]),
}

impl Binding {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.extend_from_slice(&[0; 33]),
            Self::Exporter(bytes) => {
                out.push(1);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// What both sides sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The relay, as it named itself.
    pub relay: RelayId,
    /// The host as the device dialled it, and as the relay saw it in the request.
    pub host: String,
    /// The device's nonce.
    pub device_nonce: [u8; 32],
    /// The relay's nonce.
    pub relay_nonce: [u8; 32],
    /// What ties it to the connection.
    pub binding: Binding,
}

impl Transcript {
    fn encode(&self, device: &DeviceKeys) -> Vec<u8> {
        let mut out = PROTOCOL_VERSION.to_be_bytes().to_vec();
        out.extend_from_slice(self.relay.as_bytes());
        put_run(&mut out, self.host.as_bytes());
        out.extend_from_slice(&self.device_nonce);
        out.extend_from_slice(&self.relay_nonce);
        self.binding.write(&mut out);
        device.write(&mut out);
        out
    }

    /// Signs as the device.
    #[must_use]
    pub fn sign_as_device(&self, device: &DeviceKeys, key: &SignKey) -> Signature {
        key.sign(DEVICE_CONTEXT, &self.encode(device))
    }

    /// Verifies the device's proof.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it was made by another key or for another transcript.
    pub fn verify_device(&self, device: &DeviceKeys, proof: &Signature) -> Result<(), KeyError> {
        device.sign.verify(DEVICE_CONTEXT, &self.encode(device), proof)
    }

    /// Signs as the relay.
    #[must_use]
    pub fn sign_as_relay(&self, device: &DeviceKeys, key: &SignKey) -> Signature {
        key.sign(RELAY_CONTEXT, &self.encode(device))
    }

    /// Verifies the relay's proof.
    ///
    /// # Errors
    /// [`KeyError`] if the relay's id is no key or the proof is not its.
    pub fn verify_relay(&self, device: &DeviceKeys, proof: &Signature) -> Result<(), KeyError> {
        VerifyKey::parse(self.relay.as_bytes())?.verify(RELAY_CONTEXT, &self.encode(device), proof)
    }

    /// Signs with an invite's key, to be shown the records of its workspace in this session.
    #[must_use]
    pub fn sign_as_invite(&self, device: &DeviceKeys, key: &SignKey) -> Signature {
        key.sign(ENTER_CONTEXT, &self.encode(device))
    }

    /// Verifies the proof of an invite's key.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it was made by another key or for another session.
    pub fn verify_invite(&self, device: &DeviceKeys, key: &VerifyKey, proof: &Signature) -> Result<(), KeyError> {
        key.verify(ENTER_CONTEXT, &self.encode(device), proof)
    }
}

/// Returns the nonce that an id token must carry to count for a device and a session's challenge:
/// base64url of a hash over both, so that a token for another device or session is worthless here.
#[must_use]
pub fn oidc_nonce(device: &DeviceId, challenge: &[u8; 32]) -> String {
    BASE64URL_NOPAD.encode(&hash("oidc-nonce", &[device.as_bytes(), challenge]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_for_one_host_or_connection_is_worthless_at_another() {
        let (relay, device) = (SignKey::from_seed(&[1; 32]), SignKey::from_seed(&[2; 32]));
        let keys = DeviceKeys::parse(&device.public(), &[9; 32]).unwrap();
        let here = Transcript {
            relay: RelayId::from_bytes(relay.public()),
            host: "relay.example.org".to_owned(),
            device_nonce: [3; 32],
            relay_nonce: [4; 32],
            binding: Binding::Exporter([5; 32]),
        };
        let proof = here.sign_as_device(&keys, &device);
        assert_eq!(here.verify_device(&keys, &proof), Ok(()));
        let there = Transcript { host: "evil.example.org".to_owned(), ..here.clone() };
        assert_eq!(there.verify_device(&keys, &proof), Err(KeyError::BadSignature));
        let relayed = Transcript { binding: Binding::Exporter([6; 32]), ..here.clone() };
        assert_eq!(relayed.verify_device(&keys, &proof), Err(KeyError::BadSignature));
        assert_eq!(here.verify_relay(&keys, &here.sign_as_relay(&keys, &relay)), Ok(()));
        assert_eq!(here.verify_relay(&keys, &proof), Err(KeyError::BadSignature));
    }
}
