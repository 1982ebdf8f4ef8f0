//! Why work by others is set aside, and how often each reason was met.
//!
//! Invariant: nothing is refused in silence: each refusal has one of these reasons, and is counted.

use std::collections::BTreeMap;

use tombolo_crypto::OpenError;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::ids::{DeviceId, DocumentId, EntryHash};

use crate::document::ApplyReason;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// Why something by another device, or a relay, was not taken as it came.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum SetAsideReason {
            $($(#[$doc])* $name,)*
        }

        impl SetAsideReason {
            pub(crate) fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }

            pub(super) fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Malformed }
            }
        }
    };
}

reasons! {
    /// The bytes do not follow the protocol.
    Malformed = 1;
    /// A signature does not fit.
    BadSignature = 2;
    /// It was here before.
    Duplicate = 3;
    /// An earlier entry of its chain is missing; it waits.
    Gap = 4;
    /// A membership record is missing; it waits.
    UnknownRecord = 5;
    /// The epoch's key is missing; it waits.
    PendingKey = 6;
    /// More waits for one document than this device keeps.
    TooMuchHeld = 7;
    /// It belongs to another workspace.
    OtherWorkspace = 8;
    /// Its author is no device of a member.
    UnknownAuthor = 9;
    /// Its author's role does not allow it.
    RoleDenied = 10;
    /// Its author went back in the membership log.
    MembershipRegression = 11;
    /// Its epoch is not the one of the membership record it names.
    EpochMismatch = 12;
    /// Another entry stands in its place of the chain.
    Fork = 13;
    /// It does not open.
    Decrypt = 14;
    /// Its padding is not what it should be.
    Padding = 15;
    /// What it holds does not follow the layout.
    MalformedBody = 16;
    /// It claims another CRDT than its document has.
    CrdtMismatch = 17;
    /// It claims to create a document of another id.
    OtherDocument = 18;
    /// It holds work of an actor that is not its author's.
    ActorMismatch = 19;
    /// The CRDT can not take it, or chokes on it.
    Poison = 20;
    /// A membership record does not count.
    RecordRefused = 21;
    /// The relay's log contradicts itself.
    RelayFork = 22;
    /// The relay admits that it lost part of its log.
    RelayRollback = 23;
    /// The other side speaks another version.
    UnsupportedVersion = 24;
    /// The other side's proof, or the way it is reached, is not good enough.
    AuthFailed = 25;
    /// The invite is used up or over.
    InviteNotValid = 26;
    /// A quota is used up.
    QuotaExceeded = 27;
}

impl std::fmt::Display for SetAsideReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl From<OpenError> for SetAsideReason {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Padding => Self::Padding,
            _ => Self::Decrypt,
        }
    }
}

impl From<ApplyReason> for SetAsideReason {
    fn from(reason: ApplyReason) -> Self {
        match reason {
            ApplyReason::ActorMismatch => Self::ActorMismatch,
            _ => Self::Poison,
        }
    }
}

impl From<RefusalReason> for SetAsideReason {
    fn from(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::Malformed | RefusalReason::UnknownDeclaration => Self::Malformed,
            RefusalReason::BadSignature => Self::BadSignature,
            RefusalReason::UnknownAuthor => Self::UnknownAuthor,
            RefusalReason::RoleDenied => Self::RoleDenied,
            RefusalReason::Gap => Self::Gap,
            RefusalReason::Fork => Self::Fork,
            RefusalReason::UnknownRecord => Self::UnknownRecord,
            RefusalReason::RecordRefused => Self::RecordRefused,
            RefusalReason::InviteNotValid => Self::InviteNotValid,
            RefusalReason::QuotaExceeded => Self::QuotaExceeded,
            RefusalReason::MembershipRegression => Self::MembershipRegression,
            RefusalReason::EpochMismatch => Self::EpochMismatch,
        }
    }
}

/// How often each kind of bad input was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<SetAsideReason, u64>);

impl Counters {
    pub(crate) fn count(&mut self, reason: SetAsideReason) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// Returns how often one reason was met.
    #[must_use]
    pub fn of(&self, reason: SetAsideReason) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// Returns all reasons that were met, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (SetAsideReason, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

/// An entry that is kept and not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its document, if that is known.
    pub document: Option<DocumentId>,
    /// Who wrote it.
    pub author: DeviceId,
    /// Its place in the author's chain.
    pub seq: u64,
    /// Its name.
    pub hash: EntryHash,
    /// Why.
    pub reason: SetAsideReason,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

impl SetAside {
    pub(crate) fn of(entry: &Entry, document: Option<DocumentId>, reason: SetAsideReason, since_ms: i64) -> Self {
        let header = entry.header();
        Self { document, author: header.chain.device, seq: header.seq, hash: entry.hash(), reason, since_ms }
    }
}
