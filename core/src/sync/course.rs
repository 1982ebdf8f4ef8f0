//! The course of a log: how far this device has taken it, and over which items it last came there.
//!
//! Invariant: a head that is told of a length is that of the very items counted in; of a length before the window
//! nothing is told.

use std::collections::VecDeque;

use tombolo_protocol::hash::Digest;
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::log::{Frontier, LogOrigin};

/// Items after which a frontier is kept: as many are hashed again, at most, for a head that is asked for afterwards.
const STRETCH_ITEMS: usize = 16;
/// How many such stretches are kept, a thousand items: fellows tell of their places within seconds.
const STRETCHES_MAX: usize = 64;

/// Items that follow one another, and the frontier before the first.
struct Stretch {
    start: Frontier,
    items: Vec<ItemHash>,
}

/// How far a log was taken, and the last items of it.
#[derive(Default)]
pub(crate) struct Course {
    frontier: Frontier,
    stretches: VecDeque<Stretch>,
}

impl Course {
    /// Begins at a place of which only the frontier is known.
    pub(crate) fn from_frontier(frontier: Frontier) -> Self {
        Self { frontier, stretches: VecDeque::new() }
    }

    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Returns how many items it covers.
    pub(crate) fn length(&self) -> u64 {
        self.frontier.length()
    }

    /// Counts one more item in.
    pub(crate) fn append(&mut self, item: &ItemHash) {
        if self.stretches.back().is_none_or(|last| last.items.len() >= STRETCH_ITEMS) {
            if self.stretches.len() >= STRETCHES_MAX {
                self.stretches.pop_front();
            }
            self.stretches.push_back(Stretch { start: self.frontier.clone(), items: Vec::new() });
        }
        if let Some(last) = self.stretches.back_mut() {
            last.items.push(*item);
        }
        self.frontier.append(item);
    }

    /// Returns the head at a length, if it is known still.
    pub(crate) fn head_at(&self, length: u64, origin: &LogOrigin) -> Option<Digest> {
        if length == self.length() {
            return Some(self.frontier.head(origin));
        }
        let stretch = self.stretches.iter().rev().find(|stretch| stretch.start.length() <= length)?;
        let mut frontier = stretch.start.clone();
        for item in stretch.items.get(..usize::try_from(length - frontier.length()).ok()?)? {
            frontier.append(item);
        }
        Some(frontier.head(origin))
    }
}

#[cfg(test)]
mod tests {
    use tombolo_protocol::ids::{EntryHash, LogId, RelayId, WorkspaceId};

    use super::*;

    #[test]
    fn a_head_in_the_window_is_that_of_a_log_which_ends_there_and_before_it_there_is_none() {
        let origin = LogOrigin::new(
            &RelayId::from_bytes([1; 32]),
            &LogId::from_bytes([2; 16]),
            &WorkspaceId::from_bytes([3; 32]),
        );
        let item = |nth: u64| ItemHash::Entry(EntryHash::from_bytes([nth as u8; 32]));
        let mut before = Frontier::new();
        (0..10).for_each(|nth| before.append(&item(nth)));
        let mut course = Course::from_frontier(before.clone());
        let mut heads = vec![(10, before.head(&origin))];
        for nth in 10..3_000 {
            before.append(&item(nth));
            course.append(&item(nth));
            heads.push((before.length(), before.head(&origin)));
            assert_eq!(course.head_at(before.length(), &origin), Some(before.head(&origin)));
        }
        let known = heads.iter().filter(|(length, _)| course.head_at(*length, &origin).is_some()).count();
        assert!((1_008..=1_025).contains(&known), "{known}");
        for (length, head) in &heads[heads.len() - known..] {
            assert_eq!(course.head_at(*length, &origin), Some(*head), "{length}");
        }
        assert_eq!((course.head_at(9, &origin), course.head_at(4_000, &origin)), (None, None));
    }
}
