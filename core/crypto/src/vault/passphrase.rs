//! A key in a file, sealed under a passphrase by Argon2id.
//!
//! Layout: `"TBP1" | memory KiB u32 | passes u32 | lanes u32 | salt 16 | sealed key 48`; all in front
//! of the sealed key is its associated data.
//!
//! Invariant: a file that asks for weaker hashing than this version writes is refused before the
//! passphrase is used, so altering a file never makes guessing cheap; nor can it ask for so much that
//! opening it exhausts the machine.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tombolo_protocol::bytes::{DecodeError, Reader};
use zeroize::Zeroizing;

use super::file::{read_private, write_private};
use super::{KeyVault, VaultError};
use crate::derive::{SALT_BYTES, half, mac};
use crate::entropy::{Entropy, array};
use crate::kdf::{Cost, CostError};
use crate::secret::Secret32;

const MAGIC: [u8; 4] = *b"TBP1";
const SEALED_BYTES: usize = 48;

/// Keeps the key in a file that opens with a passphrase.
pub struct PassphraseVault {
    path: PathBuf,
    passphrase: Zeroizing<String>,
    entropy: Mutex<Box<dyn Entropy + Send>>,
}

impl PassphraseVault {
    /// Names the file, which need not exist, and takes the passphrase.
    pub fn new(path: impl Into<PathBuf>, passphrase: &str, entropy: Box<dyn Entropy + Send>) -> Self {
        Self { path: path.into(), passphrase: Zeroizing::new(passphrase.to_owned()), entropy: Mutex::new(entropy) }
    }

    /// A salt that differs for each key, even if the source of randomness is stuck: one passphrase
    /// must not seal two keys under one AEAD key.
    fn hedged_salt(&self, key: &Secret32) -> [u8; SALT_BYTES] {
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        let random: [u8; SALT_BYTES] = array(&mut **entropy);
        half(&mac(key.as_bytes(), "vault-salt", &[&random]))
    }

    fn open(&self, bytes: &[u8]) -> Result<Secret32, VaultError> {
        let damaged = || VaultError::Damaged { path: self.path.clone() };
        let (cost, sealed) = read(bytes).map_err(|_| damaged())?;
        cost.check().map_err(|error| match error {
            CostError::Downgrade { memory_kib, passes } => VaultError::KdfDowngrade { memory_kib, passes },
            CostError::TooCostly { .. } => damaged(),
        })?;
        let key = cost.key(&self.passphrase).ok_or(VaultError::Kdf)?;
        let key = key.open(&header(&cost), &sealed).map_err(|_| VaultError::WrongPassphrase)?;
        let key = <[u8; 32]>::try_from(key.as_slice()).map_err(|_| damaged())?;
        Ok(Secret32::from_bytes(key))
    }
}

impl KeyVault for PassphraseVault {
    fn load(&self) -> Result<Option<Secret32>, VaultError> {
        read_private(&self.path)?.map(|bytes| self.open(&bytes)).transpose()
    }

    fn save(&self, key: &Secret32) -> Result<(), VaultError> {
        if self.load()?.is_some_and(|held| held == *key) {
            return Ok(());
        }
        let cost = Cost::current(self.hedged_salt(key));
        let mut out = header(&cost);
        let aad = out.clone();
        let plaintext = Zeroizing::new(key.as_bytes().to_vec());
        cost.key(&self.passphrase).ok_or(VaultError::Kdf)?.seal(&aad, plaintext, &mut out);
        write_private(&self.path, &out)
    }
}

impl fmt::Debug for PassphraseVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassphraseVault({}, secret)", self.path.display())
    }
}

fn header(cost: &Cost) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    cost.write(&mut out);
    out
}

fn read(bytes: &[u8]) -> Result<(Cost, [u8; SEALED_BYTES]), DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC {
        return Err(DecodeError::Magic);
    }
    let cost = Cost::read(&mut reader)?;
    let sealed = reader.array()?;
    reader.finish()?;
    Ok((cost, sealed))
}
