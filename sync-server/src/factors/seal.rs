//! How secrets rest: AES-256-GCM under a key derived from the relay's seed, bound to their user.
//!
//! Invariant: without `relay.key` the file of second factors opens nothing, and a row moved to another
//! user does not open.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use tombolo_protocol::ids::UserId;
use zeroize::Zeroizing;

use super::TotpSecret;

const SALT: &[u8] = b"tombolo-relay/v1/second-factors";
const INFO: &[u8] = b"seal";

/// The key under which second factors rest.
pub struct FactorKey(LessSafeKey);

impl fmt::Debug for FactorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactorKey(secret)")
    }
}

impl FactorKey {
    /// Derives it from the seed of the relay's key; `None` if the cipher is not to be had.
    #[must_use]
    pub fn derive(seed: &[u8; 32]) -> Option<Self> {
        let extracted = Salt::new(HKDF_SHA256, SALT).extract(seed);
        let expanded = extracted.expand(&[INFO], &AES_256_GCM).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(expanded))))
    }

    pub(super) fn seal(&self, user: &UserId, nonce: [u8; NONCE_LEN], secret: &TotpSecret) -> Option<Vec<u8>> {
        let mut sealed = secret.as_bytes().to_vec();
        let (unique, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(user.as_bytes()));
        self.0.seal_in_place_append_tag(unique, aad, &mut sealed).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    pub(super) fn open(&self, user: &UserId, bytes: &[u8]) -> Option<TotpSecret> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let plain = self.0.open_in_place(nonce, Aad::from(user.as_bytes()), &mut opened).ok()?;
        Some(TotpSecret::from_bytes(<&[u8; 20]>::try_from(&*plain).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_for_its_user_under_its_relays_key_and_nowhere_else() {
        let key = FactorKey::derive(&[1; 32]).unwrap();
        let (alice, bob) = (UserId::from_bytes([2; 32]), UserId::from_bytes([3; 32]));
        let secret = TotpSecret::from_bytes(&[7; 20]);
        let sealed = key.seal(&alice, [4; 12], &secret).unwrap();
        assert!(!sealed.windows(8).any(|window| window == [7; 8]));
        assert_eq!(key.open(&alice, &sealed).unwrap().as_bytes(), secret.as_bytes());
        assert!(key.open(&bob, &sealed).is_none());
        assert!(FactorKey::derive(&[9; 32]).unwrap().open(&alice, &sealed).is_none());
        assert!(key.open(&alice, &sealed[..20]).is_none());
    }
}
