//! What the relay lets go of in workspaces in which nothing happens.
//!
//! Invariant: only what is committed is let go, and it is loaded again when somebody asks for it; a workspace at work
//! keeps what it has.

use std::sync::{Arc, Weak};

use super::{Relay, lock};

impl Relay {
    /// Lets all workspaces rest of which nobody has asked anything since this was called last: most of those that are open
    /// are only read, and what new items are judged against takes more memory than the sessions do.
    pub fn rest(&self) {
        // One at a time: what is held here counts as in use.
        let loaded: Vec<_> = lock(&self.workspaces).loaded.values().map(Arc::downgrade).collect();
        loaded.iter().filter_map(Weak::upgrade).for_each(|workspace| workspace.rest());
    }
}
