//! Small sealed values beside the entries: the encrypted section of a record, a status row.
//!
//! Invariant: `salt ‖ ciphertext ‖ tag`; each value has a key of its own, bound to its label and
//! context, so a value that is moved does not open. The salt is hedged with the epoch's own key.

use zeroize::Zeroizing;

use crate::derive::{KeyNonce, OpenError, SALT_BYTES, expand, framed, half, mac};
use crate::entropy::{Entropy, array};
use crate::epoch::EpochKeys;
use crate::padding::{pad, unpad};

impl EpochKeys {
    /// Seals a value; `label` says what it is and `context` where it stands.
    pub fn seal_section(&self, label: &str, context: &[u8], plaintext: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
        let aad = framed(&[label.as_bytes(), context]);
        let random: [u8; SALT_BYTES] = array(entropy);
        let salt_key = expand::<32>(self.prk(), "section-salt", &[]);
        let salt = half(&mac(salt_key.as_slice(), "section-salt", &[&random, &aad, plaintext]));
        let mut out = salt.to_vec();
        self.section_key(&salt, &aad).seal(&aad, pad(plaintext), &mut out);
        out
    }

    /// Opens a value.
    ///
    /// # Errors
    /// [`OpenError::Decrypt`] if any byte, the label or the context is another one,
    /// [`OpenError::Padding`] if its author broke the padding rule.
    pub fn open_section(&self, label: &str, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (salt, sealed) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(OpenError::Decrypt)?;
        let aad = framed(&[label.as_bytes(), context]);
        unpad(self.section_key(salt, &aad).open(&aad, sealed)?)
    }

    fn section_key(&self, salt: &[u8; SALT_BYTES], aad: &[u8]) -> KeyNonce {
        KeyNonce::derive(self.prk(), "section", &[salt, aad])
    }
}
