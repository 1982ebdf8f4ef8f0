//! Key files that others can reach, that were cut or weakened, or that somebody else's words open.

use std::fs;
use std::path::Path;

use tombolo_crypto::*;

use crate::support::Counter;

const KEY: [u8; 32] = [5; 32];

fn sealed(path: &Path, words: &str) -> PassphraseVault {
    PassphraseVault::new(path, words, Box::new(Counter::default()))
}

/// Writes over a file, keeping its mode.
fn rewrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[cfg(unix)]
#[test]
fn a_key_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let vault = FileVault::new(&path);
    assert_eq!(vault.load(), Ok(None));
    vault.save(&Secret32::from_bytes(KEY)).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = vault.load().unwrap_err();
        assert_eq!(error, VaultError::Exposed { path: path.clone(), mode });
        assert!(error.to_string().contains("chmod 600"));
    }
}

/// Some refusals have no kind of their own in the standard library: too many open files, or a socket in the file's place.
#[cfg(unix)]
#[test]
fn what_the_system_says_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let system = fs::File::open(&path).unwrap_err().to_string();
    let said = FileVault::new(&path).load().unwrap_err().to_string();
    assert!(said.contains(&system), "{said:?} instead of {system:?}");
}

#[test]
fn a_cut_or_altered_key_file_is_damaged_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, words) = (folder.path().join("plain"), folder.path().join("words"));
    let vaults: [Box<dyn KeyVault>; 2] = [Box::new(FileVault::new(&plain)), Box::new(sealed(&words, "right words"))];
    for (vault, path) in vaults.iter().zip([&plain, &words]) {
        vault.save(&Secret32::from_bytes(KEY)).unwrap();
        let whole = fs::read(path).unwrap();
        let damaged = Err(VaultError::Damaged { path: path.clone() });
        for length in 0..whole.len() {
            rewrite(path, &whole[..length]);
            assert_eq!(vault.load(), damaged, "length {length}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        rewrite(path, &longer);
        assert_eq!(vault.load(), damaged);
        let mut other = whole.clone();
        other[0] ^= 1;
        rewrite(path, &other);
        assert_eq!(vault.load(), damaged);
    }
}

#[test]
fn the_right_words_open_the_vault_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let right = sealed(&path, "right words");
    right.save(&Secret32::from_bytes(KEY)).unwrap();
    assert_eq!(right.load(), Ok(Some(Secret32::from_bytes(KEY))));
    let wrong = sealed(&path, "Right words");
    assert_eq!(wrong.load(), Err(VaultError::WrongPassphrase));
    let over = wrong.save(&Secret32::from_bytes([6; 32]));
    assert_eq!(over, Err(VaultError::WrongPassphrase));
    let mut altered = fs::read(&path).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    rewrite(&path, &altered);
    assert_eq!(right.load(), Err(VaultError::WrongPassphrase));
}

#[test]
fn a_vault_that_asks_for_weaker_or_endless_hashing_is_refused_before_it_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let vault = sealed(&path, "right words");
    vault.save(&Secret32::from_bytes(KEY)).unwrap();
    let whole = fs::read(&path).unwrap();
    let with = |at: usize, number: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        rewrite(&path, &bytes);
        vault.load()
    };
    let downgrade = |memory_kib, passes| Err(VaultError::KdfDowngrade { memory_kib, passes });
    assert_eq!(with(4, 8), downgrade(8, 3));
    assert_eq!(with(4, (64 << 10) - 1), downgrade((64 << 10) - 1, 3));
    assert_eq!(with(8, 1), downgrade(64 << 10, 1));
    let damaged = || Err(VaultError::Damaged { path: path.clone() });
    assert_eq!(with(4, u32::MAX), damaged());
    assert_eq!(with(8, u32::MAX), damaged());
    assert_eq!(with(12, u32::MAX), damaged());
    assert_eq!(with(12, 0), damaged());
}
