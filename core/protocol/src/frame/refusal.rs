//! What a relay does not take, and why.
//!
//! Invariant: a stranger is told nothing; why an invite is not taken hears only who proved its key, and why it is
//! no member any more only a device that was one.

use minicbor::{Decode, Encode};

use super::{LevelGap, RightEnded};
use crate::ids::WorkspaceTag;

/// One item was not taken; the others of its append are not affected, but for those of its chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refused {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// Which append.
    #[n(1)]
    pub batch: u32,
    /// Which item of it, from 0.
    #[n(2)]
    pub item: u32,
    /// Why.
    #[n(3)]
    pub reason: RefusalReason,
    /// For [`RefusalReason::Gap`] and [`RefusalReason::Fork`]: the last seq of the chain in the log.
    #[n(4)]
    pub chain_seq: Option<u64>,
    /// For [`RefusalReason::MfaRequired`]: what is asked, and what the session has.
    #[n(5)]
    pub levels: Option<LevelGap>,
}

/// Why a relay does not take an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum RefusalReason {
    /// Not an item of the protocol.
    #[n(0)]
    Malformed,
    /// The signature does not fit.
    #[n(1)]
    BadSignature,
    /// The author's device is unknown at the entry's `members_head`.
    #[n(2)]
    UnknownAuthor,
    /// The role does not allow it: the author's, or the session's.
    #[n(3)]
    RoleDenied,
    /// The log lacks the entry before it.
    #[n(4)]
    Gap,
    /// The log holds another entry at this place of the chain.
    #[n(5)]
    Fork,
    /// The log lacks the record that the entry's `members_head`, or a record's parents, name.
    #[n(6)]
    UnknownRecord,
    /// The short form names an item that declares nothing.
    #[n(7)]
    UnknownDeclaration,
    /// The record does not count.
    #[n(8)]
    RecordRefused,
    /// The invite's time or uses are over.
    #[n(9)]
    InviteNotValid,
    /// The device or the workspace has used up its quota.
    #[n(10)]
    QuotaExceeded,
    /// `members_head` is older than that of the entry before it.
    #[n(11)]
    MembershipRegression,
    /// The entry's epoch is not the one of its `members_head`.
    #[n(12)]
    EpochMismatch,
    /// The session's device was given up by its user.
    #[n(13)]
    DeviceRevoked,
    /// The role of the session's user has ended, by the relay's clock.
    #[n(14)]
    ExpiredGrant,
    /// It needs a second factor.
    #[n(15)]
    MfaRequired,
    /// The document was given up.
    #[n(16)]
    DocumentPurged,
    /// The record would leave the workspace without an owner.
    #[n(17)]
    LastOwner,
    /// The record takes the keys from somebody, and begins no epoch.
    #[n(18)]
    RotationMissing,
    /// The record's epoch is not wrapped to exactly its recipients.
    #[n(19)]
    RecipientSetMismatch,
    /// The record delivers an epoch to somebody who may not have it.
    #[n(20)]
    RewrapToNonMember,
    /// No receipt of the named relay proves that the role has ended.
    #[n(21)]
    ExpiryNotProven,
}

/// The answer for a workspace that does not exist, and for one that the device is no member of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NotFound {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// Number of a [`NotFoundReason`], where the device may know it.
    #[n(1)]
    pub reason: Option<u8>,
}

impl NotFound {
    /// Returns why, if a reason was given that this version knows.
    #[must_use]
    pub fn reason(&self) -> Option<NotFoundReason> {
        self.reason.and_then(NotFoundReason::from_number)
    }
}

/// Why a workspace is not shown to a device that may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotFoundReason {
    /// As many as the invite allows have joined by it.
    UsedUp,
    /// The invite's time is over, by this relay's clock.
    Expired,
    /// The relay takes a new workspace only from who shows it a token.
    NeedsToken,
    /// The invite was ended by a record.
    Ended,
    /// The device's user was removed, or left.
    Removed,
    /// The device was given up by its user.
    Revoked,
    /// The role of the device's user has ended, by this relay's clock.
    RoleExpired,
    /// The workspace's policy wants sessions that are bound to their TLS connection.
    NeedsBinding,
}

impl From<RightEnded> for NotFoundReason {
    fn from(ended: RightEnded) -> Self {
        match ended {
            RightEnded::Removed => Self::Removed,
            RightEnded::Revoked => Self::Revoked,
            RightEnded::Expired => Self::RoleExpired,
        }
    }
}

impl NotFoundReason {
    /// Returns its number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::UsedUp => 1,
            Self::Expired => 2,
            Self::NeedsToken => 3,
            Self::Ended => 4,
            Self::Removed => 5,
            Self::Revoked => 6,
            Self::RoleExpired => 7,
            Self::NeedsBinding => 8,
        }
    }

    /// Recognises a number; those of a later version are no reason.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let invites = [Self::UsedUp, Self::Expired, Self::NeedsToken, Self::Ended];
        let all = invites.into_iter().chain([Self::Removed, Self::Revoked, Self::RoleExpired, Self::NeedsBinding]);
        all.into_iter().find(|reason| reason.number() == number)
    }
}
