//! What can go wrong with an open document, and whose fault it is.
//!
//! [`EditError`] and [`ReadError`] are the caller's; [`ApplyError`] is the author's of a foreign
//! change; [`DocumentError`] says that stored changes do not load. None carries content.

use super::{Crdt, Kind};

/// Why an edit was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// The caller named a position beyond the end.
    OutOfRange {
        /// The position named.
        index: usize,
        /// The length there is.
        len: usize,
    },
    /// The caller named a text position between the halves of a surrogate pair.
    SplitsCharacter {
        /// The position named, in UTF-16 code units.
        index: usize,
    },
    /// The caller took a value for something it is not.
    WrongKind {
        /// What the caller asked for.
        expected: Kind,
        /// What is there.
        found: Kind,
    },
    /// The caller incremented a counter beyond what 64 bits hold.
    CounterOverflow,
    /// The caller gave an empty key, or one longer than [`KEY_BYTES_MAX`](super::KEY_BYTES_MAX).
    BadKey {
        /// The length of the key.
        key_bytes: usize,
    },
    /// The caller nested containers deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    TooDeep,
    /// The caller wrote more in one edit than [`EDIT_COST_MAX`](super::EDIT_COST_MAX).
    ChangeTooLarge,
    /// This CRDT cannot do it.
    Unsupported {
        /// The CRDT of the document.
        crdt: Crdt,
        /// What was asked of it.
        operation: &'static str,
    },
    /// The caller handed in a change that another actor authored.
    ForeignChange,
    /// The caller's closure gave up; the app knows why.
    Abandoned,
    /// The caller's closure, or the library below it, panicked.
    Panicked,
    /// The CRDT library refused a call the common model believed valid.
    Library,
    /// The document was damaged before and must be loaded again.
    ReloadRequired,
}

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The document nests deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    TooDeep,
    /// The caller's closure, or the library below it, panicked.
    Panicked,
    /// The document was damaged before and must be loaded again.
    ReloadRequired,
}

/// Which foreign change was not applied, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplyError {
    /// Where the change stood in the batch; `None` if only the batch as a whole is known to fail,
    /// so that the caller applies its changes one by one to a document loaded again.
    pub index: Option<usize>,
    /// Why.
    pub reason: ApplyReason,
}

/// Why a foreign change was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplyReason {
    /// The change contains work of an actor its entry does not name.
    ActorMismatch,
    /// The bytes are no change.
    Malformed,
    /// The change announces more than the bounds allow.
    TooLarge,
    /// The change nests containers deeper than the bounds allow.
    TooDeep,
    /// The library refused the change.
    Refused,
    /// The library panicked on the change.
    Panicked,
    /// The document was damaged before and must be loaded again.
    ReloadRequired,
}

/// Why stored changes do not make a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// A stored change cannot be applied.
    Change {
        /// Where it stands among the changes, if a single one is to blame.
        index: Option<usize>,
        /// Why.
        reason: ApplyReason,
    },
}

impl std::fmt::Display for EditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfRange { index, len } => {
                write!(f, "position {index} is beyond the end, which is at {len}; read the length inside the edit")
            }
            Self::SplitsCharacter { index } => {
                write!(f, "text position {index} is inside a character; positions count UTF-16 code units")
            }
            Self::WrongKind { expected, found } => {
                write!(f, "the edit takes for {expected} what is {found}; read the value first, or put another there")
            }
            Self::CounterOverflow => f.write_str("the counter would leave the 64 bits it has; increment it by less"),
            Self::BadKey { key_bytes: 0 } => f.write_str("a key is empty; name it"),
            Self::BadKey { key_bytes } => {
                write!(f, "a key has {key_bytes} bytes; choose one of at most {}", super::KEY_BYTES_MAX)
            }
            Self::TooDeep => {
                write!(f, "the edit nests containers deeper than {}; keep the document flatter", super::DEPTH_MAX)
            }
            Self::ChangeTooLarge => f.write_str("the edit writes too much at once; split it into several edits"),
            Self::Unsupported { crdt, operation } => {
                write!(f, "a document of {crdt} can not do this: {operation}; remove and insert, or use the other CRDT")
            }
            Self::ForeignChange => {
                f.write_str("the edit brings in a change by somebody else; only work of this device can be an edit")
            }
            Self::Abandoned => f.write_str("the app gave the edit up; nothing has changed"),
            Self::Panicked => {
                f.write_str("the app's code or the CRDT library panicked inside the edit; nothing has changed")
            }
            Self::Library => f.write_str("the CRDT library refused the edit; nothing has changed, please report it"),
            Self::ReloadRequired => f.write_str(RELOAD),
        }
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooDeep => {
                write!(f, "the document nests deeper than {}; read the parts of it by their keys", super::DEPTH_MAX)
            }
            Self::Panicked => {
                f.write_str("the app's code or the CRDT library panicked while it read; nothing has changed")
            }
            Self::ReloadRequired => f.write_str(RELOAD),
        }
    }
}

impl std::fmt::Display for ApplyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(f, "change {index} was not applied: {}", self.reason),
            None => write!(f, "the changes were not applied: {}", self.reason),
        }
    }
}

impl std::fmt::Display for ApplyReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ActorMismatch => "its author passes off work of another device as its own; ask them for a new copy",
            Self::Malformed => "its author's program wrote bytes that are no change; ask them to update it",
            Self::TooLarge => "its author's change announces more than a document may hold; ask them to split it",
            Self::TooDeep => "its author nests containers too deep; ask them to keep the document flatter",
            Self::Refused => "the CRDT library refuses what its author wrote; ask them to make the change again",
            Self::Panicked => "the CRDT library fails on what its author wrote; ask them to make the change again",
            Self::ReloadRequired => RELOAD,
        })
    }
}

impl std::fmt::Display for DocumentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Change { index: Some(index), reason } => {
                write!(f, "the document does not load at its stored change {index}: {reason}")
            }
            Self::Change { index: None, reason } => write!(f, "the document does not load: {reason}"),
        }
    }
}

impl std::error::Error for EditError {}
impl std::error::Error for ReadError {}
impl std::error::Error for ApplyError {}
impl std::error::Error for ApplyReason {}
impl std::error::Error for DocumentError {}

/// What a document says that a library call has left half done.
const RELOAD: &str = "a change before has damaged the document in memory; close it and open it again";
