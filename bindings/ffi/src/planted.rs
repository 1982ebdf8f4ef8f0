//! A panic that the suites can bring about, to show what an app sees of one: an error of that call, and nothing else.
//!
//! Invariant: it is in builds with debug assertions alone, as the suites use them; no optimised build has a byte of it.

use tombolo::document::PathStep;

/// Panics where a suite wants it, in the place of a document's library.
pub(crate) fn panic_if_planted(path: &[PathStep]) {
    debug_assert!(!matches!(path, [PathStep::Key(key), ..] if key == PLANTED), "a suite has planted this panic");
}

/// The key below the root at which editing and reading panic; `scenarios.txt` names it.
const PLANTED: &str = "!panics";
