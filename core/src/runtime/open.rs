//! Store and engine, from when the store's file is opened until it is let go of.
//!
//! Invariant: what can fail when they are closed without loss does not make the closing fail.

use crate::engine::Engine;
use crate::store::{Store, StoreError};

/// Store and engine, while they are open.
pub(super) struct Open {
    pub(super) store: Store,
    pub(super) engine: Engine,
}

impl Open {
    /// Lets go of both, with all written back into the store's file.
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        if let Err(error) = self.fold_resting() {
            // The disk is nearly full, say. What is pending lies there as before, and the engine goes.
            tracing::debug!(%error, "what is pending was not folded");
        }
        self.store.checkpoint()
    }

    fn fold_resting(&mut self) -> Result<(), StoreError> {
        let tx = self.store.begin(false)?;
        self.engine.fold_resting(&tx)?;
        tx.commit()
    }
}
