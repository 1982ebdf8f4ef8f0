//! Yrs's events in the terms of the common model.
//!
//! Events come with the paths of the state after the change, outer containers first; a new
//! container comes once, with all it contains.

use std::sync::{Arc, Mutex, PoisonError};

use ::yrs::types::{Change, Delta, EntryChange, Event, Events, PathSegment};
use ::yrs::{Any, Out, TransactionMut};

use super::value::{self, unescaped};
use crate::document::{Patch, PatchAction, PathStep, Value};

/// Where an observer puts patches; the document takes them after the transaction.
pub(super) type Collected = Arc<Mutex<Vec<Patch>>>;

pub(super) fn take(collected: &Collected) -> Vec<Patch> {
    std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(super) fn collect(collected: &Collected, transaction: &TransactionMut<'_>, events: &Events<'_>) {
    let mut patches = Vec::new();
    for event in events.iter() {
        let path: Vec<PathStep> = event.path().into_iter().map(step).collect();
        match event {
            Event::Text(event) => text(&mut patches, &path, event.delta(transaction)),
            Event::Array(event) => list(&mut patches, transaction, &path, event.delta(transaction)),
            Event::Map(event) if value::is_counter(transaction, event.target()) => {
                let value = Value::Counter(value::sum(transaction, event.target()));
                patches.push(Patch { path, action: PatchAction::Put { value } });
            }
            Event::Map(event) => {
                for (key, change) in event.keys(transaction) {
                    let action = match change {
                        EntryChange::Inserted(out) | EntryChange::Updated(_, out) => {
                            PatchAction::Put { value: copy(transaction, out) }
                        }
                        EntryChange::Removed(_) => PatchAction::Delete,
                    };
                    patches.push(at(&path, PathStep::Key(unescaped(key).to_owned()), action));
                }
            }
            _ => {}
        }
    }
    collected.lock().unwrap_or_else(PoisonError::into_inner).extend(patches);
}

fn text(patches: &mut Vec<Patch>, path: &[PathStep], delta: &[Delta]) {
    let mut index = 0;
    for change in delta {
        match change {
            Delta::Inserted(Out::Any(Any::String(inserted)), _) => {
                let action = PatchAction::SpliceText { index, removed: 0, inserted: inserted.to_string() };
                patches.push(Patch { path: path.to_vec(), action });
                index += inserted.encode_utf16().count();
            }
            Delta::Inserted(..) => {}
            Delta::Deleted(removed) => {
                let removed = *removed as usize;
                let action = PatchAction::SpliceText { index, removed, inserted: String::new() };
                patches.push(Patch { path: path.to_vec(), action });
            }
            Delta::Retain(retained, _) => index += *retained as usize,
        }
    }
}

fn list(patches: &mut Vec<Patch>, transaction: &TransactionMut<'_>, path: &[PathStep], delta: &[Change]) {
    let mut index = 0;
    for change in delta {
        match change {
            Change::Added(elements) => {
                let values: Vec<_> = elements.iter().map(|out| copy(transaction, out)).collect();
                let added = values.len();
                patches.push(at(path, PathStep::Index(index), PatchAction::Insert { values }));
                index += added;
            }
            Change::Removed(count) => {
                let count = *count as usize;
                patches.push(at(path, PathStep::Index(index), PatchAction::Remove { count }));
            }
            Change::Retain(retained) => index += *retained as usize,
        }
    }
}

fn at(path: &[PathStep], last: PathStep, action: PatchAction) -> Patch {
    let mut path = path.to_vec();
    path.push(last);
    Patch { path, action }
}

fn step(segment: PathSegment) -> PathStep {
    match segment {
        PathSegment::Key(key) => PathStep::Key(unescaped(&key).to_owned()),
        PathSegment::Index(index) => PathStep::Index(index as usize),
    }
}

/// A document that nests too deep to be copied is refused as a whole after the transaction.
fn copy(transaction: &TransactionMut<'_>, out: &Out) -> Value {
    value::value(transaction, out, 0).unwrap_or(Value::Null)
}
