//! The key vault that an app brings: Keychain, Keystore, Secret Service.
//!
//! It is asked synchronously, on the engine's thread, while a store is opened. The key's bytes pass through the app's
//! language, which does not wipe its memory.

use std::fmt;
use std::sync::Arc;

use tombolo::crypto::{KeyVault as CoreVault, Secret32, VaultError as CoreError};

/// Keeps the one key of a store; written by the app.
#[uniffi::export(with_foreign)]
pub trait KeyVault: Send + Sync {
    /// Returns the key's 32 bytes, or nothing if none was saved yet.
    ///
    /// # Errors
    /// [`VaultError`] if there is a key that can not be had now.
    fn load(&self) -> Result<Option<Vec<u8>>, VaultError>;

    /// Saves the key durably; the same key again is no error, another one is.
    ///
    /// # Errors
    /// [`VaultError`] if it can not be saved.
    fn save(&self, key: Vec<u8>) -> Result<(), VaultError>;
}

/// Why a vault does not give or take a key.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Error)]
pub enum VaultError {
    /// The platform refused, with a number of its own.
    Refused {
        /// The number.
        code: i64,
    },
    /// There is another key already.
    Occupied,
}

/// The number that stands for an exception which the app's vault did not mean to throw.
const UNEXPECTED: i64 = -1;
/// The number that stands for a key that has not 32 bytes.
const NO_KEY: i64 = -2;

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        CoreError::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for VaultError {}

impl From<uniffi::UnexpectedUniFFICallbackError> for VaultError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Refused { code: UNEXPECTED }
    }
}

impl From<VaultError> for CoreError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Refused { code } => Self::Platform { code },
            VaultError::Occupied => Self::Occupied { path: None },
        }
    }
}

/// An app's vault, as the core asks it.
pub(crate) struct Brought(pub(crate) Arc<dyn KeyVault>);

impl CoreVault for Brought {
    fn load(&self) -> Result<Option<Secret32>, CoreError> {
        let bytes = self.0.load()?;
        let key = bytes.map(<[u8; 32]>::try_from).transpose();
        Ok(key.map_err(|_| CoreError::Platform { code: NO_KEY })?.map(Secret32::from_bytes))
    }

    fn save(&self, key: &Secret32) -> Result<(), CoreError> {
        Ok(self.0.save(key.as_bytes().to_vec())?)
    }
}
