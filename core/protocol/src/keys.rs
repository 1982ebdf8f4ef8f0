//! Ed25519 keys: signing, strict verification, and the refusal of weak public keys.
//!
//! Invariant: a [`VerifyKey`] is the one encoding of a point that is not of small order, so no signature
//! verifies under it for every message, and one key has one id; secrets are wiped on drop and never
//! printed. Verification is RFC 8032 in the strict reading: S and R canonical, R not of small order,
//! and the equation without the cofactor.

#[cfg(feature = "verify-memo")]
pub mod memo;

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// An Ed25519 signature as it travels.
pub type Signature = [u8; SIGNATURE_BYTES];

/// Why a public key or a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are not the canonical encoding of a point, or one of small order: anybody could sign
    /// for it.
    WeakKey,
    /// The signature is not this key's over these bytes.
    BadSignature,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WeakKey => "the public key is weak or no key at all",
            Self::BadSignature => "the signature does not fit",
        })
    }
}

impl std::error::Error for KeyError {}

/// A secret that signs: of a device, a user's root, an invite or a relay.
pub struct SignKey(SigningKey);

impl SignKey {
    /// Derives the key pair of a 32-byte seed (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the seed, to be sealed at once.
    #[must_use]
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Returns the public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `context ‖ 0 ‖ message`; the context keeps one kind of statement from passing for another.
    #[must_use]
    pub fn sign(&self, context: &str, message: &[u8]) -> Signature {
        let framed = framed(context, message);
        let signature = self.0.sign(&framed).to_bytes();
        #[cfg(feature = "verify-memo")]
        memo::note_made(&self.public(), &framed, &signature);
        signature
    }
}

impl fmt::Debug for SignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignKey(secret)")
    }
}

/// A public key that was looked at and found canonical and not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyKey(ed25519_dalek::VerifyingKey);

impl VerifyKey {
    /// Parses and judges a public key.
    ///
    /// # Errors
    /// [`KeyError::WeakKey`] if it is no point of the curve, not in its canonical encoding, or of small
    /// order.
    pub fn parse(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        #[cfg(feature = "verify-memo")]
        return memo::parsed_or_else(bytes, || Self::read(bytes));
        #[cfg(not(feature = "verify-memo"))]
        Self::read(bytes)
    }

    fn read(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
            // Where x is 0, the sign has two readings; but those two points are of small order.
            Ok(key) if !key.is_weak() && is_reduced(bytes) => Ok(Self(key)),
            _ => Err(KeyError::WeakKey),
        }
    }

    /// Returns its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Verifies a signature over `context ‖ 0 ‖ message`.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it is not this key's.
    pub fn verify(&self, context: &str, message: &[u8], signature: &Signature) -> Result<(), KeyError> {
        let framed = framed(context, message);
        #[cfg(feature = "verify-memo")]
        return memo::or_else(self.0.as_bytes(), &framed, signature, || self.verify_framed(&framed, signature));
        #[cfg(not(feature = "verify-memo"))]
        self.verify_framed(&framed, signature)
    }

    fn verify_framed(&self, framed: &[u8], signature: &Signature) -> Result<(), KeyError> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(framed, &signature).map_err(|_| KeyError::BadSignature)
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        write!(f, "VerifyKey({})", data_encoding::HEXLOWER.encode(&bytes).get(..8).unwrap_or_default())
    }
}

/// Tells whether the y coordinate is below p = 2^255 − 19: so a point has one encoding, and it costs no inversion.
fn is_reduced(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff) || *low < 0xed
}

fn framed(context: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + context.len() + message.len());
    bytes.extend_from_slice(b"tombolo/v1/");
    bytes.extend_from_slice(context.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(message);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The eight points of small order, compressed (the low-order list of RFC 7748 §6 on Edwards form).
    const SMALL_ORDER: [&str; 8] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];

    #[test]
    fn the_eight_small_order_points_are_no_keys() {
        for hex in SMALL_ORDER {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            assert_eq!(VerifyKey::parse(&bytes.try_into().unwrap()), Err(KeyError::WeakKey), "{hex}");
        }
    }

    #[test]
    fn a_key_has_one_encoding() {
        // The y coordinates from p to 2^255 − 1 encode y − p a second time.
        let mut refused = 0;
        for first in 0xed..=0xff {
            for last in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (first, last);
                assert_eq!(VerifyKey::parse(&bytes), Err(KeyError::WeakKey));
                refused += u32::from(ed25519_dalek::VerifyingKey::from_bytes(&bytes).is_ok());
            }
        }
        assert!(refused > 8, "the library alone takes {refused} of them");
    }

    #[test]
    fn a_signature_counts_for_its_own_context_only() {
        let key = SignKey::from_seed(&[7; 32]);
        let public = VerifyKey::parse(&key.public()).unwrap();
        let signature = key.sign("entry-sig", b"x");
        assert_eq!(public.verify("entry-sig", b"x", &signature), Ok(()));
        assert_eq!(public.verify("record-sig", b"x", &signature), Err(KeyError::BadSignature));
        assert_eq!(public.verify("entry-sig", b"y", &signature), Err(KeyError::BadSignature));
    }

    #[test]
    fn a_secret_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", SignKey::from_seed(&[7; 32])), "SignKey(secret)");
    }
}
