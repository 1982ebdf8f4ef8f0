//! Opening a store: lock, recognise, migrate, unlock, tell a copy from the original.
//!
//! Invariant: a file that is not ours, or of a newer layout, is looked at read-only and left alone.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use tombolo_crypto::{Entropy, KeyVault, Secret32, StoreCipher};

use super::lock::StoreLock;
use super::sql::sql;
use super::{Durability, Store, StoreError};

/// "TMBL": marks the file as ours in its SQLite header.
const APPLICATION_ID: i32 = 0x544d_424c;
pub(super) const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/001_initial.sql"),
    include_str!("migrations/002_successions.sql"),
    include_str!("migrations/003_evidence.sql"),
    include_str!("migrations/004_lives.sql"),
];
/// The key under which the engine keeps this life of the device's chains.
pub(crate) const INCARNATION: &str = "incarnation";
/// How every file of SQLite's begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
const STATEMENT_CACHE: usize = 128;

pub(super) fn open(
    path: &Path,
    vault: &dyn KeyVault,
    durability: Durability,
    entropy: &mut dyn Entropy,
) -> Result<Store, StoreError> {
    let mut lock = StoreLock::take(path)?;
    let exists = recognise(path)?;
    let key = unlock(vault, exists, entropy)?;
    let cipher = StoreCipher::new(key);
    let connection = connect(path)?;
    migrate(&connection)?;
    check_key(&connection, &cipher, entropy)?;
    let generation = generation(&connection, &cipher)?;
    let begun: bool = connection.query_row(sql!("has_meta"), [INCARNATION], |row| row.get(0))?;
    let fresh_incarnation = !begun || !lock.continues(generation)?;
    let mut store = Store {
        connection,
        cipher,
        lock,
        path: path.to_owned(),
        durability,
        is_full: None,
        generation,
        fresh_incarnation,
    };
    store.next_generation(entropy)?;
    Ok(store)
}

impl Store {
    /// Counts the generation up in the store, then in the lock file; a crash in between costs no more
    /// than a new incarnation. The old incarnation ends in the same commit, so that no crash before the
    /// engine has begun the new one can bring it back.
    fn next_generation(&mut self, entropy: &mut dyn Entropy) -> Result<(), StoreError> {
        self.generation += 1;
        let (generation, fresh) = (self.generation, self.fresh_incarnation);
        let tx = self.begin(true)?;
        tx.set_meta("generation", &generation.to_be_bytes(), entropy)?;
        if fresh {
            tx.forget_meta(INCARNATION)?;
        }
        tx.commit()?;
        self.lock.remember(generation)
    }
}

/// Tells whether there is a store at `path`; refuses what is something else or too new.
fn recognise(path: &Path) -> Result<bool, StoreError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
        Ok(metadata) if metadata.is_dir() => {
            return Err(StoreError::NotAStore { path: path.to_owned() });
        }
        Ok(metadata) if metadata.len() == 0 => return Ok(false),
        Ok(_) => {}
    }
    if !begins_like_sqlite(path)? {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    let foreign = |_| StoreError::NotAStore { path: path.to_owned() };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(foreign)?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(foreign)?;
    // A crash while the first layout was written leaves an empty database of SQLite's own.
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(foreign)?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(false);
    }
    if application != APPLICATION_ID {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    let supported = MIGRATIONS.len() as u32;
    if version > supported {
        return Err(StoreError::TooNew { found: version, supported });
    }
    Ok(true)
}

/// SQLite itself takes a file of a few bytes for an empty database, and would write over it.
fn begins_like_sqlite(path: &Path) -> Result<bool, StoreError> {
    let mut magic = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(magic == MAGIC)
}

fn unlock(vault: &dyn KeyVault, exists: bool, entropy: &mut dyn Entropy) -> Result<Secret32, StoreError> {
    match vault.load()? {
        Some(key) => Ok(key),
        None if exists => Err(StoreError::WrongKey),
        None => {
            let key = Secret32::generate(entropy);
            vault.save(&key)?;
            Ok(key)
        }
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(
        |error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen) => {
                StoreError::ReadOnly { path: path.to_owned() }
            }
            _ => error.into(),
        },
    )?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -8192)?;
    Ok(connection)
}

/// Brings the layout up to date, one migration a transaction.
fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Writes a known value into a new store, and reads it back from an old one.
fn check_key(connection: &Connection, cipher: &StoreCipher, entropy: &mut dyn Entropy) -> Result<(), StoreError> {
    const KEY: &str = "check";
    let held: Option<Vec<u8>> = connection.query_row(sql!("meta"), [KEY], |row| row.get(0)).optional()?;
    match held {
        Some(sealed) => match cipher.open("meta", "value", KEY.as_bytes(), &sealed) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::WrongKey),
        },
        None => {
            let sealed = cipher.seal("meta", "value", KEY.as_bytes(), b"tombolo", entropy);
            connection.execute(sql!("set_meta"), (KEY, sealed))?;
            Ok(())
        }
    }
}

fn generation(connection: &Connection, cipher: &StoreCipher) -> Result<u64, StoreError> {
    const KEY: &str = "generation";
    let sealed: Option<Vec<u8>> = connection.query_row(sql!("meta"), [KEY], |row| row.get(0)).optional()?;
    let Some(sealed) = sealed else { return Ok(0) };
    let corrupt = StoreError::Corrupt { table: "meta" };
    let Ok(bytes) = cipher.open("meta", "value", KEY.as_bytes(), &sealed) else {
        return Err(corrupt);
    };
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| corrupt)
}
