//! Where the notes are kept, and how the store is opened.
//!
//! Invariant: a store keeps the vault it was made with, a key file or a passphrase; the wrong one is
//! refused in words, before anything is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tombolo::crypto::{FileVault, KeyVault, PassphraseVault, RecoveryKit};
use tombolo::{Replica, ReplicaBuilder, SystemEntropy};

use crate::failure::Failure;

/// What the documents of this program are marked with.
const APP_TYPE: &str = "note";

/// A store and the way to open it.
pub(crate) struct Place {
    /// The store's file.
    pub(crate) store: PathBuf,
    passphrase_variable: String,
    passphrase_required: bool,
}

impl Place {
    /// Chooses the store: the one that was named, or the platform's place for it.
    pub(crate) fn choose(store: Option<PathBuf>, passphrase_variable: Option<String>) -> Result<Self, Failure> {
        Ok(Self {
            store: store.map_or_else(default_store, Ok)?,
            passphrase_required: passphrase_variable.is_some(),
            passphrase_variable: passphrase_variable.unwrap_or_else(|| "NOTES_PASSPHRASE".to_owned()),
        })
    }

    /// Opens the store and reaches the relays it knows.
    pub(crate) async fn open(&self) -> Result<Replica, Failure> {
        Ok(self.builder()?.open().await?)
    }

    /// Opens the store and reaches nobody.
    pub(crate) async fn open_offline(&self) -> Result<Replica, Failure> {
        Ok(self.builder()?.offline().open().await?)
    }

    /// Makes the store anew, as a device of the user of a kit.
    pub(crate) async fn recover(&self, kit: RecoveryKit) -> Result<Replica, Failure> {
        Ok(self.builder()?.recover(kit).await?)
    }

    fn builder(&self) -> Result<ReplicaBuilder, Failure> {
        let vault = self.vault()?;
        if let Some(folder) = self.store.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(Failure::io(folder.display().to_string()))?;
        }
        Ok(Replica::builder(&self.store).vault(vault).app_type(APP_TYPE))
    }

    fn vault(&self) -> Result<Arc<dyn KeyVault>, Failure> {
        let (key_file, sealed_file) = (self.beside(".key"), self.beside(".passphrase-key"));
        let (store, variable) = (self.store.clone(), self.passphrase_variable.clone());
        match std::env::var(&self.passphrase_variable) {
            Ok(passphrase) if !passphrase.is_empty() => {
                if key_file.exists() && !sealed_file.exists() {
                    return Err(Failure::PassphraseNotWanted { store, variable });
                }
                Ok(Arc::new(PassphraseVault::new(sealed_file, &passphrase, Box::new(SystemEntropy::new()))))
            }
            _ if self.passphrase_required => Err(Failure::NoPassphrase { variable }),
            _ if sealed_file.exists() => Err(Failure::PassphraseNeeded { store, variable }),
            _ => Ok(Arc::new(FileVault::new(key_file))),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.store.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    }
}

fn default_store() -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = |below: &str| variable("HOME").map(|home| home.join(below));
    let folder = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home("Library/Application Support")
    } else {
        // A relative path is not to be used, says the XDG specification.
        variable("XDG_DATA_HOME").filter(|path| Path::is_absolute(path)).or_else(|| home(".local/share"))
    };
    Ok(folder.ok_or(Failure::NoHome)?.join("tombolo-notes").join("notes.tombolo"))
}
