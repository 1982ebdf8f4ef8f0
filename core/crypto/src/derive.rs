//! Deriving keys (HKDF, HMAC with SHA-256) and the one way of using AES-256-GCM.
//!
//! Invariant: every derivation starts with a length-prefixed label, and an AEAD key is used with the
//! nonce it was derived with, for one plaintext only.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use tombolo_protocol::hash::label_bytes;
use zeroize::Zeroizing;

use crate::secret::Secret32;

/// Bytes of an AES-256 key and a 96-bit nonce.
const KEY_NONCE_BYTES: usize = 44;
/// Bytes of the tag behind a ciphertext.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of a salt that a key is derived from.
pub(crate) const SALT_BYTES: usize = 16;

/// Why something sealed does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// It belongs to another epoch, or the secret that came with it does not fit the epoch's id.
    WrongEpoch,
    /// The key is another one, or the bytes were altered, cut or moved.
    Decrypt,
    /// It decrypts, but its author broke the padding rule.
    Padding,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongEpoch => "the key belongs to another epoch",
            Self::Decrypt => "the bytes were altered or moved, or the key is another one",
            Self::Padding => "the author broke the padding rule",
        })
    }
}

impl std::error::Error for OpenError {}

/// Computes HMAC-SHA256 over `label ‖ parts`.
pub(crate) fn mac(key: &[u8], label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(&label_bytes(label));
    for part in parts {
        context.update(part);
    }
    tag_bytes(&context.sign())
}

/// HKDF-Extract.
pub(crate) fn extract(salt: &[u8], secret: &[u8]) -> Secret32 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    Secret32::from_bytes(tag_bytes(&hmac::sign(&key, secret)))
}

/// HKDF-Expand with `info = label ‖ parts`.
#[expect(clippy::expect_used, reason = "HKDF refuses only lengths over 8160 bytes; all lengths here are constants")]
pub(crate) fn expand<const N: usize>(prk: &Secret32, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let label = label_bytes(label);
    let info: Vec<&[u8]> = std::iter::once(label.as_slice()).chain(parts.iter().copied()).collect();
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, prk.as_bytes());
    let mut out = Zeroizing::new([0; N]);
    prk.expand(&info, Length(N)).and_then(|okm| okm.fill(out.as_mut_slice())).expect("the length is short");
    out
}

/// HKDF-Expand to another secret.
pub(crate) fn expand_secret(prk: &Secret32, label: &str, parts: &[&[u8]]) -> Secret32 {
    Secret32::from_bytes(*expand::<32>(prk, label, parts))
}

/// A key and its nonce, for one plaintext.
pub(crate) struct KeyNonce(Zeroizing<[u8; KEY_NONCE_BYTES]>);

impl KeyNonce {
    /// Derives them.
    pub(crate) fn derive(prk: &Secret32, label: &str, parts: &[&[u8]]) -> Self {
        Self(expand(prk, label, parts))
    }

    /// Takes them from a password hash.
    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; KEY_NONCE_BYTES]>) -> Self {
        Self(bytes)
    }

    /// Appends `ciphertext ‖ tag` to `out`.
    #[expect(clippy::expect_used, reason = "GCM refuses only 64 GiB and more; all that is sealed is bounded far below")]
    pub(crate) fn seal(&self, aad: &[u8], mut plaintext: Zeroizing<Vec<u8>>, out: &mut Vec<u8>) {
        let (key, nonce) = self.open_parts();
        let tag =
            key.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut plaintext).expect("the plaintext is short");
        out.extend_from_slice(&plaintext);
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens `ciphertext ‖ tag`.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (key, nonce) = self.open_parts();
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let length = key.open_in_place(nonce, Aad::from(aad), &mut bytes).map_err(|_| OpenError::Decrypt)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    #[expect(clippy::expect_used, reason = "the parts have the lengths of an AES-256 key and a GCM nonce")]
    fn open_parts(&self) -> (LessSafeKey, Nonce) {
        let (key, nonce) = self.0.split_at(32);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key");
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("12 bytes are a nonce");
        (LessSafeKey::new(key), nonce)
    }
}

/// Appends a field behind its `u32` length, so that two lists of fields never read the same.
pub(crate) fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        tombolo_protocol::bytes::put_run(&mut out, part);
    }
    out
}

/// Keeps the first `N` bytes of a digest.
pub(crate) fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = *from;
    }
    out
}

/// Keeps the first 16 bytes of an HMAC.
pub(crate) fn half(tag: &[u8; 32]) -> [u8; 16] {
    first(tag)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn tag_bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    out
}
