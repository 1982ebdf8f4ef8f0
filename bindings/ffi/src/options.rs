//! How a replica is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use tombolo::Durability;
use tombolo::crypto::{MemoryVault, PassphraseVault};
use tombolo::{ReplicaBuilder, SystemEntropy};

use crate::error::TomboloError;
use crate::values::narrow;
use crate::vault::{Brought, KeyVault};

/// What a resolved edit survives.
#[uniffi::remote(Enum)]
pub enum Durability {
    /// A power cut.
    Power,
    /// The death of the process, but not a power cut.
    Process,
}

/// Where the key of a store is kept.
#[derive(uniffi::Enum)]
pub enum KeyPlace {
    /// In a file beside the store, which only its owner may read.
    File,
    /// In a file beside the store, sealed under a passphrase.
    Passphrase {
        /// The passphrase.
        passphrase: String,
    },
    /// Nowhere: the store can not be opened again by another process.
    Memory,
    /// In a vault of the app's.
    Vault {
        /// The vault.
        vault: Arc<dyn KeyVault>,
    },
}

/// How a replica is opened; the defaults are right for most apps.
#[derive(uniffi::Record)]
pub struct OpenOptions {
    /// The store's file; it is made if there is none.
    pub path: String,
    /// Where its key is kept; in a file beside it by default.
    #[uniffi(default = None)]
    pub key: Option<KeyPlace>,
    /// What a resolved edit survives; a power cut by default.
    #[uniffi(default = None)]
    pub durability: Option<Durability>,
    /// Bounds the memory of open documents that nobody watches; 64 MiB by default.
    #[uniffi(default = None)]
    pub memory_bytes: Option<u64>,
    /// Entries since a document's newest snapshot from which its busiest writer publishes it anew while it is open, and
    /// the others vouch for it: then a relay may delete what the snapshot stands for, if it is told to. Never by default.
    #[uniffi(default = None)]
    pub snapshot_entries: Option<u64>,
    /// How long a published snapshot must have had the words of enough members before this device gives up the entries that
    /// it stands for; the document stays as it is. Never by default.
    #[uniffi(default = None)]
    pub compact_after: Option<Duration>,
    /// Marks the documents that this app creates with a type of its own.
    #[uniffi(default = None)]
    pub app_type: Option<String>,
    /// Certificate authorities (DER) to trust for relays, beside the web's.
    #[uniffi(default = [])]
    pub trusted_roots: Vec<Vec<u8>>,
    /// Dials no relay before `resume` or `sync_once`.
    #[uniffi(default = false)]
    pub offline: bool,
}

impl OpenOptions {
    pub(crate) fn builder(self) -> Result<ReplicaBuilder, TomboloError> {
        let path = PathBuf::from(&self.path);
        let mut builder = tombolo::Replica::builder(&path);
        builder = match self.key {
            None | Some(KeyPlace::File) => builder,
            Some(KeyPlace::Passphrase { passphrase }) => {
                let mut file = path.into_os_string();
                file.push(".key");
                let entropy = Box::new(SystemEntropy::new());
                builder.vault(Arc::new(PassphraseVault::new(PathBuf::from(file), &passphrase, entropy)))
            }
            Some(KeyPlace::Memory) => builder.vault(Arc::new(MemoryVault::default())),
            Some(KeyPlace::Vault { vault }) => builder.vault(Arc::new(Brought(vault))),
        };
        if let Some(durability) = self.durability {
            builder = builder.durability(durability);
        }
        if let Some(bytes) = self.memory_bytes {
            builder = builder.memory_bytes(narrow(bytes)?);
        }
        if let Some(entries) = self.snapshot_entries {
            builder = builder.snapshot_entries(narrow(entries)?);
        }
        if let Some(time) = self.compact_after {
            builder = builder.compact_after(time);
        }
        if let Some(app_type) = self.app_type {
            builder = builder.app_type(&app_type);
        }
        for der in self.trusted_roots {
            builder = builder.trust_root(der);
        }
        Ok(if self.offline { builder.offline() } else { builder })
    }
}
