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
    /// The caller's closure panicked.
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

macro_rules! display_as_debug {
    ($($error:ty => $text:literal),* $(,)?) => {$(
        impl std::fmt::Display for $error {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, concat!($text, ": {:?}"), self)
            }
        }
        impl std::error::Error for $error {}
    )*};
}

display_as_debug! {
    EditError => "the edit was not made",
    ReadError => "the value cannot be read",
    ApplyError => "a change was not applied",
    DocumentError => "the document does not load",
}
