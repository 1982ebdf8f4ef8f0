//! The store: one SQLite file per device, one writer, every content value sealed under the store key.
//!
//! Data comes from the engine inside a [`Tx`]; it leaves the same way. What the driver commits is
//! durable before it is shown or sent.
//!
//! Invariant: the file is never deleted or blanked; a value that does not open is reported, not
//! dropped; trouble with memory or disk is never taken for corruption. SQL lives in `queries.sql` and
//! the migrations beside it.

mod attests;
mod branches;
mod content;
mod documents;
mod entries;
mod error;
mod evidence;
mod horizon;
mod integrity;
mod lock;
mod logs;
mod open;
mod owed;
mod packed;
mod pending;
mod saved;
pub(crate) mod sql;
mod vouched;
mod wanted;
mod workspaces;

use std::cell::Cell;
use std::path::{Path, PathBuf};

pub(crate) use branches::Branch;
pub(crate) use content::EntryRow;
pub(crate) use documents::{About, ChainRow, DocumentRow, Pending, PendingRow};
pub(crate) use entries::{EntryState, QuarantinedRow};
pub use error::StoreError;
pub use evidence::{EvidenceKind, RelayEvidence};
pub(crate) use horizon::Floor;
pub use integrity::IntegrityReport;
pub(crate) use logs::{LogRow, RelayRow};
pub(crate) use open::INCARNATION;
pub(crate) use owed::Unplaced;
pub(crate) use pending::PENDING_BITS;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
pub(crate) use saved::SavedRow;
use sql::sql;
use tombolo_crypto::{Entropy, KeyVault, StoreCipher};
pub(crate) use vouched::VouchedRow;
pub(crate) use workspaces::WorkspaceRow;
pub use workspaces::{JoinRefusal, WorkspaceState};

/// How much a resolved edit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: every commit reaches the platter (`synchronous=FULL`).
    #[default]
    Power,
    /// The death of the process, but not a power cut (`synchronous=NORMAL`). Entries that leave the
    /// device still reach the platter first.
    Process,
}

/// A device's store.
pub struct Store {
    connection: Connection,
    cipher: StoreCipher,
    lock: lock::StoreLock,
    path: PathBuf,
    durability: Durability,
    /// Whether commits reach the platter as the connection is set now.
    on_platter: Option<bool>,
    generation: u64,
    /// The generation as it is stored; also what is written to see whether a full disk has room again.
    generation_sealed: Vec<u8>,
    /// Whether the generation of this opening is in the store and in the lock file.
    generation_drawn: bool,
    fresh_incarnation: bool,
    /// Whether the disk had no room for the last commit: then reads work, and nothing is written.
    full: Cell<bool>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, or makes it; refuses a second owner, foreign files and newer layouts.
    ///
    /// # Errors
    /// [`StoreError`] says what is in the way; nothing was changed then.
    pub fn open(
        path: &Path,
        vault: &dyn KeyVault,
        durability: Durability,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, StoreError> {
        open::open(path, vault, durability, entropy)
    }

    /// Begins a transaction; dropped without a commit it leaves no trace.
    ///
    /// With `on_platter` the commit reaches the platter whatever the durability: an entry that is about
    /// to leave must never be forgotten by a power cut.
    ///
    /// # Errors
    /// [`StoreError`] if SQLite can not begin.
    pub fn begin(&mut self, on_platter: bool) -> Result<Tx<'_>, StoreError> {
        if self.full.get() {
            self.draw_generation()?;
        }
        self.reach(on_platter || self.durability == Durability::Power)?;
        let transaction = self.connection.unchecked_transaction()?;
        let changes = transaction.total_changes();
        Ok(Tx { transaction, cipher: &self.cipher, changes, full: &self.full })
    }

    /// Sets whether commits reach the platter.
    fn reach(&mut self, platter: bool) -> Result<(), StoreError> {
        if self.on_platter != Some(platter) {
            self.connection.pragma_update(None, "synchronous", if platter { "FULL" } else { "NORMAL" })?;
            self.on_platter = Some(platter);
        }
        Ok(())
    }

    /// Tells whether the disk is full: then reads work, what would write answers
    /// [`StoreError::DiskFull`], and writing goes on by itself once there is room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Tells whether the file was new, copied or rolled back when it was opened, so that a new
    /// incarnation begins.
    #[must_use]
    pub fn fresh_incarnation(&self) -> bool {
        self.fresh_incarnation
    }

