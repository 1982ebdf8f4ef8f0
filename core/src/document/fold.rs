//! Folding: many small changes that nobody else has seen become few that say the same.
//!
//! Invariant: what was folded brings the same operations under the same ids, in the same order, so it
//! means the same wherever it is applied. What another change may name must still be found: on
//! automerge a folded change has another hash, so an open document has to adopt what was folded
//! ([`super::OpenDocument::adopt`]). Changes come from the engine's pending rows, and go back there or into
//! an entry. Why this is sound stands in ADR 0008.

use super::automerge::{self, Renames};
use super::{ApplyReason, Crdt, yrs};

/// A change that was made here and that nobody else has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsent<'a> {
    /// In which life of the open document it was made; what is folded into one was made in one.
    pub(crate) instance: u64,
    /// When, in milliseconds since 1970.
    pub(crate) wall_ms: i64,
    /// The change.
    pub(crate) bytes: &'a [u8],
}

/// One change that stands for some that followed each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// How many.
    pub(crate) count: usize,
    /// The change.
    pub(crate) bytes: Vec<u8>,
}

/// What changes were folded into.
#[derive(Debug)]
pub(crate) struct Folded {
    /// In order; together they stand for all that was given.
    pub(crate) runs: Vec<Run>,
    /// How an open automerge document has to rename what it holds.
    pub(super) renames: Option<Renames>,
}

/// Folds changes, given in the order in which they were made and without a gap. Where what they build on may be `lacking`,
/// because it was cut off, only those become one that lack the same: else those that lack nothing would wait with it.
///
/// # Errors
/// [`ApplyReason`] if the library can not; then the changes stay as they are.
pub(crate) fn fold(crdt: Crdt, changes: &[Unsent<'_>], lacking: bool) -> Result<Folded, ApplyReason> {
    match crdt {
        Crdt::Automerge => {
            // A change that is folded into another stands on that one alone.
            let (runs, renames) = automerge::fold(changes)?;
            Ok(Folded { runs, renames: Some(renames) })
        }
        Crdt::Yrs => Ok(Folded { runs: yrs::fold(changes, lacking)?, renames: None }),
    }
}

/// Tells whether a change was made so soon after another that one may stand for both.
pub(super) fn joins(first: &Unsent<'_>, next: &Unsent<'_>) -> bool {
    first.instance == next.instance && next.wall_ms.abs_diff(first.wall_ms) < RUN_MS_MAX
}

/// The time that one change may stand for, so that history can still be told to the minute.
const RUN_MS_MAX: u64 = 60_000;
