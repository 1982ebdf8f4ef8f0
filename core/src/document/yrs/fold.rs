//! Folding yrs updates: those of one client that follow each other become one update.
//!
//! Ids and clocks stay, so nobody can tell the difference but by size, and an open document need not
//! know. The library loses content when it merges updates that are out of order; what was made
//! here is in order, and each result is compared with what went in.

use ::yrs::merge_updates_v1;

use super::scan;
use crate::document::ApplyReason;
use crate::document::fold::{Run, Unsent, joins};
use crate::document::poison::guarded;

/// Folds updates.
pub(in crate::document) fn fold(changes: &[Unsent<'_>]) -> Result<Vec<Run>, ApplyReason> {
    let mut rest = Vec::with_capacity(changes.len());
    for unsent in changes {
        rest.push((unsent, Section::of(unsent.bytes)?));
    }
    let (mut runs, mut rest) = (Vec::new(), rest.as_slice());
    while let Some((count, section)) = run_length(rest) {
        let (run, after) = rest.split_at(count);
        let bytes = merge(run.iter().map(|(unsent, _)| unsent.bytes.to_vec()).collect())?;
        // Nothing that was made here may be missing, and others must accept what it became.
        if Section::of(&bytes)? != section {
            return Err(ApplyReason::Refused);
        }
        runs.push(Run { count, bytes });
        rest = after;
    }
    Ok(runs)
}

/// What an update contributes: the clocks of at most one client.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Section {
    client: Option<u64>,
    first: u32,
    end: u32,
}

impl Section {
    fn of(bytes: &[u8]) -> Result<Self, ApplyReason> {
        let shape = scan::check(bytes)?;
        match (shape.sections.first_key_value(), shape.sections.len()) {
            (None, _) => Ok(Self { client: None, first: 0, end: 0 }),
            (Some((client, (first, end))), 1) => Ok(Self { client: Some(*client), first: *first, end: *end }),
            _ => Err(ApplyReason::ActorMismatch),
        }
    }

    /// Returns both as one, if the second goes on where the first ends.
    fn then(self, next: Self) -> Option<Self> {
        match (self.client, next.client) {
            (_, None) => Some(self),
            (None, _) => Some(next),
            (Some(ours), Some(theirs)) if ours == theirs && self.end == next.first => {
                Some(Self { end: next.end, ..self })
            }
            _ => None,
        }
    }
}

/// Returns how many changes at the front become one, and what that contributes.
fn run_length(changes: &[(&Unsent<'_>, Section)]) -> Option<(usize, Section)> {
    let (first, mut section) = changes.first().copied()?;
    let (mut bytes, mut count) = (first.bytes.len(), 1);
    for (unsent, next) in changes.iter().skip(1) {
        let Some(both) = section.then(*next).filter(|_| joins(first, bytes, unsent)) else {
            break;
        };
        section = both;
        bytes += unsent.bytes.len();
        count += 1;
    }
    Some((count, section))
}

/// Merges updates, few at a time: the library's time grows with the square of their number.
fn merge(mut updates: Vec<Vec<u8>>) -> Result<Vec<u8>, ApplyReason> {
    while updates.len() > 1 {
        let mut merged = Vec::with_capacity(updates.len().div_ceil(MERGED_AT_ONCE));
        for some in updates.chunks(MERGED_AT_ONCE) {
            let one = match some {
                [one] => one.clone(),
                some => guarded(|| merge_updates_v1(some))?.map_err(|_| ApplyReason::Refused)?,
            };
            merged.push(one);
        }
        updates = merged;
    }
    updates.pop().ok_or(ApplyReason::Malformed)
}

/// Updates that are merged in one call.
const MERGED_AT_ONCE: usize = 16;
