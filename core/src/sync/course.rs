//! The course of a log: how far this device has taken it, and over which items it last came there.
//!
//! Invariant: a head that is told of a length is that of the very items counted in; of a length before the window
//! nothing is told.

use std::collections::VecDeque;

use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::item::{ItemHash, LeftOut};
use tombolo_protocol::log::{Frontier, LogOrigin};

use super::channel::Channel;

/// Items after which a frontier is kept: as many are hashed again, at most, for a head that is asked for afterwards.
const STRETCH_ITEMS: usize = 16;
/// How many such stretches are kept, a thousand items: fellows tell of their places within seconds.
const STRETCHES_MAX: usize = 64;

/// What was counted in at once.
enum Step {
    Item(ItemHash),
    LeftOut(LeftOut),
}

/// Steps that follow one another, and the frontier before the first.
struct Stretch {
    start: Frontier,
    steps: Vec<Step>,
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
        self.make_room();
        self.frontier.append(item);
        self.keep(Step::Item(*item));
    }

    /// Counts in a run that was left out.
    ///
    /// # Errors
    /// [`DecodeError`] if its roots are not those of such a run.
    pub(crate) fn append_run(&mut self, run: LeftOut) -> Result<(), DecodeError> {
        self.make_room();
        self.frontier.append_run(run.count, &run.roots)?;
        self.keep(Step::LeftOut(run));
        Ok(())
    }

    /// Begins a stretch where the last one is full: before what belongs to it is counted in.
    fn make_room(&mut self) {
        if self.stretches.back().is_none_or(|last| last.steps.len() >= STRETCH_ITEMS) {
            if self.stretches.len() >= STRETCHES_MAX {
                self.stretches.pop_front();
            }
            self.stretches.push_back(Stretch { start: self.frontier.clone(), steps: Vec::new() });
        }
    }

    fn keep(&mut self, step: Step) {
        if let Some(last) = self.stretches.back_mut() {
            last.steps.push(step);
        }
    }

    /// Returns the head at a length, if it is known still.
    pub(crate) fn head_at(&self, length: u64, origin: &LogOrigin) -> Option<Digest> {
        if length == self.length() {
            return Some(self.frontier.head(origin));
        }
        let stretch = self.stretches.iter().rev().find(|stretch| stretch.start.length() <= length)?;
        let mut frontier = stretch.start.clone();
        let mut steps = stretch.steps.iter();
        while frontier.length() < length {
            match steps.next()? {
                Step::Item(item) => frontier.append(item),
                Step::LeftOut(run) => frontier.append_run(run.count, &run.roots).ok()?,
            }
        }
        // Within what was left out no head is known.
        (frontier.length() == length).then(|| frontier.head(origin))
    }
}

impl Channel {
    /// Counts an item of the log in.
    pub(super) fn append(&mut self, item: &ItemHash) {
        self.course.append(item);
        self.note_head();
    }

    /// Counts in a run of the log that was left out.
    ///
    /// # Errors
    /// [`DecodeError`] if its roots are not those of such a run.
    pub(super) fn append_run(&mut self, run: LeftOut) -> Result<(), DecodeError> {
        self.course.append_run(run)?;
        self.note_head();
        Ok(())
    }

    fn note_head(&mut self) {
        let length = self.course.length();
        if self.heads.awaits(length) {
            let head = self.head_at(length);
            self.heads.note_head(length, head);
        }
    }

    /// Returns the head of the log at a length, if it is known still.
    pub(super) fn head_at(&self, length: u64) -> Option<Digest> {
        self.course.head_at(length, self.origin.as_ref()?)
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
