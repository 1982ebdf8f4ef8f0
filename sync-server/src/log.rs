//! The durable log of every workspace: what a relay keeps, and nothing that opens it.
//!
//! Invariant: [`Log::commit`] takes all its writes or none, and what it took survives a power cut; a
//! read sees committed writes only. There is one caller of `commit` (the writer thread), and any
//! number of readers.

pub mod sqlite;

use std::fmt;

use tombolo_protocol::entry::Entry;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{
    ChainId, ChainKey, DeviceId, EntryHash, LogId, RecordId, UserId, WorkspaceId, WorkspaceTag,
};
use tombolo_protocol::item::{Declaration, ItemHash, LogItem};
use tombolo_protocol::log::Frontier;

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
    /// The item, perhaps in short form.
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

/// One part of a commit.
#[derive(Clone, Debug)]
pub enum Write {
    /// A workspace begins, empty.
    Create {
        /// Its number here.
        row: Row,
        /// Its name.
        workspace: WorkspaceId,
        /// Its history.
        log: LogId,
    },
    /// A workspace's history can not be continued; its items move to another.
    Reset {
        /// Which workspace.
        row: Row,
        /// The history that ends.
        old_log: LogId,
        /// The present history.
        new_log: LogId,
        /// The head of the items under the present history, and their number.
        head: (u64, Digest),
        /// The signed admission.
        statement: Vec<u8>,
    },
    /// Items at the end of a workspace's log.
    Append(AppendWrite),
    /// Devices that are members no more, and whether their users gave them up.
    Ended {
        /// Which workspace.
        row: Row,
        /// The devices.
        devices: Vec<(DeviceId, bool)>,
    },
    /// A device's newest status row.
    Status {
        /// Which workspace.
        row: Row,
        /// Whose row.
        device: DeviceId,
        /// Counts the device's rows.
        nth: u64,
        /// The row.
        bytes: Vec<u8>,
    },
    /// Proof that a commit is possible.
    Probe {
        /// The relay's clock.
        time_ms: i64,
        /// How much must be possible.
        filler_bytes: u64,
    },
}

impl Write {
    /// Returns about how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Append(append) => append.items.iter().map(|item| item.bytes.len() as u64).sum(),
            Self::Probe { filler_bytes, .. } => *filler_bytes,
            Self::Create { .. } | Self::Reset { .. } | Self::Ended { .. } | Self::Status { .. } => 0,
        }
    }
}

/// Items at the end of a workspace's log, and what changes with them.
#[derive(Clone, Debug)]
pub struct AppendWrite {
    /// Which workspace.
    pub row: Row,
    /// The items, at consecutive positions; may be none.
    pub items: Vec<NewItem>,
    /// The chains that end elsewhere now.
    pub chains: Vec<ChainRow>,
    /// Ids of devices and users that may be members now.
    pub members: Vec<[u8; 32]>,
    /// Length and Merkle roots after the items.
    pub frontier: Frontier,
    /// The head after the items.
    pub head: Digest,
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
    /// Returns the head at a position, if a batch of the present history ended there.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn head_at(&self, row: Row, position: u64) -> Result<Option<Digest>, LogError>;
    /// Returns frontier and chain ends of one moment.
    ///
    /// # Errors
    /// [`LogError`] if the store can not be read.
    fn summary(&self, tag: &WorkspaceTag) -> Result<Option<(WorkspaceRow, Vec<ChainEnd>)>, LogError>;
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
}

/// Reads what the item at a position declares for the short forms that name it.
///
/// # Errors
/// [`LogError`] if the store can not be read or the item is not what was written.
pub fn declaration(log: &dyn Log, row: Row, position: u64) -> Result<Option<Declaration>, LogError> {
    let Some(bytes) = log.item(row, position)? else {
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

/// Puts stored entries together again, with their full headers; stops at the first that is damaged.
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
    for item in items {
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
