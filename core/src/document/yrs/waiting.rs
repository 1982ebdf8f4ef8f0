//! Changes that wait for others: yrs sees an update only after everything it refers to.
//!
//! The library would hold such updates itself, but loses some when it merges what it holds. So a
//! change waits here, under the first thing it lacks, and the library never holds anything.

use std::collections::BTreeMap;

use super::apply::Sound;
use crate::document::ApplyReason;

/// What is known, and what waits.
#[derive(Default)]
pub(super) struct Waiting {
    /// How far each client is known.
    known: BTreeMap<u64, u32>,
    /// The changes that lack a client up to a clock.
    lacking: BTreeMap<(u64, u32), Vec<Sound>>,
    bytes: usize,
}

impl Waiting {
    /// Takes changes in any order and returns what can be integrated now, in an order that works.
    pub(super) fn order(&mut self, changes: Vec<Sound>) -> Result<Vec<Sound>, ApplyReason> {
        let mut ready = Vec::with_capacity(changes.len());
        for change in changes {
            let mut open = vec![change];
            while let Some(change) = open.pop() {
                if let Some(lack) = self.lack(&change) {
                    self.bytes = self.bytes.saturating_add(change.bytes);
                    self.lacking.entry(lack).or_default().push(change);
                    continue;
                }
                if self.overlaps(&change) {
                    return Err(ApplyReason::Malformed);
                }
                for (client, (_, end)) in &change.shape.sections {
                    self.learn(*client, *end, &mut open);
                }
                ready.push(change);
            }
            if self.bytes > WAITING_BYTES_MAX {
                return Err(ApplyReason::TooLarge);
            }
        }
        Ok(ready)
    }

    /// Tells whether a change waits for what has not come.
    pub(super) fn holds_any(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// Notes how far a client has come, our own among them.
    pub(super) fn own(&mut self, client: u64, clock: u32) {
        self.known.insert(client, clock);
    }

    /// Returns whether a change is known in part: then its author gave one clock two meanings.
    fn overlaps(&self, change: &Sound) -> bool {
        let mut sections = change.shape.sections.iter();
        sections.any(|(client, (first, end))| {
            let known = self.known.get(client).copied().unwrap_or(0);
            *first < known && known < *end
        })
    }

    /// Returns the first thing a change lacks.
    fn lack(&self, change: &Sound) -> Option<(u64, u32)> {
        let mut needs = change.shape.needs.iter();
        needs.find_map(|(client, need)| {
            let known = self.known.get(client).copied().unwrap_or(0);
            (known < *need).then_some((*client, *need))
        })
    }

    /// Notes how far a client is known and takes out what waited for that.
    fn learn(&mut self, client: u64, clock: u32, open: &mut Vec<Sound>) {
        let known = self.known.entry(client).or_default();
        *known = clock.max(*known);
        let up_to = *known;
        let released: Vec<_> = self.lacking.range((client, 0)..=(client, up_to)).map(|(key, _)| *key).collect();
        for key in released {
            for change in self.lacking.remove(&key).unwrap_or_default() {
                self.bytes = self.bytes.saturating_sub(change.bytes);
                open.push(change);
            }
        }
    }
}

/// What may wait in one document: the limit of what the engine holds back for it.
const WAITING_BYTES_MAX: usize = 64 << 20;
