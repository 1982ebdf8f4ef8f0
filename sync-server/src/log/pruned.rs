//! What a snapshot stands for, and goes (`workspace/sweep.rs`).
//!
//! Invariant: of what goes the row stays, and with it position, name and place in the chain.

use tombolo_protocol::ids::{ChainId, DocumentTag, EntryHash};

use super::Row;

/// From where on a chain is still held, and what stands for what is gone: a run of a snapshot's own chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The first entry of the chain that is held.
    pub seq: u64,
    /// The chain of the snapshot.
    pub snapshot: ChainId,
    /// The first entry of that chain that is held.
    pub from_seq: u64,
    /// The snapshot's last part.
    pub to_seq: u64,
}

/// What goes of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which chain.
    pub chain: ChainId,
    /// Of which document.
    pub document: DocumentTag,
    /// From where on it stays.
    pub floor: Floor,
    /// Position of an item below that stays, for others name it as their declaration.
    pub kept: u64,
}

/// From where on a chain is held of which the log never had what is below, or has it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenFloor {
    /// Which chain.
    pub chain: ChainId,
    /// Of which document.
    pub document: DocumentTag,
    /// From where on it is held.
    pub floor: Floor,
}

/// What was found of the snapshots of a workspace, and what goes because of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweptWrite {
    /// Which workspace.
    pub row: Row,
    /// Snapshots that have enough words now, and had not before.
    pub found: Vec<EntryHash>,
    /// By the relay's clock.
    pub since_ms: i64,
    /// Snapshots that have them no more.
    pub lost: Vec<EntryHash>,
    /// What goes.
    pub cuts: Vec<Cut>,
    /// How many bytes go.
    pub freed_bytes: u64,
    /// The last position of which the bytes go.
    pub pruned: u64,
}
