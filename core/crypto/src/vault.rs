//! Where the key of the store is kept between runs; an app may bring its platform's own.
//!
//! Invariant: a vault gives back the key that was saved, or a typed reason; it never replaces a key
//! by another one, since all that is sealed under the first would be lost.

mod file;
mod passphrase;

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub use file::FileVault;
pub use passphrase::PassphraseVault;

use crate::secret::Secret32;

/// Keeps the key of one store.
pub trait KeyVault: Send + Sync {
    /// Returns the key, or nothing if none was saved yet.
    ///
    /// # Errors
    /// [`VaultError`] if there is a key that can not be had.
    fn load(&self) -> Result<Option<Secret32>, VaultError>;

    /// Saves the key durably; saving the same key again is no error.
    ///
    /// # Errors
    /// [`VaultError`] if it can not be saved, or another key is there.
    fn save(&self, key: &Secret32) -> Result<(), VaultError>;
}

/// Why a vault does not give or take a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultError {
    /// The system refused.
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// How, for programs.
        kind: ErrorKind,
        /// How, in the system's own words: not every refusal has a kind.
        reason: String,
    },
    /// Others than the owner may read or write the key file.
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is cut, altered, or no key file.
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// Another key is already there.
    Occupied {
        /// Which file, if it is one.
        path: Option<PathBuf>,
    },
    /// The passphrase is not the one the key was saved with, or the file was altered.
    WrongPassphrase,
    /// The file asks for weaker password hashing than was ever written: somebody altered it.
    KdfDowngrade {
        /// Kibibytes of memory it asks for.
        memory_kib: u32,
        /// Passes it asks for.
        passes: u32,
    },
    /// The password hash could not be computed: too little memory.
    Kdf,
    /// The platform's own vault refused; for vaults that apps bring.
    Platform {
        /// The platform's number for the reason.
        code: i64,
    },
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, reason, .. } => write!(f, "key file {}: {reason}", path.display()),
            Self::Exposed { path, mode } => {
                write!(f, "others may reach the key file {0} (mode {mode:o}); run: chmod 600 {0}", path.display())
            }
            Self::Damaged { path } => write!(
                f,
                "the key file {} is damaged; restore it from a backup, or remove it if the store is new",
                path.display()
            ),
            Self::Occupied { path: Some(path) } => {
                write!(f, "{} already holds another key; give the new store a key file of its own", path.display())
            }
            Self::Occupied { path: None } => f.write_str("the vault already holds another key"),
            Self::WrongPassphrase => f.write_str("the passphrase is wrong; try again"),
            Self::KdfDowngrade { memory_kib, passes } => write!(
                f,
                "the key file asks for weak password hashing ({memory_kib} KiB, {passes} passes): \
                 it was altered; restore it from a backup"
            ),
            Self::Kdf => f.write_str("the passphrase could not be hashed; free some memory"),
            Self::Platform { code } => write!(f, "the platform's key store refused: {code}"),
        }
    }
}

impl std::error::Error for VaultError {}

/// Keeps the key in memory alone: for tests and stores that end with the process. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryVault(Arc<Mutex<Option<Secret32>>>);

impl KeyVault for MemoryVault {
    fn load(&self) -> Result<Option<Secret32>, VaultError> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(held.as_ref().map(Secret32::duplicate))
    }

    fn save(&self, key: &Secret32) -> Result<(), VaultError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref() {
            Some(held) if held != key => Err(VaultError::Occupied { path: None }),
            _ => {
                *held = Some(key.duplicate());
                Ok(())
            }
        }
    }
}

impl fmt::Debug for MemoryVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryVault(secret)")
    }
}
