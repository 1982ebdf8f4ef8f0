//! What can go wrong with the store, by whose fault.

use std::path::PathBuf;
use std::sync::Arc;

use tombolo_crypto::VaultError;

/// Why the store can not do what it was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another replica of this one, has the store open.
    InUse {
        /// Which store.
        path: PathBuf,
    },
    /// The file is something else; it was not touched.
    NotAStore {
        /// Which file.
        path: PathBuf,
    },
    /// A newer version of Tombolo wrote the store; it was not touched.
    TooNew {
        /// The layout's version in the file.
        found: u32,
        /// The newest that this version knows.
        supported: u32,
    },
    /// The key vault failed, is empty, or holds the key of another store.
    Vault(Arc<VaultError>),
    /// The vault's key does not open this store.
    WrongKey,
    /// The disk is full; what was acknowledged before is safe, and nothing of this is.
    DiskFull,
    /// The file or its folder can not be written.
    ReadOnly {
        /// Which store.
        path: PathBuf,
    },
    /// A stored value does not carry its own tag: the disk changed it.
    Corrupt {
        /// The table it stands in.
        table: &'static str,
    },
    /// The operating system refused.
    Io(Arc<std::io::Error>),
    /// SQLite refused; memory and disk trouble among it is never taken for corruption.
    Sqlite(Arc<rusqlite::Error>),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse { path } => write!(
                f,
                "the store {} is open in another process; close that one first, a store has one owner",
                path.display()
            ),
            Self::NotAStore { path } => {
                write!(f, "{} is not a Tombolo store; it was left as it is, choose another path", path.display())
            }
            Self::TooNew { found, supported } => write!(
                f,
                "the store has layout {found} and this version knows up to {supported}; update the app, the store was not touched"
            ),
            Self::Vault(error) => write!(f, "the key vault: {error}"),
            Self::WrongKey => f.write_str("the vault's key is not the one of this store"),
            Self::DiskFull => {
                f.write_str("the disk is full; free some space and try again, nothing acknowledged is lost")
            }
            Self::ReadOnly { path } => write!(f, "{} can not be written; check its permissions", path.display()),
            Self::Corrupt { table } => {
                write!(f, "a value in table {table} was changed on the disk; run the integrity check")
            }
            Self::Io(error) => write!(f, "the store's files: {error}"),
            Self::Sqlite(error) => write!(f, "SQLite: {error}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Vault(error) => Some(error.as_ref()),
            Self::Io(error) => Some(error.as_ref()),
            Self::Sqlite(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Sqlite(Arc::new(error)),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull { Self::DiskFull } else { Self::Io(Arc::new(error)) }
    }
}

impl From<VaultError> for StoreError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Arc::new(error))
    }
}
