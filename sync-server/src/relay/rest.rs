//! What the relay lets go of in workspaces in which nothing happens.
//!
//! Invariant: only what is committed is let go, and it is loaded again when somebody asks for it; a workspace at work
//! keeps what it has.

use super::{Relay, lock};

impl Relay {
    /// Lets all workspaces rest of which nobody has asked anything since this was called last: most of those that are open
    /// are only read, and what new items are judged against takes more memory than the sessions do.
    pub fn rest(&self) {
        let loaded: Vec<_> = lock(&self.workspaces).loaded.values().cloned().collect();
        loaded.iter().for_each(|workspace| workspace.rest());
    }
}
