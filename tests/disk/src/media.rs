//! What of a file's changes is on the platter, and what a power cut leaves of the rest.
//!
//! Each change that was not synced is kept with what was there before it. A cut takes all of them back and
//! then lets some through again: none, all, the first ones with the last of them torn, any of them, or any
//! 512 bytes of any of them; what a lost write was to fill beyond the old end may be noise.
//!
//! Invariant: a byte that no un-synced change touched is as it was.

use crate::Lost;
use crate::dice::Dice;

/// What a disk writes in one piece.
const SECTOR: usize = 512;

/// One change of a file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write {
        at: usize,
        before: Vec<u8>,
        after: Vec<u8>,
        /// The length of the file before, unless a later change decides it.
        end_before: Option<usize>,
    },
    Cut {
        to: usize,
        tail: Vec<u8>,
    },
}

#[derive(Clone, Debug)]
struct Unsynced {
    change: Change,
    /// A sync of it has failed: no later sync writes it, only writing it again does.
    forgotten: bool,
}

/// The changes of one file that were not synced, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Media(Vec<Unsynced>);

impl Media {
    pub(crate) fn note(&mut self, change: Change) {
        self.0.push(Unsynced { change, forgotten: false });
    }

    pub(crate) fn sync(&mut self) {
        let mut later: Vec<Unsynced> = Vec::new();
        while let Some(mut last) = self.0.pop() {
            // Newest first: what was written over since is on the platter by now.
            let stays = last.forgotten && !later.iter().any(|later| later.change.meets(&last.change));
            last.forgotten = stays && last.change.outlast();
            later.push(last);
            if later.len() == 1 && self.0.iter().all(|earlier| !earlier.forgotten) {
                self.0.clear();
            }
        }
        self.0 = later.into_iter().rev().filter(|change| change.forgotten).collect();
    }

    /// A sync that failed: the system takes its pages for clean.
    pub(crate) fn forget(&mut self) {
        for change in &mut self.0 {
            change.forgotten = true;
        }
    }

    /// Makes of a file's bytes what a power cut leaves of them.
    pub(crate) fn cut(self, image: &mut Vec<u8>, dice: &mut Dice, lost: &mut Lost) {
        for unsynced in self.0.iter().rev() {
            unsynced.change.take_back(image);
        }
        let (count, manner) = (self.0.len(), Manner::draw(self.0.len(), dice));
        let noise = dice.one_in(2);
        lost.unsynced += count;
        for (nth, unsynced) in self.0.iter().enumerate() {
            let whole = match manner {
                Manner::First(kept) => (nth != kept).then_some(nth < kept),
                Manner::Some => Some(dice.one_in(2)),
                Manner::Sectors => None,
            };
            let left = unsynced.change.let_through(image, whole, noise, dice);
            lost.dropped += usize::from(left == Left::Nothing);
            lost.torn += usize::from(left == Left::Part);
        }
    }
}

/// Which of the changes get through.
#[derive(Clone, Copy)]
enum Manner {
    /// So many, and the next in part.
    First(usize),
    /// Each or not.
    Some,
    /// Each sector of each, or not.
    Sectors,
}

impl Manner {
    fn draw(count: usize, dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 => Self::First(usize::MAX),
            1 | 2 => Self::First(usize::try_from(dice.below(count as u64 + 1)).unwrap_or(0)),
            3 | 4 => Self::Some,
            _ => Self::Sectors,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Part,
    All,
}

impl Change {
    /// Does it once more.
    pub(crate) fn redo(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { at, after, .. } => put(image, *at, after),
            Self::Cut { to, .. } => image.truncate(*to),
        }
    }

    fn take_back(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { at, before, end_before, .. } => {
                put(image, *at, before);
                if let Some(end) = end_before {
                    image.truncate(*end);
                }
            }
            Self::Cut { to, tail } => {
                image.resize(*to, 0);
                image.extend_from_slice(tail);
            }
        }
    }

    /// Does it again, whole or not at all, or sector by sector.
    fn let_through(&self, image: &mut Vec<u8>, whole: Option<bool>, noise: bool, dice: &mut Dice) -> Left {
        let (at, after) = match (self, whole) {
            (_, Some(false)) => return Left::Nothing,
            (Self::Cut { to, .. }, _) => {
                if whole.is_none() && dice.one_in(2) {
                    return Left::Nothing;
                }
                image.truncate(*to);
                return Left::All;
            }
            (Self::Write { at, after, .. }, Some(true)) => {
                put(image, *at, after);
                return Left::All;
            }
            (Self::Write { at, after, .. }, None) => (*at, after),
        };
        let (mut done, mut kept, mut pieces) = (0, 0, 0);
        while done < after.len() {
            let piece = (SECTOR - (at + done) % SECTOR).min(after.len() - done);
            let Some(bytes) = after.get(done..done + piece) else { break };
            pieces += 1;
            if dice.one_in(2) {
                kept += 1;
                put(image, at + done, bytes);
            } else if noise && at + done >= image.len() {
                let garbage: Vec<u8> = (0..piece).map(|_| dice.draw().to_le_bytes()[0]).collect();
                put(image, at + done, &garbage);
            }
            done += piece;
        }
        match kept {
            0 => Left::Nothing,
            kept if kept == pieces => Left::All,
            _ => Left::Part,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        let (Self::Write { at, after, .. }, Self::Write { at: other, after: bytes, .. }) = (self, other) else {
            return true;
        };
        *at < other + bytes.len() && *other < at + after.len()
    }

    /// Prepares it to be taken back although later changes stay; a cut is not worth it.
    fn outlast(&mut self) -> bool {
        let Self::Write { before, after, end_before, .. } = self else { return false };
        before.resize(after.len(), 0);
        *end_before = None;
        true
    }
}

fn put(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if image.len() < end && !bytes.is_empty() {
        image.resize(end, 0);
    }
    if let Some(place) = image.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}
