//! The recovery kit of a user: the seed of their root key, on paper, in a file, or shared out.
//!
//! | form | what opens it |
//! |---|---|
//! | 24 words (BIP39) | whoever reads them |
//! | a file | a passphrase |
//! | n shares | any k of them |
//!
//! Invariant: whatever form a kit was kept in, what comes back is the seed of the user it was made for,
//! or a typed reason. Seeds are wiped and never printed, but in the forms that are meant to be kept.

mod file;
mod shares;
mod sheet;
mod words;

use std::fmt;

use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::ids::UserId;
use tombolo_protocol::record::OrganisationRecovery;

pub use shares::{KitShare, SHARES_MAX, ShareError};

use crate::addresses;
use crate::device::UserRoot;

/// What a user needs when every device is lost: their root, and the relays to look for their work on.
pub struct RecoveryKit {
    root: UserRoot,
    relays: Vec<String>,
}

impl RecoveryKit {
    /// Makes the kit of a user.
    ///
    /// # Errors
    /// [`RecoveryError::Malformed`] if there are more than 8 relays, or one is no address.
    pub fn new(root: UserRoot, relays: Vec<String>) -> Result<Self, RecoveryError> {
        addresses::check(&relays)?;
        Ok(Self { root, relays })
    }

    /// Returns the root, which signs a new device and opens what was wrapped to the recovery box.
    #[must_use]
    pub fn root(&self) -> &UserRoot {
        &self.root
    }

    /// Returns the root alone, when the kit has served.
    #[must_use]
    pub fn into_root(self) -> UserRoot {
        self.root
    }

    /// Returns whose kit it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.root.user()
    }

    /// Returns what an owner needs to make this kit the organisation's key to a workspace; it is no secret.
    #[must_use]
    pub fn organisation(&self) -> OrganisationRecovery {
        OrganisationRecovery { user: self.root.user(), box_public: self.root.box_public() }
    }

    /// Returns where to look for the user's workspaces; words carry none.
    #[must_use]
    pub fn relays(&self) -> &[String] {
        &self.relays
    }

    /// Checks that the kit is of the user whose short id the sheet shows.
    ///
    /// # Errors
    /// [`RecoveryError::WrongUser`] if it is another's.
    pub fn check_user(&self, short: &str) -> Result<(), RecoveryError> {
        if self.user().short().eq_ignore_ascii_case(short.trim()) { Ok(()) } else { Err(RecoveryError::WrongUser) }
    }
}

impl fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKit({}, secret)", self.user().short())
    }
}

/// Why no kit can be made, or none comes back; each says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryError {
    /// There are not 24 words.
    WordCount {
        /// How many there are.
        found: usize,
    },
    /// A word is not in the list.
    UnknownWord {
        /// Which one, from 1.
        position: usize,
    },
    /// All words are in the list, but one is another than was written down, or two were swapped.
    WordsChecksum,
    /// The file is cut or none, or an address is none.
    Malformed(DecodeError),
    /// The file asks for weaker password hashing than was ever written: somebody altered it.
    KdfDowngrade {
        /// Kibibytes of memory it asks for.
        memory_kib: u32,
        /// Passes it asks for.
        passes: u32,
    },
    /// The file asks for more than a device can be asked to do: somebody altered it.
    TooCostly {
        /// Kibibytes of memory it asks for.
        memory_kib: u32,
        /// Passes it asks for.
        passes: u32,
        /// Lanes it asks for.
        lanes: u32,
    },
    /// The password hash could not be computed: too little memory.
    Kdf,
    /// The passphrase is another one, or the file was altered.
    Decrypt,
    /// One of the shares can not be read.
    Share {
        /// Which of those given, from 1.
        nth: usize,
        /// Why.
        error: ShareError,
    },
    /// Shares of two kits, or two different ones with one number, were brought together.
    DifferentSets {
        /// The first of those given, from 1, that does not belong to the first one.
        nth: usize,
    },
    /// More shares are needed.
    TooFewShares {
        /// Different ones that were given.
        have: usize,
        /// How many are needed; unknown without any.
        need: usize,
    },
    /// Nobody can share a kit so: from 2 of 2 to [`SHARES_MAX`] of [`SHARES_MAX`] is possible.
    Threshold {
        /// Shares that would be needed.
        need: u8,
        /// Shares that would be made.
        of: u8,
    },
    /// What came out is the kit of another user: a share was altered, or the sheet is another's.
    WrongUser,
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WordCount { found } => write!(f, "a recovery kit has 24 words, these are {found}"),
            Self::UnknownWord { position } => write!(f, "word {position} is not in the list; look at it again"),
            Self::WordsChecksum => f.write_str("one of the words is another than was written down; compare them"),
            Self::Malformed(error) => write!(f, "this is no whole recovery kit: {error}"),
            Self::KdfDowngrade { memory_kib, passes } => write!(
                f,
                "the recovery file asks for weak password hashing ({memory_kib} KiB, {passes} passes): \
                 it was altered; take another copy"
            ),
            Self::TooCostly { memory_kib, passes, lanes } => write!(
                f,
                "the recovery file asks for endless password hashing ({memory_kib} KiB, {passes} passes, \
                 {lanes} lanes): it was altered; take another copy"
            ),
            Self::Kdf => f.write_str("the passphrase could not be hashed; free some memory"),
            Self::Decrypt => f.write_str("the passphrase is wrong, or the recovery file was altered"),
            Self::Share { nth, error } => write!(f, "share {nth}: {error}"),
            Self::DifferentSets { nth } => write!(f, "share {nth} does not belong to the first one's set"),
            Self::TooFewShares { have, need } => write!(f, "{have} shares are here, {need} are needed"),
            Self::Threshold { need, of } => write!(f, "a kit can not be shared so that {need} of {of} open it"),
            Self::WrongUser => f.write_str("this is the recovery kit of another user, or a share was altered"),
        }
    }
}

impl std::error::Error for RecoveryError {}

impl From<DecodeError> for RecoveryError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}
