//! What is still owed to the relays, why, and what of others was not taken.

use tombolo::SyncDebt as CoreDebt;
use tombolo::protocol::ids::{DeviceId, DocumentId, EntryHash};
pub use tombolo::{Counters, DebtReason, DocumentDebt, SetAside, SetAsideReason};

/// Why something by another device, or a relay, was not taken as it came; [`describe_set_aside`] has it in words.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum SetAsideReason {
    /// Its bytes do not follow the protocol.
    Malformed,
    /// A signature does not fit.
    BadSignature,
    /// It was here before.
    Duplicate,
    /// An earlier entry of its chain is missing; it waits.
    Gap,
    /// A membership record is missing; it waits.
    UnknownRecord,
    /// The key is missing; it waits.
    PendingKey,
    /// More waits than this device keeps.
    TooMuchHeld,
    /// It belongs to another workspace.
    OtherWorkspace,
    /// Its author is no device of a member.
    UnknownAuthor,
    /// Its author's role does not allow it.
    RoleDenied,
    /// Its author went back in the membership log.
    MembershipRegression,
    /// Its key is not the one of its time.
    EpochMismatch,
    /// Another entry stands in its place.
    Fork,
    /// It does not open.
    Decrypt,
    /// Its padding is not what it should be.
    Padding,
    /// What it holds does not follow the layout.
    MalformedBody,
    /// It claims another CRDT than its document has.
    CrdtMismatch,
    /// It claims to create a document of another id.
    OtherDocument,
    /// It holds work that is not its author's.
    ActorMismatch,
    /// The CRDT can not take it.
    Poison,
    /// A membership record does not count.
    RecordRefused,
    /// The relay's log contradicts itself.
    RelayFork,
    /// The relay admits that it lost part of its log.
    RelayRollback,
    /// The other side speaks another version.
    UnsupportedVersion,
    /// The other side's proof, or the way it is reached, is not good enough.
    AuthFailed,
    /// The invite is used up or over.
    InviteNotValid,
    /// A quota is used up.
    QuotaExceeded,
    /// The disk changed it.
    Damaged,
    /// The relay keeps back what it gave to another device.
    Withheld,
    /// The relay wants a second factor first.
    SecondFactorRequired,
    /// It lies beyond what the removal of its author reaches.
    BeyondPin,
    /// An admin keeps it out.
    Excluded,
    /// A key in it is weak.
    WeakKey,
    /// A snapshot does not hold what it says that it stands for.
    SnapshotMismatch,
}

/// Why something is still owed; [`describe_debt`] has it in words.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum DebtReason {
    /// No relay was ever dialled.
    NoRelay,
    /// No relay is reached at the moment.
    Offline,
    /// What the relay has comes first.
    CatchingUp,
    /// It waits for its turn or for the relay's receipt.
    UnderWay,
    /// The relay takes a new workspace only from who shows it a token.
    NeedsToken,
    /// The policy wants sessions bound to their TLS connection.
    NeedsBinding,
    /// The relay wants a second factor, of this level.
    NeedsSecondFactor(u8),
    /// The relay refused it.
    Refused(SetAsideReason),
    /// The workspace's keys are not here.
    AwaitingKey,
    /// The disk changed it.
    Damaged,
}

/// What one document still owes.
#[uniffi::remote(Record)]
pub struct DocumentDebt {
    /// Which document; nothing if its first entry was not read yet.
    pub document: Option<DocumentId>,
    /// Changes that no entry carries yet.
    pub pending_changes: u64,
    /// Entries that no relay holds.
    pub unplaced_entries: u64,
    /// When the oldest pending change was made, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Why.
    pub reason: DebtReason,
}

/// An entry that is kept and not applied.
#[uniffi::remote(Record)]
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

/// How often a reason was met.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReasonCount {
    /// The reason.
    pub reason: SetAsideReason,
    /// How often.
    pub count: u64,
}

/// What a workspace still owes.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SyncDebt {
    /// Whether everything here is at a relay, and everything there is here.
    pub settled: bool,
    /// The documents that owe something.
    pub documents: Vec<DocumentDebt>,
    /// Membership records that no relay holds.
    pub records: u64,
    /// How many entries wait, and for what.
    pub held: Vec<ReasonCount>,
    /// Entries of others that are kept and not applied.
    pub set_aside: Vec<SetAside>,
    /// Whether a relay's head was confirmed in a session that still stands.
    pub confirmed: bool,
}

impl From<CoreDebt> for SyncDebt {
    fn from(debt: CoreDebt) -> Self {
        let settled = debt.is_settled();
        let CoreDebt { documents, records, held, set_aside, confirmed } = debt;
        Self { settled, documents, records, held: counted(held), set_aside, confirmed }
    }
}

/// Says why something is owed, in English, and what to do.
#[uniffi::export]
#[must_use]
pub fn describe_debt(reason: DebtReason) -> String {
    reason.to_string()
}

/// Says why something was not taken, in English, whose fault that is, and what to do.
#[uniffi::export]
#[must_use]
pub fn describe_set_aside(reason: SetAsideReason) -> String {
    reason.to_string()
}

pub(crate) fn counted(reasons: impl IntoIterator<Item = (SetAsideReason, u64)>) -> Vec<ReasonCount> {
    reasons.into_iter().map(|(reason, count)| ReasonCount { reason, count }).collect()
}
