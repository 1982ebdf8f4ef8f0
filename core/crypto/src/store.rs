//! How values rest in the store: each sealed by itself, bound to its table, column and key.
//!
//! Form: `salt 16 ‖ ciphertext ‖ tag 16`.
//!
//! Invariant: a value that is moved to another row, column or table does not open; neither a schema
//! change nor a new column asks for re-encryption.

use std::fmt;

use zeroize::Zeroizing;

use crate::derive::{KeyNonce, OpenError, SALT_BYTES, TAG_BYTES, expand_secret, framed, half, mac};
use crate::entropy::{Entropy, array};
use crate::secret::Secret32;

/// Separates these values from everything else ever sealed under the same key.
const CONSTANT: &[u8] = b"tombolo/v1/store-value";

/// Seals and opens the values of one store.
pub struct StoreCipher {
    prk: Secret32,
    salt_key: Secret32,
}

impl StoreCipher {
    /// Takes the store's key, as a vault holds it.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the key moves in, so that no copy stays with the caller")]
    pub fn new(key: Secret32) -> Self {
        Self { prk: expand_secret(&key, "store", &[]), salt_key: expand_secret(&key, "store-salt", &[]) }
    }

    /// Seals a value for its place.
    pub fn seal(
        &self,
        table: &'static str,
        column: &'static str,
        key: &[u8],
        value: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        let aad = place(table, column, key);
        let salt = self.hedged_salt(&aad, value, entropy);
        let mut out = Vec::with_capacity(SALT_BYTES + value.len() + TAG_BYTES);
        out.extend_from_slice(&salt);
        self.value_key(&salt, &aad).seal(&aad, Zeroizing::new(value.to_vec()), &mut out);
        out
    }

    /// Opens a value at its place.
    ///
    /// # Errors
    /// [`OpenError::Decrypt`] if it was altered, stands at another place, or has another store's key.
    pub fn open(&self, table: &str, column: &str, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (salt, sealed) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(OpenError::Decrypt)?;
        let aad = place(table, column, key);
        let mut plaintext = self.value_key(salt, &aad).open(&aad, sealed)?;
        Ok(std::mem::take(&mut *plaintext))
    }

    /// A salt that repeats for the same value at the same place only, whatever the entropy does: a
    /// stuck source or a copied machine must not use one key for two values.
    fn hedged_salt(&self, aad: &[u8], value: &[u8], entropy: &mut dyn Entropy) -> [u8; SALT_BYTES] {
        let random: [u8; SALT_BYTES] = array(entropy);
        half(&mac(self.salt_key.as_bytes(), "store-salt", &[&random, aad, value]))
    }

    fn value_key(&self, salt: &[u8; SALT_BYTES], aad: &[u8]) -> KeyNonce {
        KeyNonce::derive(&self.prk, "store-value", &[salt, aad])
    }
}

impl fmt::Debug for StoreCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreCipher(secret)")
    }
}

fn place(table: &str, column: &str, key: &[u8]) -> Vec<u8> {
    framed(&[CONSTANT, table.as_bytes(), column.as_bytes(), key])
}
