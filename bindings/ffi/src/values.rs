//! Values, paths and patches as they cross.
//!
//! A [`Value`] is the core's own type. Patches and paths are copies of the core's, with numbers of a fixed width.

use tombolo::document;
pub use tombolo::document::{Crdt, Value};
pub use tombolo::engine::Origin;

use crate::error::{MisuseFault, TomboloError};
use crate::ids::Entries;

/// Which CRDT library a document is made of; fixed when it is created.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum Crdt {
    /// automerge.
    Automerge,
    /// yrs, the Rust port of Yjs.
    Yrs,
}

/// A value of the common document model.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A floating-point number; NaN and infinities are kept.
    F64(f64),
    /// A string that is replaced as a whole.
    String(String),
    /// Bytes that are replaced as a whole.
    Bytes(Vec<u8>),
    /// Milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// A number that concurrent increments add up in.
    Counter(i64),
    /// A string that is edited character by character.
    Text(String),
    /// Values by key.
    Map(Entries),
    /// Values in order.
    List(Vec<Value>),
}

/// Where a change came from.
#[uniffi::remote(Enum)]
pub enum Origin {
    /// This replica.
    Local,
    /// Another device.
    Remote,
}

/// One step of a path into a document.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PathStep {
    /// Into a map.
    Key {
        /// Its key.
        key: String,
    },
    /// Into a list.
    Index {
        /// The position.
        index: u64,
    },
}

/// One step from before a change to after it.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Patch {
    /// Where: from the root to what the action changes.
    pub path: Vec<PathStep>,
    /// What happened there.
    pub action: PatchAction,
}

/// What happened at a path.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
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
        count: u64,
    },
    /// The text at the path was changed.
    SpliceText {
        /// Where, in UTF-16 code units.
        index: u64,
        /// How many UTF-16 code units are gone.
        removed: u64,
        /// What was inserted.
        inserted: String,
    },
    /// The counter at the path grew.
    Increment {
        /// By how much.
        by: i64,
    },
    /// Something that this version of the library has no word for: read the document again.
    Reread,
}

impl From<document::Patch> for Patch {
    fn from(patch: document::Patch) -> Self {
        let action = match patch.action {
            document::PatchAction::Put { value } => PatchAction::Put { value },
            document::PatchAction::Delete => PatchAction::Delete,
            document::PatchAction::Insert { values } => PatchAction::Insert { values },
            document::PatchAction::Remove { count } => PatchAction::Remove { count: wide(count) },
            document::PatchAction::SpliceText { index, removed, inserted } => {
                PatchAction::SpliceText { index: wide(index), removed: wide(removed), inserted }
            }
            document::PatchAction::Increment { by } => PatchAction::Increment { by },
            _ => PatchAction::Reread,
        };
        Self { path: patch.path.into_iter().map(PathStep::from).collect(), action }
    }
}

impl From<document::PathStep> for PathStep {
    fn from(step: document::PathStep) -> Self {
        match step {
            document::PathStep::Key(key) => Self::Key { key },
            document::PathStep::Index(index) => Self::Index { index: wide(index) },
        }
    }
}

impl TryFrom<PathStep> for document::PathStep {
    type Error = TomboloError;

    fn try_from(step: PathStep) -> Result<Self, TomboloError> {
        Ok(match step {
            PathStep::Key { key } => Self::Key(key),
            PathStep::Index { index } => Self::Index(narrow(index)?),
        })
    }
}

/// Takes a whole path; one that leads deeper than any document is refused before it is followed.
pub(crate) fn path_of(steps: Vec<PathStep>) -> Result<Vec<document::PathStep>, TomboloError> {
    if steps.len() > document::DEPTH_MAX {
        return Err(TomboloError::misuse(MisuseFault::TooDeep, "the path is deeper than any document"));
    }
    steps.into_iter().map(document::PathStep::try_from).collect()
}

pub(crate) fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(crate) fn narrow(number: u64) -> Result<usize, TomboloError> {
    let beyond = |_| TomboloError::misuse(MisuseFault::OutOfRange, "a position is beyond what this machine can count");
    usize::try_from(number).map_err(beyond)
}
