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

use argon2::{Algorithm, Argon2, Params, Version};
use tombolo_protocol::bytes::{DecodeError, Reader};
use zeroize::Zeroizing;

use super::file::{read_private, write_private};
use super::{KeyVault, VaultError};
use crate::derive::{KeyNonce, half, mac};
use crate::entropy::{Entropy, array};
use crate::secret::Secret32;

const MAGIC: [u8; 4] = *b"TBP1";
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Kibibytes a file may ask for: later versions may raise the cost, a phone still opens it.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// Passes a file may ask for, within the same reason.
const PASSES_MAX: u32 = 32;
/// Lanes a file may ask for.
const LANES_MAX: u32 = 16;
const SALT_BYTES: usize = 16;
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
        let (cost, sealed) = Cost::read(bytes).map_err(|_| damaged())?;
        if cost.memory_kib < MEMORY_KIB || cost.passes < PASSES {
            return Err(VaultError::KdfDowngrade { memory_kib: cost.memory_kib, passes: cost.passes });
        }
        let within = cost.memory_kib <= MEMORY_KIB_MAX && cost.passes <= PASSES_MAX;
        if !within || !(1..=LANES_MAX).contains(&cost.lanes) {
            return Err(damaged());
        }
        let key = cost.key(&self.passphrase)?.open(&cost.encode(), &sealed).map_err(|_| VaultError::WrongPassphrase)?;
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
        let cost = Cost { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt: self.hedged_salt(key) };
        let mut out = cost.encode();
        let aad = out.clone();
        let plaintext = Zeroizing::new(key.as_bytes().to_vec());
        cost.key(&self.passphrase)?.seal(&aad, plaintext, &mut out);
        write_private(&self.path, &out)
    }
}

impl fmt::Debug for PassphraseVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassphraseVault({}, secret)", self.path.display())
    }
}

/// What hashing the passphrase costs, as the file says.
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
}

impl Cost {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for number in [self.memory_kib, self.passes, self.lanes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.salt);
        out
    }

    fn read(bytes: &[u8]) -> Result<(Self, [u8; SEALED_BYTES]), DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let cost =
            Self { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()?, salt: reader.array()? };
        let sealed = reader.array()?;
        reader.finish()?;
        Ok((cost, sealed))
    }

    fn key(&self, passphrase: &str) -> Result<KeyNonce, VaultError> {
        let mut bytes = Zeroizing::new([0; 44]);
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(bytes.len())).map_err(|_| VaultError::Kdf)?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, bytes.as_mut_slice())
            .map_err(|_| VaultError::Kdf)?;
        Ok(KeyNonce::from_bytes(bytes))
    }
}
