//! The roles of members, in their one order.
//!
//! Invariant: a role's number is its place in the order; it travels in invites and never changes.

use crate::bytes::DecodeError;
use crate::ids::Stream;

/// What a member may do; a greater role may all that a lesser one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Holds ciphertext for others, and no key.
    Carrier = 1,
    /// Reads.
    Reader = 2,
    /// Reads, and writes comments.
    Commenter = 3,
    /// Writes content.
    Writer = 4,
    /// Invites and removes, up to writers.
    Admin = 5,
    /// May everything, and alone makes admins.
    Owner = 6,
}

impl Role {
    /// Reads a role's number.
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] for a number without a role.
    pub fn from_u8(value: u8) -> Result<Self, DecodeError> {
        [Self::Carrier, Self::Reader, Self::Commenter, Self::Writer, Self::Admin, Self::Owner]
            .into_iter()
            .find(|role| *role as u8 == value)
            .ok_or(DecodeError::Unknown { field: "role", value: u64::from(value) })
    }

    /// Returns its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Carrier => "carrier",
            Self::Reader => "reader",
            Self::Commenter => "commenter",
            Self::Writer => "writer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Tells whether this role may append to a stream.
    #[must_use]
    pub fn may_write(self, stream: Stream) -> bool {
        if stream == Stream::COMMENTS { self >= Self::Commenter } else { self >= Self::Writer }
    }

    /// Tells whether this role is given the keys.
    #[must_use]
    pub fn may_read(self) -> bool {
        self >= Self::Reader
    }
}
