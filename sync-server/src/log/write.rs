//! What one commit writes.
//!
//! Invariant: a write names all that it changes: nothing is looked up when it is performed.

use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{DeviceId, LogId, WorkspaceId};
use tombolo_protocol::log::Frontier;

use super::{ChainRow, NewItem, Row, SweptWrite, TakenFloor};

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
    /// What was found of the snapshots of a workspace, and what goes because of it.
    Swept(SweptWrite),
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
            Self::Create { .. } | Self::Reset { .. } | Self::Ended { .. } | Self::Status { .. } | Self::Swept(_) => 0,
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
    /// The chains that begin, or go on behind a gap, with what a snapshot covers.
    pub floors: Vec<TakenFloor>,
    /// Ids of devices and users that may be members now.
    pub members: Vec<[u8; 32]>,
    /// Length and Merkle roots after the items.
    pub frontier: Frontier,
    /// The head after the items.
    pub head: Digest,
}