    /// Returns where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the log of recent commits back into the file, so that it can be copied or suspended, and gives room
    /// back to the disk that was needed once.
    ///
    /// # Errors
    /// [`StoreError`] if the disk is full or failing; the store stays usable.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        match self.shrink() {
            // Without room to write the file anew it stays as large as it is.
            Ok(()) | Err(StoreError::DiskFull) => {}
            Err(error) => return Err(error),
        }
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Writes a small file anew, in one transaction, if much of it is free.
    fn shrink(&mut self) -> Result<(), StoreError> {
        let pages: u32 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let free: u32 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let pays = free >= SHRINK_FROM_PAGES && free >= pages / SHRINK_SHARE;
        if pays && pages - free <= SHRINK_PAGES_MAX && !self.full.get() {
            self.reach(true)?;
            self.connection.execute_batch("VACUUM")?;
        }
        Ok(())
    }
}

/// Free pages from which a file is written anew: below it nobody notices.
const SHRINK_FROM_PAGES: u32 = 16;
/// Which part of the file must be free: one in this many.
const SHRINK_SHARE: u32 = 4;
/// Pages in use up to which it is done, in memory, while somebody waits for the store to close: 16 MiB. A larger store
/// uses its free pages again.
const SHRINK_PAGES_MAX: u32 = 4096;

/// One transaction on the store: the only way to change it.
pub struct Tx<'s> {
    transaction: Transaction<'s>,
    cipher: &'s StoreCipher,
    /// How many rows the connection had changed when it began.
    changes: u64,
    full: &'s Cell<bool>,
}

impl Tx<'_> {
    /// Makes everything done in this transaction durable.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] and others; then none of it happened.
    pub fn commit(self) -> Result<(), StoreError> {
        if self.has_written() {
            self.room()?;
        }
        let committed = self.transaction.commit().map_err(StoreError::from);
        if matches!(committed, Err(StoreError::DiskFull)) {
            self.full.set(true);
        }
        committed
    }

    /// Tells whether the transaction has changed anything so far.
    pub(crate) fn has_written(&self) -> bool {
        self.transaction.total_changes() != self.changes
    }

    /// Refuses what would write while the disk is known to be full.
    pub(crate) fn room(&self) -> Result<(), StoreError> {
        if self.full.get() { Err(StoreError::DiskFull) } else { Ok(()) }
    }

    /// Reads a value of the store itself.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("meta"))?;
        let sealed: Option<Vec<u8>> = statement.query_row([key], |row| row.get(0)).optional()?;
        sealed.map(|sealed| self.open_value("meta", "value", key.as_bytes(), &sealed)).transpose()
    }

    /// Writes a value of the store itself.
    pub(crate) fn set_meta(&self, key: &str, value: &[u8], entropy: &mut dyn Entropy) -> Result<(), StoreError> {
        let sealed = self.cipher.seal("meta", "value", key.as_bytes(), value, entropy);
        self.transaction.prepare_cached(sql!("set_meta"))?.execute((key, sealed))?;
        Ok(())
    }

    /// Writes bytes as they are, for the bugs that are planted against secrecy.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn trace(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.transaction.execute_batch("CREATE TABLE IF NOT EXISTS trace (bytes BLOB)")?;
        self.transaction.execute("INSERT INTO trace VALUES (?1)", [bytes])?;
        Ok(())
    }

    /// Forgets a value of the store itself.
    pub(crate) fn forget_meta(&self, key: &'static str) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("forget_meta"))?.execute([key])?;
        Ok(())
    }

    fn open_value(
        &self,
        table: &'static str,
        column: &'static str,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.cipher.open(table, column, key, sealed).map_err(|_| StoreError::Corrupt { table })
    }

    fn open_optional(
        &self,
        table: &'static str,
        column: &'static str,
        key: &[u8],
        sealed: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        sealed.map(|sealed| self.open_value(table, column, key, &sealed)).transpose()
    }
}

/// Reads a stored id or hash; other lengths mean that the disk changed it.
fn exact<const N: usize>(table: &'static str, bytes: Vec<u8>) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt { table })
}
