//! The room for what sessions show of snapshots (`workspace/floors.rs`).
//!
//! Invariant: all sessions share it, so that no number of them takes more of the memory.

use std::sync::Arc;

use super::Relay;
use crate::workspace::Room;

impl Relay {
    /// Returns the room for what sessions show and have not made whole.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }
}
