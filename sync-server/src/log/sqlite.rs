//! The log in one SQLite file: WAL, `synchronous=FULL`, one writing connection, a few reading ones.
//!
//! Invariant: a commit that returned `Ok` was synced. After any failed commit the writing connection is
//! closed and opened anew, so that nothing half-done is carried on.

mod documents;
mod pack;
mod rows;
mod writes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, params};
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{ChainId, DeviceId, DocumentTag, EntryHash, LogId, UserId, WorkspaceTag};
use tombolo_protocol::limits::ITEMS_PER_FRAME_MAX;

use super::{
    Backlog, ChainEnd, ChainItem, ChainRow, Cut, Floor, Listed, Log, LogError, MembershipItem, Row, Told, Wants,
    WorkspaceRow, Write,
};
use rows::{LAST_POSITION, digest, place, position_of};

/// Reading connections that are kept open: more than the cores of a small machine can use.
const READERS_MAX: usize = 4;
/// Pages of one connection's cache, in KiB: the relay must stay small with many workspaces.
const CACHE_KIB: i64 = 1024;
/// Pages of the WAL from which they are moved into the file: SQLite does it by itself at a thousand, inside a commit.
const BACKLOG_PAGES: i64 = 400;
/// As many are moved between two commits without being noticed.
const REST_PAGES: i64 = 200;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_log.sql"),
    include_str!("migrations/002_ended.sql"),
    include_str!("migrations/003_attests.sql"),
    include_str!("migrations/004_pruned.sql"),
    include_str!("migrations/005_membership.sql"),
    include_str!("migrations/006_words.sql"),
    include_str!("migrations/007_documents.sql"),
];

/// All logs, in one file.
#[derive(Debug)]
pub struct SqliteLog {
    path: PathBuf,
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Connection>>,
}

impl SqliteLog {
    /// Opens or creates the file and brings its tables up to date.
    ///
    /// # Errors
    /// [`LogError`] if it can not be opened, or is of a later version (and then left untouched).
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let mut writer = connect(path)?;
        migrate(&mut writer)?;
        Ok(Self { path: path.to_owned(), writer: Mutex::new(Some(writer)), readers: Mutex::new(Vec::new()) })
    }

    fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LogError> {
        let kept = lock(&self.readers).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let result = f(&connection).map_err(LogError::from);
        let mut readers = lock(&self.readers);
        if readers.len() < READERS_MAX {
            readers.push(connection);
        }
        result
    }

    /// Returns how many pages the WAL has, and how many of them were moved.
    fn checkpoint(&self, how: &str) -> Result<(i64, i64), LogError> {
        self.read(|connection| connection.prepare_cached(how)?.query_row([], |row| Ok((row.get(1)?, row.get(2)?))))
    }
}

impl Log for SqliteLog {
    fn find(&self, tag: &WorkspaceTag) -> Result<Option<WorkspaceRow>, LogError> {
        self.read(|connection| find(connection, tag))
    }

    fn last_row(&self) -> Result<Row, LogError> {
        self.read(|connection| connection.query_row(include_str!("sql/workspace_last.sql"), [], |row| row.get(0)))
    }

