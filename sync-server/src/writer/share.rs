//! How much of one workspace goes into a transaction, by how long the last ones took.
//!
//! Invariant: beside others it is [`SHARE_ITEMS_MAX`] and [`SHARE_BYTES_MAX`]. Who is alone gets more only while that
//! takes at most [`LONE_TIMES_MAX`] times as long: whoever comes next waits for what has begun.

use std::time::Duration;

/// Items of one workspace in one transaction while others write too: as many as take the time of a flush, so that these
/// hardly see them.
pub const SHARE_ITEMS_MAX: usize = 64;
/// Bytes of them, for the same reason.
pub const SHARE_BYTES_MAX: usize = 256 << 10;
/// How often a share is doubled while nobody else writes: to a thousand items, which a slow disk needs to keep up with
/// one device that comes back with a year's work.
const SHARE_DOUBLINGS_MAX: u32 = 4;
/// How much longer a doubled share may take than a plain one.
const LONE_TIMES_MAX: u32 = 2;

/// The share of each workspace in the next transaction.
#[derive(Default)]
pub(super) struct Share {
    doublings: u32,
    /// Whether the last transaction was one workspace's, which had more than its share.
    filled: bool,
    /// How long a transaction takes with one plain share.
    plain: Option<Duration>,
}

impl Share {
    /// Returns how many items and bytes each may take, before a transaction for which so many workspaces wait.
    pub(super) fn begin(&mut self, workspaces: usize) -> (usize, usize) {
        self.filled = workspaces == 1;
        if workspaces > 1 {
            self.doublings = 0;
        }
        (SHARE_ITEMS_MAX << self.doublings, SHARE_BYTES_MAX << self.doublings)
    }

    /// Notes how many workspaces wait still after it was taken.
    pub(super) fn end(&mut self, workspaces: usize) {
        self.filled &= workspaces > 0;
    }

    /// Notes how long it took.
    pub(super) fn note(&mut self, took: Duration) {
        if !self.filled {
            return;
        }
        self.filled = false;
        if self.doublings == 0 {
            // Slow to rise: a disk that stands still for once says nothing of the next time.
            self.plain = Some(self.plain.map_or(took, |plain| took.min(plain + plain / 4)));
        }
        let Some(plain) = self.plain else { return };
        if took > plain * LONE_TIMES_MAX {
            self.doublings = self.doublings.saturating_sub(1);
        } else if took * 3 <= plain * 4 || self.doublings == 0 {
            // A doubling adds at most twice what all before it have added: so it stays below the bound.
            self.doublings = (self.doublings + 1).min(SHARE_DOUBLINGS_MAX);
        }
    }
}
