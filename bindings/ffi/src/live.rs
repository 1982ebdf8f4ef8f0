//! How many handles an app holds: what a leak shows in.

use std::sync::atomic::{AtomicU64, Ordering};

static LIVE: AtomicU64 = AtomicU64::new(0);

/// Counts the handle that holds it.
#[derive(Debug)]
pub(crate) struct Live(());

impl Live {
    pub(crate) fn new() -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns how many handles there are in this process: replicas, workspaces, documents, kits, subscriptions and links.
#[uniffi::export]
#[must_use]
pub fn live_object_count() -> u64 {
    LIVE.load(Ordering::Relaxed)
}
