//! Why work by others is set aside, and how often each reason was met.
//!
//! Invariant: nothing is refused in silence: each refusal has one of these reasons, and is counted.

use std::collections::BTreeMap;

use tombolo_crypto::OpenError;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::identity::IdentityError;
use tombolo_protocol::ids::{DeviceId, DocumentId, EntryHash};
use tombolo_protocol::keys::KeyError;
use tombolo_protocol::record::RecordError;

use crate::document::ApplyReason;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
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

            /// Returns a sentence for a person: whose fault it is, and what to do.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(crate) fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Malformed }
            }
        }
    };
}

reasons! {
    /// The bytes do not follow the protocol.
    Malformed = 1, "its bytes do not follow the protocol; ask its author to update the app and to write it again";
    /// A signature does not fit.
    BadSignature = 2, "its signature does not fit, so somebody on the way changed it; nothing is to be done, the original still comes";
    /// It was here before.
    Duplicate = 3, "it was here before; nothing is to be done";
    /// An earlier entry of its chain is missing; it waits.
    Gap = 4, "an earlier entry of its author has not come yet; sync again, or ask the author to";
    /// A membership record is missing; it waits.
    UnknownRecord = 5, "a membership record that it needs has not come yet; sync again, or ask its author to";
    /// The epoch's key is missing; it waits.
    PendingKey = 6, "the key that opens it has not come yet; ask an admin to sync";
    /// More waits than this device keeps: entries of one document, or records for their parents.
    TooMuchHeld = 7, "more waits than this device keeps; sync until what it waits for has come";
    /// It belongs to another workspace.
    OtherWorkspace = 8, "its author wrote it for another workspace; it does not belong here";
    /// Its author is no device of a member.
    UnknownAuthor = 9, "its author is no device of a member; an admin may invite them, and they must write it again";
    /// Its author's role does not allow it.
    RoleDenied = 10, "its author's role does not allow it; an admin may change the role, and they must write it again";
    /// Its author went back in the membership log.
    MembershipRegression = 11, "its author's device went back to older members; it was restored from a backup or means harm";
    /// Its epoch is not the one of the membership record it names.
    EpochMismatch = 12, "its author sealed it with a key that is not the one of its time; ask them to update the app";
    /// Another entry stands in its place of the chain.
    Fork = 13, "its author's device wrote another entry in the same place; its store was copied, ask them to keep one copy";
    /// It does not open.
    Decrypt = 14, "it does not open: its author did not seal it for this place; ask them to write it again";
    /// Its padding is not what it should be.
    Padding = 15, "its author's program broke the padding rule; ask them to update the app";
    /// What it holds does not follow the layout.
    MalformedBody = 16, "its content does not follow the layout; ask its author to update the app and to write it again";
    /// It claims another CRDT than its document has.
    CrdtMismatch = 17, "its author took the document for one of another CRDT; ask them to update the app";
    /// It claims to create a document of another id.
    OtherDocument = 18, "its author claims to create a document of another name; ask them to update the app";
    /// It holds work of an actor that is not its author's.
    ActorMismatch = 19, "its author passes off work of another device as its own; do not trust that device";
    /// The CRDT can not take it, or chokes on it.
    Poison = 20, "the document's library can not take it; the document goes on without it, ask its author to make it again";
    /// A membership record does not count.
    RecordRefused = 21, "a membership record breaks the rules; ask its author to update the app";
    /// The relay's log contradicts itself.
    RelayFork = 22, "the relay's log contradicts what it signed before; ask its operator, and compare with other devices";
    /// The relay admits that it lost part of its log.
    RelayRollback = 23, "the relay admits that it lost part of its log; this device brings it back, tell the operator";
    /// The other side speaks another version.
    UnsupportedVersion = 24, "the other side speaks another version of the protocol; update whichever is older";
    /// The other side's proof, or the way it is reached, is not good enough.
    AuthFailed = 25, "the other side's proof does not hold, or the way to it is not safe; check the address and who ends TLS";
    /// The invite is used up or over.
    InviteNotValid = 26, "the invite is used up or over; ask for a new one";
    /// A quota is used up.
    QuotaExceeded = 27, "the relay keeps no more for this workspace; ask its operator for a greater quota";
    /// The disk changed what was stored of it; it is fetched again.
    Damaged = 28, "this device's disk changed it; it is fetched again from a relay that has it, check the disk";
    /// The relay keeps back what it gave to another device.
    Withheld = 29, "the relay keeps back what it gave to another device; sync by another relay, or ask its operator";
    /// The relay takes it only from a session that has shown a second factor.
    SecondFactorRequired = 30, "the relay takes it only from who has shown a second factor; show one, and it goes out by itself";
    /// It lies beyond what the removal of its author reaches.
    BeyondPin = 31, "its author was removed before this was known here; an admin may admit it, else it stays out";
    /// An admin keeps it out.
    Excluded = 32, "an admin keeps it out; ask an admin if it should count";
    /// A key in a membership record is weak: anybody could sign for it, or open what is sealed to it.
    WeakKey = 33, "a key in it is weak, so anybody could use it; whoever made it means harm, and the relay passed it on";
    /// A snapshot does not hold what it says that it stands for.
    SnapshotMismatch = 34, "the snapshot is not what its entries come to; nothing is lost, but do not trust the device that published it";
}

impl std::fmt::Display for SetAsideReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
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
            // What this device may do at the relay, for now or for good.
            RefusalReason::DeviceRevoked | RefusalReason::ExpiredGrant | RefusalReason::DocumentPurged => {
                Self::RoleDenied
            }
            RefusalReason::MfaRequired => Self::SecondFactorRequired,
            RefusalReason::LastOwner
            | RefusalReason::RotationMissing
            | RefusalReason::RecipientSetMismatch
            | RefusalReason::RewrapToNonMember
            | RefusalReason::ExpiryNotProven => Self::RecordRefused,
        }
    }
}

/// Returns why a record that can not be read is not taken.
pub(crate) fn of_unread(error: &RecordError) -> SetAsideReason {
    match error {
        RecordError::Identity(IdentityError::Key(KeyError::WeakKey)) | RecordError::Key(KeyError::WeakKey) => {
            SetAsideReason::WeakKey
        }
        _ => SetAsideReason::Malformed,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_in_words_whose_fault_it_is_and_what_to_do() {
        for code in 1..=u8::MAX {
            let reason = SetAsideReason::from_code(code);
            if reason.code() != code {
                continue;
            }
            let said = reason.to_string();
            assert!(said.split(' ').count() >= 8, "{reason:?} only says: {said}");
            assert!(!said.contains(&format!("{reason:?}")) && !said.ends_with('.'), "{reason:?} says: {said}");
        }
    }
}
