//! How a replica is opened: what an app may choose, each with a default.
//!
//! Invariant: nothing is read or made before `open`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tombolo_crypto::{FileVault, KeyVault};

use super::driver::Setup;
use super::replica::{Replica, start};
use crate::engine::EngineConfig;
use crate::error::Error;
use crate::store::Durability;

/// How a replica is opened.
#[must_use = "a builder does nothing before `open`"]
pub struct ReplicaBuilder {
    path: PathBuf,
    vault: Option<Arc<dyn KeyVault>>,
    durability: Durability,
    config: EngineConfig,
    #[cfg(feature = "network")]
    roots: Vec<Vec<u8>>,
}

impl ReplicaBuilder {
    /// Begins with the defaults.
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            vault: None,
            durability: Durability::Power,
            config: EngineConfig::default(),
            #[cfg(feature = "network")]
            roots: Vec::new(),
        }
    }

    /// Keeps the store key in this vault instead of a file beside the store.
    pub fn vault(mut self, vault: Arc<dyn KeyVault>) -> Self {
        self.vault = Some(vault);
        self
    }

    /// Chooses what a resolved edit survives; a power cut by default.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Bounds the memory of open documents that nobody watches; 64 MiB by default.
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.config.memory_bytes = bytes;
        self
    }

    /// Chooses from how many entries behind its saved form an opened document is saved anew; 1,024 by default.
    pub fn tail_entries(mut self, entries: usize) -> Self {
        self.config.tail_entries = entries;
        self
    }

    /// Lets documents be published in short: one that is open and has so many entries (at least one) since its newest
    /// snapshot is published anew by whoever has written most into it, and what others published is made again here and
    /// vouched for. Never by default.
    ///
    /// Nothing goes by that alone: a relay that is told how long to wait deletes what a snapshot stands for once enough
    /// members vouch for it, so let all devices of a workspace do it. From then on who joins gets the document without
    /// how it came to be, letter by letter.
    pub fn snapshot_entries(mut self, entries: usize) -> Self {
        self.config.snapshot_entries = entries.max(1);
        self
    }

    /// Lets this device give up what a published snapshot stands for, once enough members have vouched for that for so long
    /// (at least a second) and every relay that this replica knows holds all of it; never by default.
    ///
    /// The document stays as it is, and so does what its members wrote; what goes is how it came to be, letter by letter,
    /// on this device. Nothing goes for others' word: this device makes the snapshot's state itself first, of the very
    /// entries, and compares it byte for byte.
    pub fn compact_after(mut self, time: Duration) -> Self {
        self.config.compact_after = Some(time.max(Duration::from_secs(1)));
        self
    }

    /// Marks the documents that this app creates with a type of its own.
    pub fn app_type(mut self, app_type: &str) -> Self {
        app_type.clone_into(&mut self.config.app_type);
        self
    }

    /// Trusts one more certificate authority (DER) for relays, beside the web's.
    #[cfg(feature = "network")]
    pub fn trust_root(mut self, der: Vec<u8>) -> Self {
        self.roots.push(der);
        self
    }

    /// Dials no relay before [`Replica::resume`] or [`Replica::sync_once`]: for work that needs no network.
    pub fn offline(mut self) -> Self {
        self.config.offline = true;
        self
    }

    /// Opens the store, or makes it, and starts the engine's thread.
    ///
    /// # Errors
    /// [`Error::Store`] says what is in the way: in use, not a store, too new, read-only, wrong key.
    pub async fn open(self) -> Result<Replica, Error> {
        let vault = self.vault.unwrap_or_else(|| {
            let mut key = self.path.as_os_str().to_owned();
            key.push(".key");
            Arc::new(FileVault::new(PathBuf::from(key)))
        });
        let setup = Setup {
            path: self.path,
            vault,
            durability: self.durability,
            config: self.config,
            #[cfg(feature = "network")]
            roots: self.roots,
        };
        start(setup).await
    }
}
