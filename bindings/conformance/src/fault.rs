//! What a step did not do, and the names that the scenarios have for what the core refuses.

use std::fmt;

use tombolo::crypto::RecoveryError;
use tombolo::document::{EditError, ReadError};
use tombolo::{Error, StoreError};

/// Why a step failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The core refused it.
    Core(Error),
    /// A text was taken for an id: the core's own types leave nothing to refuse.
    Misnamed,
    /// Something is not as the scenario says.
    Otherwise(Words),
}

/// What is otherwise, in words.
#[derive(Debug)]
pub struct Words(String);

impl Fault {
    /// Says what is otherwise.
    pub fn otherwise(words: impl Into<String>) -> Self {
        Self::Otherwise(Words(words.into()))
    }

    /// Returns the name that the scenarios have for it, such as `Misuse.OUT_OF_RANGE`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Core(Error::Store(StoreError::InUse { .. })) => "Store.IN_USE",
            Self::Core(Error::Store(_)) => "Store",
            Self::Core(Error::Edit(EditError::OutOfRange { .. })) => "Misuse.OUT_OF_RANGE",
            Self::Core(Error::Edit(EditError::SplitsCharacter { .. })) => "Misuse.SPLITS_CHARACTER",
            Self::Core(Error::Edit(EditError::WrongKind { .. })) => "Misuse.WRONG_KIND",
            Self::Core(Error::Edit(EditError::BadKey { .. })) => "Misuse.BAD_PATH",
            Self::Core(Error::Edit(EditError::Panicked) | Error::Read(ReadError::Panicked)) => "Document.POISONED",
            Self::Core(Error::Invite(_)) => "Input.INVITE",
            Self::Core(Error::Address(_)) => "Input.ADDRESS",
            Self::Core(Error::NoRelay) => "NotReady.RELAY",
            Self::Core(Error::NotReady) => "NotReady.MEMBERSHIP",
            Self::Core(Error::NoDocument(_)) => "NotFound.DOCUMENT",
            Self::Core(Error::RoleDenied) => "Denied.ROLE",
            Self::Core(Error::Refused(_)) => "Denied.RECORDS",
            Self::Core(Error::NoRoot) => "Denied.NO_ROOT",
            Self::Core(Error::Deadline) => "Deadline",
            Self::Core(Error::Closed) => "Closed",
            Self::Misnamed => "Misuse.BAD_ID",
            Self::Core(_) | Self::Otherwise(_) => "Other",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(error) => error.fmt(f),
            Self::Misnamed => f.write_str("a text is no id, and the core takes none"),
            Self::Otherwise(words) => f.write_str(&words.0),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl From<RecoveryError> for Fault {
    fn from(error: RecoveryError) -> Self {
        Self::Core(Error::Recovery(error))
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::otherwise(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::otherwise(error.to_string())
    }
}
