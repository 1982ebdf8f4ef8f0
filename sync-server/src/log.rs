//! The durable log of every workspace: what a relay keeps, and nothing that opens it.
//!
//! Invariant: [`Log::commit`] takes all its writes or none, and what it took survives a power cut; a
//! read sees committed writes only. There is one caller of `commit` (the writer thread), and any
//! number of readers.

mod listed;
mod pruned;
pub mod sqlite;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use tombolo_protocol::entry::Entry;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{
    ChainId, ChainKey, DeviceId, DocumentTag, EntryHash, LogId, RecordId, UserId, WorkspaceId, WorkspaceTag,
};
use tombolo_protocol::item::{Declaration, ItemHash, LogItem};
use tombolo_protocol::log::Frontier;

pub use listed::{Listed, Told, Wants};
pub use pruned::{Cut, Floor, SweptWrite, TakenFloor};
pub use write::{AppendWrite, Write};

/// Number of a workspace on this relay; its channel number in every session.
pub type Row = u32;

/// Why the log can not serve.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
    /// The disk is full; what was committed is still there.
    Full,
    /// The store was written by a later version of the relay.
    TooNew {
        /// The version that was found.
        found: i64,
        /// The newest that this relay knows.
        known: i64,
    },
    /// A stored value is not what the relay wrote.
    Corrupt {
        /// What it was meant to be.
        what: &'static str,
    },
    /// SQLite refuses.
    Sqlite(rusqlite::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the disk is full; free some space, nothing acknowledged is lost"),
            Self::TooNew { found, known } => {
                write!(
                    f,
                    "the store is of version {found}, this relay knows up to {known}; update the relay, the store was left untouched"
                )
            }
            Self::Corrupt { what } => write!(
                f,
                "a stored {what} is damaged; restore the folder from a backup, devices bring back what it lacks"
            ),
            Self::Sqlite(error) => write!(f, "the store refuses: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

/// A workspace as it stands in the log.
#[derive(Clone, Debug)]
pub struct WorkspaceRow {
    /// Its number here.
    pub row: Row,
    /// Its name.
    pub workspace: WorkspaceId,
    /// Its present history.
    pub log: LogId,
    /// Length and Merkle roots.
    pub frontier: Frontier,
    /// Bytes of its items.
    pub bytes: u64,
    /// The last position of which the bytes are gone; zero if none are.
    pub pruned: u64,
}

/// The end of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRow {
    /// The chain.
    pub key: ChainKey,
    /// Seq of its last entry.
    pub seq: u64,
    /// Hash of its last entry.
    pub hash: EntryHash,
    /// The membership record that its last entry stands on.
    pub members_head: RecordId,
    /// Position of its newest item with a full header.
    pub declared_at: u64,
    /// Seq of that item.
    pub declared_seq: u64,
}

/// An item on its way into the log.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// Where it will stand.
    pub position: u64,
    /// Its name.
    pub hash: ItemHash,
    /// For an entry: its place in its chain.
    pub chain: Option<(ChainId, u64)>,
    /// The item in its stored form.
    pub bytes: Vec<u8>,
}

/// A record or attestation as it stands in the log.
#[derive(Clone, Debug)]
pub struct MembershipItem {
    /// Where it stands.
    pub position: u64,
    /// The digest of its name.
    pub hash: Digest,
    /// The item.
    pub bytes: Vec<u8>,
}

/// An entry as it stands in the log.
#[derive(Clone, Debug)]
pub struct ChainItem {
    /// Where it stands.
    pub position: u64,
    /// Its place in its chain.
    pub seq: u64,
    /// Its hash.
    pub hash: EntryHash,
    /// The item, perhaps in short form; empty once it is gone.
    pub bytes: Vec<u8>,
}

/// The end of a chain, as a summary tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// Which chain.
    pub chain: ChainId,
    /// Its last seq.
    pub seq: u64,
    /// Hash of its last entry.
    pub hash: EntryHash,
    /// Position of its newest item with a full header.
    pub declared_at: u64,
    /// Seq of that item.
    pub declared_seq: u64,
}

/// The store of all logs.
pub trait Log: Send + Sync {
    /// Finds a workspace by its short name.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn find(&self, tag: &WorkspaceTag) -> Result<Option<WorkspaceRow>, LogError>;
    /// Returns the greatest number of a workspace, zero without any.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn last_row(&self) -> Result<Row, LogError>;
    /// Tells whether a device may be a member of a workspace, at one cost for all answers.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn may_be_member(&self, tag: &WorkspaceTag, device: &DeviceId) -> Result<bool, LogError>;
    /// Tells whether a device may be a member of any workspace here.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn knows_device(&self, device: &DeviceId) -> Result<bool, LogError>;