    fn may_be_member(&self, tag: &WorkspaceTag, device: &DeviceId) -> Result<bool, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(include_str!("sql/member_find.sql"))?
                .exists(params![tag.as_bytes(), device.as_bytes()])
        })
    }

    fn knows_device(&self, device: &DeviceId) -> Result<bool, LogError> {
        self.read(|connection| {
            connection.prepare_cached(include_str!("sql/device_find.sql"))?.exists([device.as_bytes()])
        })
    }

    fn workspaces_of(&self, user: &UserId, count_max: usize) -> Result<Vec<WorkspaceTag>, LogError> {
        let count = i64::try_from(count_max).unwrap_or(i64::MAX);
        self.read(|connection| {
            connection
                .prepare_cached(include_str!("sql/workspaces_of.sql"))?
                .query_map(params![user.as_bytes(), count], |row| row.get(0).map(WorkspaceTag::from_bytes))?
                .collect()
        })
    }

    fn knows_elsewhere(&self, device: &DeviceId, but: Row) -> Result<bool, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/device_elsewhere.sql"))?;
            statement.exists(params![device.as_bytes(), but])
        })
    }

    fn is_revoked(&self, device: &DeviceId) -> Result<bool, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/device_revoked.sql"))?;
            let revoked: Option<bool> = statement.query_row([device.as_bytes()], |row| row.get(0))?;
            Ok(revoked.unwrap_or(false))
        })
    }

    fn membership(&self, row: Row) -> Result<Vec<MembershipItem>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/item_membership.sql"))?;
            let items = statement.query_map([place(row, 0), place(row, LAST_POSITION)], |row| {
                Ok(MembershipItem { position: position_of(row.get(0)?), hash: digest(row, 1)?, bytes: row.get(2)? })
            })?;
            items.collect()
        })
    }

    fn words(&self, row: Row) -> Result<Vec<Vec<u8>>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/item_words.sql"))?;
            let items = statement.query_map([place(row, 0), place(row, LAST_POSITION)], |row| row.get(0))?;
            items.collect()
        })
    }

    fn words_on(&self, row: Row, snapshot: &EntryHash) -> Result<Vec<Vec<u8>>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/item_words_on.sql"))?;
            let of = (place(row, 0), place(row, LAST_POSITION), snapshot.as_bytes());
            let items = statement.query_map(of, |row| row.get(0))?;
            items.collect()
        })
    }

    fn snapshots(&self, row: Row) -> Result<Vec<(u64, EntryHash)>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/item_snapshots.sql"))?;
            let items = statement.query_map([place(row, 0), place(row, LAST_POSITION)], |row| {
                Ok((position_of(row.get(0)?), EntryHash::from_bytes(digest(row, 1)?)))
            })?;
            items.collect()
        })
    }

    fn vouched(&self, row: Row) -> Result<Vec<(EntryHash, i64)>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/vouched_all.sql"))?;
            let found = statement.query_map([row], |row| Ok((EntryHash::from_bytes(digest(row, 0)?), row.get(1)?)))?;
            found.collect()
        })
    }

    fn floor(&self, row: Row, chain: &ChainId) -> Result<Option<Floor>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(include_str!("sql/floor_find.sql"))?
                .query_row(params![row, chain.as_bytes()], rows::floor)
                .optional()
        })
    }

    fn floors(&self, row: Row, document: &DocumentTag) -> Result<BTreeMap<ChainId, u64>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/floors_of_document.sql"))?;
            let found = statement.query_map(params![row, document.as_bytes()], |row| {
                Ok((ChainId::from_bytes(row.get(0)?), rows::unsigned(row, 1)?))
            })?;
            found.collect()
        })
    }

    fn freed_by(&self, row: Row, cut: &Cut) -> Result<(u64, u64), LogError> {
        let below = (rows::integer(cut.floor.seq), place(row, cut.kept));
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/item_below.sql"))?;
            statement.query_row(params![row, cut.chain.as_bytes(), below.0, below.1], |row| {
                Ok((rows::unsigned(row, 0)?, position_of(row.get(1)?)))
            })
        })
    }

    fn chain(&self, row: Row, chain: &ChainId) -> Result<Option<ChainRow>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(include_str!("sql/chain_find.sql"))?
                .query_row(params![row, chain.as_bytes()], rows::chain)
                .optional()
        })
    }

    fn chain_run(
        &self,
        row: Row,
        chain: &ChainId,
        seqs: (u64, u64),
        bytes_max: usize,
    ) -> Result<Vec<ChainItem>, LogError> {
        let seqs = (rows::integer(seqs.0), rows::integer(seqs.1));
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/item_of_chain.sql"))?;
            let mut found = statement.query(params![row, chain.as_bytes(), seqs.0, seqs.1])?;
            let (mut run, mut bytes) = (Vec::new(), 0);
            while let Some(row) = found.next()? {
                let item = rows::chain_item(row)?;
                bytes += item.bytes.len();
                if !run.is_empty() && (bytes > bytes_max || run.len() >= ITEMS_PER_FRAME_MAX) {
                    break;
                }
                run.push(item);
            }
            Ok(run)
        })
    }

    fn item(&self, row: Row, position: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(include_str!("sql/item_at.sql"))?
                .query_row([place(row, position)], |row| row.get(0))
                .optional()
        })
    }

    fn items(&self, row: Row, positions: (u64, u64), bytes_max: usize) -> Result<Vec<Vec<u8>>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/item_range.sql"))?;
            let mut found = statement.query([place(row, positions.0), place(row, positions.1)])?;
            let (mut items, mut bytes) = (Vec::new(), 0);
            while let Some(row) = found.next()? {
                let item: Vec<u8> = row.get(0)?;
                bytes += item.len();
                if !items.is_empty() && (bytes > bytes_max || items.len() >= ITEMS_PER_FRAME_MAX) {
                    break;
                }
                items.push(item);
            }
            Ok(items)
        })
    }

    fn items_wanted(&self, row: Row, at: (u64, u64), wants: &Wants<'_>, max: usize) -> Result<Vec<Told>, LogError> {
        self.read(|connection| documents::items_wanted(connection, row, at, wants, max))
    }

    fn head_at(&self, row: Row, position: u64) -> Result<Option<Digest>, LogError> {
        self.read(|connection| {
            let head = connection
                .prepare_cached(include_str!("sql/item_head.sql"))?
                .query_row([place(row, position)], |row| row.get::<_, Option<[u8; 32]>>(0))
                .optional()?;
            Ok(head.flatten())
        })
    }

    fn summary(
        &self,
        tag: &WorkspaceTag,
        listed: Option<&Listed>,
    ) -> Result<Option<(WorkspaceRow, Vec<ChainEnd>)>, LogError> {
        self.read(|connection| {
            // One read transaction: frontier and chains are of one moment.
            let snapshot = connection.unchecked_transaction()?;
            let Some(workspace) = find(&snapshot, tag)? else {
                return Ok(None);
            };
            let chains = documents::chain_ends(&snapshot, workspace.row, listed)?;
            Ok(Some((workspace, chains)))
        })
    }

    fn reset(&self, row: Row, old_log: &LogId) -> Result<Option<Vec<u8>>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(include_str!("sql/reset_find.sql"))?
                .query_row(params![row, old_log.as_bytes()], |row| row.get(0))
                .optional()
        })
    }

    fn statuses(&self, row: Row, except: &DeviceId) -> Result<Vec<Vec<u8>>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/status_others.sql"))?;
            let found = statement.query_map(params![row, except.as_bytes()], |row| row.get(0))?;
            found.collect()
        })
    }

    fn commit(&self, writes: &[Write]) -> Result<(), LogError> {
        let mut writer = lock(&self.writer);
        let mut connection = match writer.take() {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        commit(&mut connection, writes)?;
        *writer = Some(connection);
        Ok(())
    }

    fn backlog(&self) -> Result<Backlog, LogError> {
        let (written, moved) = self.checkpoint(include_str!("sql/wal_look.sql"))?;
        Ok(match (written >= BACKLOG_PAGES, written - moved) {
            (true, 1..=REST_PAGES) => Backlog::Rest,
            (true, left) if left > REST_PAGES => Backlog::Much,
            _ => Backlog::Little,
        })
    }

    fn move_backlog(&self) -> Result<(), LogError> {
        self.checkpoint(include_str!("sql/wal_move.sql")).map(drop)
    }
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Corrupt { what: "page" }
            }
            _ => Self::Sqlite(error),
        }
    }
}

fn connect(path: &Path) -> Result<Connection, LogError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // Else what is bound to a statement may ask for another plan, and it is parsed anew at its next use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Brings the layout up to date, in one transaction.
fn migrate(connection: &mut Connection) -> Result<(), LogError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(LogError::TooNew { found, known });
    }
    if found == known {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    let missing = MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default());
    missing.into_iter().try_for_each(|migration| transaction.execute_batch(migration))?;
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}

fn find(connection: &Connection, tag: &WorkspaceTag) -> rusqlite::Result<Option<WorkspaceRow>> {
    connection
        .prepare_cached(include_str!("sql/workspace_find.sql"))?
        .query_row([tag.as_bytes()], rows::workspace)
        .optional()
}

fn commit(connection: &mut Connection, writes: &[Write]) -> Result<(), LogError> {
    let transaction = connection.transaction()?;
    for write in writes {
        writes::perform(&transaction, write)?;
    }
    Ok(transaction.commit()?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
