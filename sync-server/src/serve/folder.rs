//! The data folder: one relay at a time, and its key.
//!
//! Invariant: the key is written whole or not at all, and only its owner may read it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};
use tombolo_protocol::keys::SignKey;

use super::StartError;

/// Makes the folder if need be, and locks it while the file is held.
pub(super) fn lock(folder: &Path) -> Result<File, StartError> {
    let failed = |error| StartError::Folder { path: folder.to_owned(), error };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let path = folder.join("relay.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Loads the relay's key, or makes one.
pub(super) fn load_key(folder: &Path) -> Result<SignKey, StartError> {
    let path = folder.join("relay.key");
    let failed = |error| StartError::Folder { path: folder.to_owned(), error };
    let mut seed = Vec::new();
    match File::open(&path) {
        Ok(mut file) => {
            file.read_to_end(&mut seed).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut fresh = [0; 32];
            SystemRandom::new().fill(&mut fresh).map_err(|_| StartError::NoEntropy)?;
            write_key(&path, &fresh).map_err(failed)?;
            seed.extend_from_slice(&fresh);
        }
        Err(error) => return Err(failed(error)),
    }
    let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| StartError::Key { path })?;
    Ok(SignKey::from_seed(seed))
}

/// Writes a new key beside its place and moves it there, so that there is never half a key.
fn write_key(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let beside = path.with_extension("key.new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(seed)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
