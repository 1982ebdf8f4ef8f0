//! What changed: the steps that bring an observer's copy from before a change to after it.
//!
//! Patches come from an edit or an apply in [`PatchMode::On`](super::PatchMode::On) and are to be
//! replayed in order. A path leads to the container or value the action is about.

use super::{Value, text};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// One step from before a change to after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Where: from the root to what the action changes.
    pub path: Vec<PathStep>,
    /// What happened there.
    pub action: PatchAction,
}

/// What happened at a path.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PatchAction {
    /// The map entry or list element at the path now has this value.
    Put {
        /// The value.
        value: Value,
    },
    /// The map entry at the path is gone.
    Delete,
    /// Elements were inserted before the list index that ends the path.
    Insert {
        /// The elements.
        values: Vec<Value>,
    },
    /// Elements from the list index that ends the path on are gone.
    Remove {
        /// How many.
        count: usize,
    },
    /// The text at the path was changed.
    SpliceText {
        /// Where, in UTF-16 code units.
        index: usize,
        /// How many UTF-16 code units are gone.
        removed: usize,
        /// What was inserted.
        inserted: String,
    },
    /// The counter at the path grew.
    Increment {
        /// By how much.
        by: i64,
    },
}

/// A patch does not fit the value it was replayed on: one before it was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayError;

impl std::fmt::Display for ReplayError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the patch does not fit the value: one before it was left out; read the document again")
    }
}

impl std::error::Error for ReplayError {}

impl Patch {
    /// Replays the patch on a copy of the document's root.
    ///
    /// # Errors
    /// [`ReplayError`] if the copy is not at the state before the patch.
    pub fn replay(&self, root: &mut Value) -> Result<(), ReplayError> {
        match &self.action {
            PatchAction::SpliceText { index, removed, inserted } => {
                splice(at(root, &self.path)?, *index, *removed, inserted)
            }
            PatchAction::Increment { by } => match at(root, &self.path)? {
                Value::Counter(sum) => {
                    *sum = sum.wrapping_add(*by);
                    Ok(())
                }
                _ => Err(ReplayError),
            },
            action => {
                let (last, parents) = self.path.split_last().ok_or(ReplayError)?;
                change(at(root, parents)?, last, action)
            }
        }
    }
}

fn at<'v>(root: &'v mut Value, path: &[PathStep]) -> Result<&'v mut Value, ReplayError> {
    let mut value = root;
    for step in path {
        value = match (value, step) {
            (Value::Map(entries), PathStep::Key(key)) => entries.get_mut(key),
            (Value::List(elements), PathStep::Index(index)) => elements.get_mut(*index),
            _ => None,
        }
        .ok_or(ReplayError)?;
    }
    Ok(value)
}

fn change(parent: &mut Value, last: &PathStep, action: &PatchAction) -> Result<(), ReplayError> {
    match (parent, last, action) {
        (Value::Map(entries), PathStep::Key(key), PatchAction::Put { value }) => {
            entries.insert(key.clone(), value.clone());
        }
        (Value::Map(entries), PathStep::Key(key), PatchAction::Delete) => {
            entries.remove(key).ok_or(ReplayError)?;
        }
        (Value::List(elements), PathStep::Index(index), PatchAction::Put { value }) => {
            *elements.get_mut(*index).ok_or(ReplayError)? = value.clone();
        }
        (Value::List(elements), PathStep::Index(index), PatchAction::Insert { values }) => {
            if *index > elements.len() {
                return Err(ReplayError);
            }
            elements.splice(index..index, values.iter().cloned());
        }
        (Value::List(elements), PathStep::Index(index), PatchAction::Remove { count }) => {
            let end = index.checked_add(*count).filter(|end| *end <= elements.len());
            elements.drain(*index..end.ok_or(ReplayError)?);
        }
        _ => return Err(ReplayError),
    }
    Ok(())
}

fn splice(value: &mut Value, index: usize, removed: usize, text: &str) -> Result<(), ReplayError> {
    let Value::Text(string) = value else {
        return Err(ReplayError);
    };
    let start = text::byte_index(string, index).ok_or(ReplayError)?;
    let end = text::byte_index(string, index + removed).ok_or(ReplayError)?;
    string.replace_range(start..end, text);
    Ok(())
}
