//! A key in a file that only its owner may read: for servers and examples.
//!
//! Invariant: the file is created with mode 0600, never overwritten, and on disk before `save`
//! returns; a file that others can reach is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeyVault, VaultError};
use crate::secret::Secret32;

const MAGIC: [u8; 4] = *b"TBV1";
/// Bytes read of a key file: more than any format has, so that a larger file is seen as damaged.
const KEY_FILE_BYTES_MAX: u64 = 1024;

/// Keeps the key in a file of mode 0600.
#[derive(Clone, Debug)]
pub struct FileVault {
    path: PathBuf,
}

impl FileVault {
    /// Names the file; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl KeyVault for FileVault {
    fn load(&self) -> Result<Option<Secret32>, VaultError> {
        let Some(bytes) = read_private(&self.path)? else {
            return Ok(None);
        };
        let key = bytes
            .strip_prefix(&MAGIC)
            .and_then(|key| <[u8; 32]>::try_from(key).ok())
            .ok_or_else(|| VaultError::Damaged { path: self.path.clone() })?;
        Ok(Some(Secret32::from_bytes(key)))
    }

    fn save(&self, key: &Secret32) -> Result<(), VaultError> {
        match self.load()? {
            Some(held) if held == *key => return Ok(()),
            _ => {}
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAGIC.len() + 32));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(key.as_bytes());
        write_private(&self.path, &bytes)
    }
}

/// Reads a key file, or nothing if there is none.
pub(super) fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path, &error)),
    };
    check_mode(path, &file)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX as usize));
    file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| io_error(path, &error))?;
    Ok(Some(bytes))
}

/// Puts a whole key file in place and waits until it and its name are on disk.
///
/// The bytes are written beside it and linked: a power cut leaves no file or a whole one, and an
/// existing file is never replaced.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    remove_if_there(&beside)?;
    let placed = place_linked(path, &beside, bytes);
    remove_if_there(&beside)?;
    placed?;
    sync_folder(path)
}

fn place_linked(path: &Path, beside: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    let mut file = create_private(beside).map_err(|error| io_error(beside, &error))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| io_error(beside, &error))?;
    std::fs::hard_link(beside, path).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            VaultError::Occupied { path: Some(path.to_owned()) }
        } else {
            io_error(path, &error)
        }
    })
}

fn remove_if_there(path: &Path) -> Result<(), VaultError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(path, &error)),
        _ => Ok(()),
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> Result<(), VaultError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error(folder, &error))
}

/// Elsewhere a folder can not be opened; the file's own flush has to do.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), VaultError> {
    Ok(())
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), VaultError> {
    let metadata = file.metadata().map_err(|error| io_error(path, &error))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Elsewhere the folder's access list decides, which the user's profile restricts to its owner.
#[cfg(not(unix))]
fn check_mode(_: &Path, _: &File) -> Result<(), VaultError> {
    Ok(())
}

fn io_error(path: &Path, error: &io::Error) -> VaultError {
    VaultError::Io { path: path.to_owned(), kind: error.kind(), reason: error.to_string() }
}
