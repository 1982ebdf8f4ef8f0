//! What an app does to a document in one change: a list of edits instead of a closure.
//!
//! Invariant: all edits of a list are one change, or none of them is. No code of the app runs between them.

use tombolo::document::{EditError, ListEdit, MapEdit, PathStep as Step, TextEdit};

use crate::error::TomboloError;
use crate::planted::panic_if_planted;
use crate::values::{PathStep, Value, narrow, path_of};

/// One edit. A path leads through maps and lists; a map, list, text or counter that is missing under a key is made.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Edit {
    /// Puts a value under a key, or replaces an element; yrs lists can not replace: remove and insert.
    Put {
        /// Ends with the key or the index.
        path: Vec<PathStep>,
        /// The value, of any kind.
        value: Value,
    },
    /// Deletes what is under a key, if anything is, or one element.
    Delete {
        /// Ends with the key or the index.
        path: Vec<PathStep>,
    },
    /// Inserts elements into a list.
    Insert {
        /// Leads to the list.
        path: Vec<PathStep>,
        /// Before which element.
        index: u64,
        /// The elements.
        values: Vec<Value>,
    },
    /// Appends elements to a list, wherever it ends by then.
    Append {
        /// Leads to the list.
        path: Vec<PathStep>,
        /// The elements.
        values: Vec<Value>,
    },
    /// Removes elements from a list.
    Remove {
        /// Leads to the list.
        path: Vec<PathStep>,
        /// The first of them.
        index: u64,
        /// How many.
        count: u64,
    },
    /// Changes a text; positions are UTF-16 code units.
    SpliceText {
        /// Leads to the text.
        path: Vec<PathStep>,
        /// Where.
        index: u64,
        /// How many code units go.
        removed: u64,
        /// What comes instead.
        inserted: String,
    },
    /// Appends to a text, wherever it ends by then.
    AppendText {
        /// Leads to the text.
        path: Vec<PathStep>,
        /// What is appended.
        inserted: String,
    },
    /// Adds to a counter.
    Increment {
        /// Leads to the counter.
        path: Vec<PathStep>,
        /// By how much.
        by: i64,
    },
}

/// An edit whose path and numbers were looked at.
pub(crate) struct Checked {
    path: Vec<Step>,
    action: Action,
}

enum Action {
    Put(Value),
    Delete,
    Insert(usize, Vec<Value>),
    Append(Vec<Value>),
    Remove(usize, usize),
    Splice(usize, usize, String),
    AppendText(String),
    Increment(i64),
}

impl TryFrom<Edit> for Checked {
    type Error = TomboloError;

    fn try_from(edit: Edit) -> Result<Self, TomboloError> {
        let (path, action) = match edit {
            Edit::Put { path, value } => (path, Action::Put(value)),
            Edit::Delete { path } => (path, Action::Delete),
            Edit::Insert { path, index, values } => (path, Action::Insert(narrow(index)?, values)),
            Edit::Append { path, values } => (path, Action::Append(values)),
            Edit::Remove { path, index, count } => (path, Action::Remove(narrow(index)?, narrow(count)?)),
            Edit::SpliceText { path, index, removed, inserted } => {
                (path, Action::Splice(narrow(index)?, narrow(removed)?, inserted))
            }
            Edit::AppendText { path, inserted } => (path, Action::AppendText(inserted)),
            Edit::Increment { path, by } => (path, Action::Increment(by)),
        };
        Ok(Self { path: path_of(path)?, action })
    }
}

impl Checked {
    pub(crate) fn make(self, root: &mut MapEdit<'_>) -> Result<(), EditError> {
        panic_if_planted(&self.path);
        in_map(root, &self.path, self.action)
    }
}

/// What stands behind a step says what the container at it is: a key lies in a map, an index in a list.
fn in_map(map: &mut MapEdit<'_>, path: &[Step], action: Action) -> Result<(), EditError> {
    match path {
        [Step::Key(key)] => match action {
            Action::Put(value) => map.put(key, value),
            Action::Delete => map.delete(key).map(drop),
            Action::Increment(by) => map.counter(key)?.increment(by),
            Action::Splice(..) | Action::AppendText(_) => in_text(&mut map.text(key)?, action),
            Action::Insert(..) | Action::Append(_) | Action::Remove(..) => in_list(&mut map.list(key)?, &[], action),
        },
        [Step::Key(key), rest @ ..] => match rest.first() {
            Some(Step::Index(_)) => in_list(&mut map.list(key)?, rest, action),
            _ => in_map(&mut map.map(key)?, rest, action),
        },
        // The root is a map: it has no place of its own, and no elements.
        _ => Err(EditError::BadKey { key_bytes: 0 }),
    }
}

fn in_list(list: &mut ListEdit<'_>, path: &[Step], action: Action) -> Result<(), EditError> {
    match path {
        [] => elements(list, action),
        [Step::Index(index)] => match action {
            Action::Put(value) => list.put(*index, value),
            Action::Delete => list.delete(*index),
            Action::Increment(by) => list.counter(*index)?.increment(by),
            Action::Splice(..) | Action::AppendText(_) => in_text(&mut list.text(*index)?, action),
            Action::Insert(..) | Action::Append(_) | Action::Remove(..) => elements(&mut list.list(*index)?, action),
        },
        [Step::Index(index), rest @ ..] => match rest.first() {
            Some(Step::Index(_)) => in_list(&mut list.list(*index)?, rest, action),
            _ => in_map(&mut list.map(*index)?, rest, action),
        },
        [Step::Key(_), ..] => Err(EditError::BadKey { key_bytes: 0 }),
    }
}

fn elements(list: &mut ListEdit<'_>, action: Action) -> Result<(), EditError> {
    match action {
        Action::Insert(index, values) => {
            let places = (index..).zip(values);
            places.into_iter().try_for_each(|(place, value)| list.insert(place, value))
        }
        Action::Append(values) => values.into_iter().try_for_each(|value| list.push(value)),
        Action::Remove(index, count) => {
            let len = list.len();
            let end = index.saturating_add(count);
            if end > len {
                return Err(EditError::OutOfRange { index: end, len });
            }
            (0..count).try_for_each(|_| list.delete(index))
        }
        _ => Err(EditError::BadKey { key_bytes: 0 }),
    }
}

fn in_text(text: &mut TextEdit<'_>, action: Action) -> Result<(), EditError> {
    match action {
        Action::Splice(index, removed, inserted) => text.splice(index, removed, &inserted),
        Action::AppendText(inserted) => text.push_str(&inserted),
        _ => Err(EditError::BadKey { key_bytes: 0 }),
    }
}
