//! The file beside the store that keeps a second process out and tells a copy from the original.
//!
//! The lock file remembers which file the store was (device and inode) and the store's generation, a
//! number that both count up at every open. A store that was copied is another file; one that was
//! restored from a backup has an older generation. Either starts a new incarnation, so that no
//! sequence number is used twice.
//!
//! Invariant: while a [`StoreLock`] lives, no other process has one on the same path.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::StoreError;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct StoreLock {
    file: File,
    path: PathBuf,
}

/// What the lock file remembers of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    generation: u64,
    file: (u64, u64),
}

impl StoreLock {
    /// Takes the lock of the store at `path`.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock_path = PathBuf::from(name);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let file = opened.map_err(|error| refused(error, path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path: path.to_owned() }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Tells whether the store is the very one that was closed last, at this generation.
    pub(super) fn continues(&mut self, generation: u64) -> Result<bool, StoreError> {
        let mut text = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut text)?;
        let now = Seen { generation, file: file_identity(&self.path)? };
        Ok(text == now.to_text())
    }

    /// Remembers the store as it is now.
    pub(super) fn remember(&mut self, generation: u64) -> Result<(), StoreError> {
        let seen = Seen { generation, file: file_identity(&self.path)? };
        let text = seen.to_text();
        // Over what stands there, which needs no room on a full disk; then what is left of it goes.
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_data()?;
        Ok(())
    }
}

impl Drop for StoreLock {
    /// Lets go of the lock itself: a process that is being started holds a copy of the file for a
    /// moment, and must not keep it locked.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "a lock goes with its file");
        }
    }
}

impl Seen {
    fn to_text(self) -> String {
        format!("generation {} file {}:{}\n", self.generation, self.file.0, self.file.1)
    }
}

fn refused(error: std::io::Error, path: &Path) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { path: path.to_owned() }
        }
        _ => error.into(),
    }
}

#[cfg(unix)]
fn file_identity(path: &Path) -> Result<(u64, u64), StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn file_identity(_: &Path) -> Result<(u64, u64), StoreError> {
    Ok((0, 0))
}
