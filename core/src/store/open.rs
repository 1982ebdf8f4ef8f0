//! Opening a store: lock, recognise, migrate, unlock, tell a copy from the original.
//!
//! Invariant: a file that is not ours, or of a newer layout, is looked at read-only and left alone.

use std::cell::Cell;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use tombolo_crypto::{Entropy, KeyVault, Secret32, StoreCipher};

use super::lock::StoreLock;
use super::sql::sql;
use super::{Durability, Store, StoreError};

/// "TMBL": marks the file as ours in its SQLite header.
const APPLICATION_ID: i32 = 0x544d_424c;
pub(super) const MIGRATIONS: [&str; 12] = [
    include_str!("migrations/001_initial.sql"),
    include_str!("migrations/002_successions.sql"),
    include_str!("migrations/003_evidence.sql"),
    include_str!("migrations/004_lives.sql"),
    include_str!("migrations/005_branches.sql"),
    include_str!("migrations/006_saved.sql"),
    include_str!("migrations/007_owed.sql"),
    include_str!("migrations/008_horizon.sql"),
    include_str!("migrations/009_agreed.sql"),
    include_str!("migrations/010_vouched.sql"),
    include_str!("migrations/011_wanted.sql"),
    include_str!("migrations/012_pending.sql"),
];
/// The key under which the engine keeps this life of the device's chains.
pub(crate) const INCARNATION: &str = "incarnation";
/// The key under which the store counts how often it was opened.
const GENERATION: &str = "generation";
/// How every file of SQLite's begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// SQLite's own header, and where it keeps the two numbers (its file format, section 1.3).
const HEADER_BYTES: u64 = 100;
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;
/// How SQLite's journals begin, and where they keep how many pages the file had before (its section 3).
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const PAGES_BEFORE_AT: usize = 16;
const JOURNAL_HEADER_BYTES: u64 = 28;
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
    let sealed = cipher.seal("meta", "value", GENERATION.as_bytes(), &(generation + 1).to_be_bytes(), entropy);
    let mut store = Store {
        connection,
        cipher,
        lock,
        path: path.to_owned(),
        durability,
        on_platter: None,
        generation: generation + 1,
        generation_sealed: sealed,
        generation_drawn: false,
        fresh_incarnation,
        full: Cell::new(false),
    };
    store.draw_generation()?;
    Ok(store)
}

impl Store {
    /// Counts the generation up in the store, then in the lock file; a crash in between costs no more
    /// than a new incarnation. The old incarnation ends in the same commit, so that no crash before the
    /// engine has begun the new one can bring it back.
    ///
    /// A full disk is noted and tried again before each transaction; until then nothing else is written,
    /// so no entry can be sealed by a store that does not know yet whether it is a copy.
    pub(super) fn draw_generation(&mut self) -> Result<(), StoreError> {
        let drawn = self.write_generation();
        self.full.set(matches!(drawn, Err(StoreError::DiskFull)));
        match drawn {
            Err(StoreError::DiskFull) => Ok(()),
            drawn => drawn,
        }
    }

    fn write_generation(&mut self) -> Result<(), StoreError> {
        self.reach(true)?;
        let transaction = self.connection.unchecked_transaction()?;
        transaction.execute(sql!("set_meta"), (GENERATION, &self.generation_sealed))?;
        if self.fresh_incarnation && !self.generation_drawn {
            transaction.execute(sql!("forget_meta"), [INCARNATION])?;
        }
        transaction.commit()?;
        if !self.generation_drawn {
            self.lock.remember(self.generation)?;
            self.generation_drawn = true;
        }
        Ok(())
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
    if was_empty_before(path)? {
        return Ok(false);
    }
    if !begins_like_sqlite(path)? {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    let looked = look(path).or_else(|error| match error.sqlite_error_code() {
        // Even to read, SQLite wants to write beside the file: on a full disk its header must do.
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            header_of(path)?.ok_or(StoreError::from(error))
        }
        Some(ErrorCode::OutOfMemory) => Err(error.into()),
        _ => Err(StoreError::NotAStore { path: path.to_owned() }),
    })?;
    // A crash while the first layout was written leaves an empty database of SQLite's own.
    if looked.application == 0 && looked.version == 0 && looked.is_empty {
        return Ok(false);
    }
    if looked.application != APPLICATION_ID {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    let supported = MIGRATIONS.len() as u32;
    if looked.version > supported {
        return Err(StoreError::TooNew { found: looked.version, supported });
    }
    Ok(true)
}

/// What a database says of itself.
struct Looked {
    application: i32,
    version: u32,
    is_empty: bool,
}

/// Looks at a database without changing it.
fn look(path: &Path) -> Result<Looked, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // To count the tables SQLite reads what they are, which for a store of ours is done once, when it is opened.
    let is_empty = application != APPLICATION_ID
        && connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, u32>(0))? == 0;
    Ok(Looked { application, version, is_empty })
}

/// Reads what the file's first page says, if that names a store of ours.
fn header_of(path: &Path) -> Result<Option<Looked>, StoreError> {
    let mut header = Vec::new();
    File::open(path)?.take(HEADER_BYTES).read_to_end(&mut header)?;
    let number = |at: usize| header.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    let (Some(version), Some(application)) = (number(USER_VERSION_AT), number(APPLICATION_ID_AT)) else {
        return Ok(None);
    };
    let looked = Looked { application: application.cast_signed(), version, is_empty: false };
    Ok(Some(looked).filter(|looked| looked.application == APPLICATION_ID))
}

/// SQLite itself takes a file of a few bytes for an empty database, and would write over it.
fn begins_like_sqlite(path: &Path) -> Result<bool, StoreError> {
    let mut magic = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(magic == MAGIC)
}

/// Tells whether a journal stands beside the file that makes it empty again: a power cut in the very first commit
/// may leave any part of the first page, and SQLite takes it back when it may write.
fn was_empty_before(path: &Path) -> Result<bool, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    let mut header = Vec::new();
    match File::open(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened?.take(JOURNAL_HEADER_BYTES).read_to_end(&mut header)?,
    };
    let pages = header.get(PAGES_BEFORE_AT..).and_then(|rest| rest.first_chunk::<4>());
    Ok(header.starts_with(&JOURNAL_MAGIC) && pages == Some(&[0; 4]))
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
    // Else what is bound to a statement may ask for another plan, and half of them are parsed anew at each use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // One owner needs no memory shared with others, which a full disk would refuse.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(
        |error| match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => StoreError::ReadOnly { path: path.to_owned() },
            _ => error.into(),
        },
    )?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -8192)?;
    // What the file is written anew of lies in no other file on the way.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Brings the layout up to date, in one transaction: a new store waits for one flush, and not for one a migration.
fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = MIGRATIONS.get(version as usize..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    missing.iter().try_for_each(|migration| transaction.execute_batch(migration))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as u32)?;
    Ok(transaction.commit()?)
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
    let sealed: Option<Vec<u8>> = connection.query_row(sql!("meta"), [GENERATION], |row| row.get(0)).optional()?;
    let Some(sealed) = sealed else { return Ok(0) };
    let corrupt = StoreError::Corrupt { table: "meta" };
    let Ok(bytes) = cipher.open("meta", "value", GENERATION.as_bytes(), &sealed) else {
        return Err(corrupt);
    };
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| corrupt)
}