    /// Returns workspaces that a user may be a member of, at most so many.
    ///
    /// # Errors
    /// [`LogError`] if it can not be read.
    fn workspaces_of(&self, user: &UserId, count_max: usize) -> Result<Vec<WorkspaceTag>, LogError>;
    /// Tells whether a device may be a member of any workspace here but one.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn knows_elsewhere(&self, device: &DeviceId, but: Row) -> Result<bool, LogError>;
    /// Tells whether a device was given up in a workspace here, and is a member of none.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn is_revoked(&self, device: &DeviceId) -> Result<bool, LogError>;
    /// Returns the records and attestations of a workspace, in order.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn membership(&self, row: Row) -> Result<Vec<MembershipItem>, LogError>;
    /// Returns members' words on snapshots in a workspace, in order.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn words(&self, row: Row) -> Result<Vec<Vec<u8>>, LogError>;
    /// Returns members' words on one snapshot, given by its last part, in order.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn words_on(&self, row: Row, snapshot: &EntryHash) -> Result<Vec<Vec<u8>>, LogError>;
    /// Returns position and name of the last parts of a workspace's snapshots, the newest first.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn snapshots(&self, row: Row) -> Result<Vec<(u64, EntryHash)>, LogError>;
    /// Returns the snapshots that have enough words, and since when they were seen to.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn vouched(&self, row: Row) -> Result<Vec<(EntryHash, i64)>, LogError>;
    /// Returns from where on a chain is held, if some of it is gone.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn floor(&self, row: Row, chain: &ChainId) -> Result<Option<Floor>, LogError>;
    /// Returns from where on the chains of a document are held of which some is gone.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn floors(&self, row: Row, document: &DocumentTag) -> Result<BTreeMap<ChainId, u64>, LogError>;
    /// Returns how many bytes a cut frees, and the last position that it empties.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn freed_by(&self, row: Row, cut: &Cut) -> Result<(u64, u64), LogError>;
    /// Returns the end of a chain.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn chain(&self, row: Row, chain: &ChainId) -> Result<Option<ChainRow>, LogError>;
    /// Returns entries of a chain by seq, up to about `bytes_max`.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn chain_run(
        &self,
        row: Row,
        chain: &ChainId,
        seqs: (u64, u64),
        bytes_max: usize,
    ) -> Result<Vec<ChainItem>, LogError>;
    /// Returns the item at a position.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn item(&self, row: Row, position: u64) -> Result<Option<Vec<u8>>, LogError>;
    /// Returns the items of a range of positions from its start, up to the given count and bytes, but
    /// always the first.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn items(&self, row: Row, positions: (u64, u64), bytes_max: usize) -> Result<Vec<Vec<u8>>, LogError>;
    /// Returns the items of a range of positions from its start, as [`Log::items`] does, but without the bytes of those
    /// that are not wanted. It is asked with the document of an entry, and with none for anything else.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn items_wanted(
        &self,
        row: Row,
        positions: (u64, u64),
        wants: &Wants<'_>,
        bytes_max: usize,
    ) -> Result<Vec<Told>, LogError>;
    /// Returns the head at a position, if a batch of the present history ended there.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn head_at(&self, row: Row, position: u64) -> Result<Option<Digest>, LogError>;
    /// Returns frontier and chain ends of one moment; of some chains, or of all.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn summary(
        &self,
        tag: &WorkspaceTag,
        listed: Option<&Listed>,
    ) -> Result<Option<(WorkspaceRow, Vec<ChainEnd>)>, LogError>;
    /// Returns the admission that a history was lost.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn reset(&self, row: Row, old_log: &LogId) -> Result<Option<Vec<u8>>, LogError>;
    /// Returns the status rows of all devices but one.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn statuses(&self, row: Row, except: &DeviceId) -> Result<Vec<Vec<u8>>, LogError>;
    /// Writes all or nothing, durably.
    ///
    /// # Errors
    /// [`LogError`] if nothing was written.
    fn commit(&self, writes: &[Write]) -> Result<(), LogError>;
    /// Tells how much of what is committed has still to be moved to where it stays.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn backlog(&self) -> Result<Backlog, LogError>;
    /// Moves it there; commits go on meanwhile.
    ///
    /// # Errors
    /// [`LogError`] if it could not be moved; it is as durable as before.
    fn move_backlog(&self) -> Result<(), LogError>;
}

/// What is committed and not yet where it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Not worth moving.
    Little,
    /// So much that whoever waited for it would notice.
    Much,
    /// What was written while much was moved: once it is moved as well, the room is free again.
    Rest,
}

/// Reads what the item at a position declares for the short forms that name it; nothing once it is gone.
///
/// # Errors
/// [`LogError`] if the store can not be read or the item is not what was written.
pub fn declaration(log: &dyn Log, row: Row, position: u64) -> Result<Option<Declaration>, LogError> {
    let Some(bytes) = log.item(row, position)?.filter(|bytes| !bytes.is_empty()) else {
        return Ok(None);
    };
    match LogItem::decode(&bytes) {
        Ok(LogItem::Entry(entry)) => Entry::decode(entry)
            .map(|entry| Some(Declaration::of(entry.header())))
            .map_err(|_| LogError::Corrupt { what: "entry" }),
        Ok(_) => Ok(None),
        Err(_) => Err(LogError::Corrupt { what: "log item" }),
    }
}

/// Puts stored entries together again, with their full headers; stops at the first that is gone or damaged.
///
/// # Errors
/// [`LogError`] if the store can not be read.
pub fn expand_run(
    log: &dyn Log,
    row: Row,
    mut prev: Option<EntryHash>,
    items: &[ChainItem],
) -> Result<Vec<Entry>, LogError> {
    let mut declared: Option<(u64, Declaration)> = None;
    let mut entries = Vec::with_capacity(items.len());
    for item in items.iter().take_while(|item| !item.bytes.is_empty()) {
        let entry = match LogItem::decode(&item.bytes) {
            Ok(LogItem::Entry(bytes)) => Entry::decode(bytes).ok(),
            Ok(LogItem::Elided(elided)) => {
                if declared.as_ref().map(|(position, _)| *position) != Some(elided.declared_at) {
                    declared =
                        declaration(log, row, elided.declared_at)?.map(|declaration| (elided.declared_at, declaration));
                }
                match (&declared, prev) {
                    (Some((_, declaration)), Some(prev)) => elided.expand(declaration, prev).ok(),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(entry) = entry.filter(|entry| entry.hash() == item.hash) else {
            tracing::error!(position = item.position, "a stored entry is damaged");
            break;
        };
        prev = Some(entry.hash());
        entries.push(entry);
    }
    Ok(entries)
}
