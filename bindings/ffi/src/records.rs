//! What is listed of workspaces, members, devices and debt: the core's own records where they are plain.

pub use tombolo::engine::DocumentSummary;
use tombolo::protocol::ids::{DeviceId, DocumentId, LogId, RecordId, RelayId, UserId, WorkspaceId};
pub use tombolo::protocol::record::{Levels, OrganisationRecovery, Policy, Role};
pub use tombolo::{
    ActOutcome, Alarm, AlarmKind, DeviceDescription, EvidenceKind, InviteTerms, JoinRefusal, LinkWay, Member,
    MembershipAct, Milestone, OpenInvite, Platform, PolicyTerms, RelayEvidence, Unsent, UnsentWork, WorkspaceState,
    WorkspaceSummary,
};

use crate::ids::PublicKey;
use crate::values::Crdt;

/// What a member may do; each may what those before it may.
#[uniffi::remote(Enum)]
pub enum Role {
    /// Holds ciphertext for others, and no key.
    Carrier,
    /// Reads.
    Reader,
    /// Reads, and writes comments.
    Commenter,
    /// Writes content.
    Writer,
    /// Invites and removes, up to writers.
    Admin,
    /// May everything, and alone makes admins.
    Owner,
}

/// Why an invite was refused for good.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// As many as it allows have joined by it.
    UsedUp,
    /// Its time is over.
    Expired,
    /// A record of the workspace ended it.
    Ended,
}

/// How far this device has come with a workspace.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum WorkspaceState {
    /// It holds an invite and waits for a relay to take it.
    Joining,
    /// It is a member.
    Member,
    /// Its user is a member; the workspace may not know this device yet.
    Returning,
    /// Its invite was refused for good.
    Refused(JoinRefusal),
}

/// One workspace, as an app sees it in a list.
#[uniffi::remote(Record)]
pub struct WorkspaceSummary {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name; unknown while it is being joined.
    pub name: Option<String>,
    /// The role of this device's user; nothing while it is being joined, and after a removal.
    pub role: Option<Role>,
    /// How far this device has come with it.
    pub state: WorkspaceState,
}

/// One document, as an app sees it in a list.
#[uniffi::remote(Record)]
pub struct DocumentSummary {
    /// Its id.
    pub id: DocumentId,
    /// Its CRDT.
    pub crdt: Crdt,
    /// What the app that made it calls this type of document.
    pub app_type: String,
}

/// One member of a workspace.
#[uniffi::remote(Record)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// What the user may do.
    pub role: Role,
    /// When the role ends by its relay's clock, milliseconds since 1970; nothing if it does not.
    pub expires_ms: Option<i64>,
    /// The user's active devices.
    pub devices: Vec<DeviceId>,
}

/// What an invite offers.
#[uniffi::remote(Record)]
pub struct InviteTerms {
    /// What a joiner becomes.
    pub role: Role,
    /// When it ends, milliseconds since 1970; nothing for never.
    pub expires_ms: Option<i64>,
    /// How many may join; nothing for any number.
    pub uses: Option<u32>,
}

/// An invite that can still be used.
#[uniffi::remote(Record)]
pub struct OpenInvite {
    /// Its id; the link is known to who made it.
    pub id: RecordId,
    /// Who made it.
    pub maker: UserId,
    /// What it offers.
    pub terms: InviteTerms,
    /// How many have joined by it.
    pub used: u32,
}

/// The least level of authentication for each kind of act: 1 is the device's key, 3 and 4 a second factor.
#[uniffi::remote(Record)]
pub struct Levels {
    /// To open the workspace at a relay.
    pub open: u8,
    /// To append entries.
    pub append: u8,
    /// To make invites.
    pub invite: u8,
    /// To change members, devices, owners and the policy.
    pub membership: u8,
}

/// A key that can open everything, held by an organisation; every member sees that it is there.
#[uniffi::remote(Record)]
pub struct OrganisationRecovery {
    /// Whose key it is called.
    pub user: UserId,
    /// Keys are wrapped to it.
    pub box_public: PublicKey,
}

/// What owners ask of everybody.
#[uniffi::remote(Record)]
pub struct Policy {
    /// What a second factor is needed for.
    pub levels: Levels,
    /// The relays whose word on levels counts.
    pub relays: Vec<RelayId>,
    /// Whether sessions must be bound to their TLS connection.
    pub needs_binding: bool,
    /// The organisation's recovery key, if there is one.
    pub recovery: Option<OrganisationRecovery>,
}

/// What is to be asked of everybody.
#[uniffi::remote(Record)]
pub struct PolicyTerms {
    /// What a second factor is needed for.
    pub levels: Levels,
    /// The relays that attest levels.
    pub relays: Vec<RelayId>,
    /// Whether sessions must be bound to their TLS connection.
    pub needs_binding: bool,
}

/// Something that changes who may do what.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum MembershipAct {
    /// Gives a member another role, for good or until a time (milliseconds since 1970).
    SetRole {
        /// Who.
        user: UserId,
        /// The role.
        role: Role,
        /// When it ends by the relay's clock.
        expires_ms: Option<i64>,
    },
    /// Removes a member, or oneself; the keys change.
    Remove {
        /// Who.
        user: UserId,
    },
    /// Makes another member owner, and oneself admin.
    TransferOwnership {
        /// To whom.
        to: UserId,
    },
    /// Ends an invite.
    RevokeInvite {
        /// Which.
        invite: RecordId,
    },
    /// Settles what is asked of everybody; who has a recovery key stays as it is.
    SetPolicy(PolicyTerms),
    /// Gives an organisation a key to the workspace, or takes it away.
    SetOrganisationRecovery(Option<OrganisationRecovery>),
}

/// What became of an act.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum ActOutcome {
    /// It stands in the workspace's log here, and is sent.
    Stated(RecordId),
    /// It is kept, and stated as soon as a relay has been caught up with.
    Intended,
}

/// How far a change has come.
#[uniffi::remote(Enum)]
pub enum Milestone {
    /// It is durable on this device.
    Local,
    /// It was sent to a relay.
    Sent,
    /// A relay signed that it is durable there.
    RelayDurable,
    /// This device of a member has it.
    SeenBy(DeviceId),
}

/// What becomes of own work that no relay has, when a workspace is forgotten.
#[uniffi::remote(Enum)]
pub enum Unsent {
    /// It stands in the way: nothing is forgotten while there is any.
    Keep,
    /// It goes with the rest.
    Discard,
}

/// What a device says it is.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum Platform {
    /// It does not say.
    Unknown,
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
    /// Android.
    Android,
    /// iOS or iPadOS.
    Ios,
    /// A browser.
    Web,
}

/// One device of this user.
#[uniffi::remote(Record)]
pub struct DeviceDescription {
    /// Its id.
    pub id: DeviceId,
    /// What it was named.
    pub name: Option<String>,
    /// What it says it is.
    pub platform: Platform,
    /// Whether it is the one that was asked.
    pub is_this: bool,
    /// Who vouched for it: another device, or the user's root for the first and for a recovered one.
    pub added: Option<DeviceId>,
    /// Whether it was given up.
    pub revoked: bool,
}

/// What an alarm is about.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum AlarmKind {
    /// An entry of this device came that it never wrote: its store was copied or restored.
    CloneSuspected {
        /// In which workspace.
        workspace: WorkspaceId,
    },
    /// A device was to be linked, and what it showed or said was false: somebody may stand between.
    LinkFailed {
        /// Which device asked.
        device: DeviceId,
    },
}

/// Something that a person should look at.
#[uniffi::remote(Record)]
pub struct Alarm {
    /// What.
    pub kind: AlarmKind,
    /// When it was noticed, milliseconds since 1970.
    pub since_ms: i64,
}

/// How a new device is found by the one that approves it.
#[uniffi::remote(Enum)]
pub enum LinkWay {
    /// The approving device scans a QR code.
    Scan,
    /// A person types a code of eight characters; both devices have dialled the same relay.
    Code,
}

/// How a relay's words contradict each other.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// It signed two histories.
    Fork,
    /// It keeps something back.
    Withheld,
}

/// Two words of one relay that do not go together; both are signed by it.
#[uniffi::remote(Record)]
pub struct RelayEvidence {
    /// The relay's key.
    pub relay: RelayId,
    /// The log.
    pub log: LogId,
    /// The length that the other device was shown.
    pub position: u64,
    /// How they contradict each other.
    pub kind: EvidenceKind,
    /// What this device was given; absent if it was given none of that log yet.
    pub ours: Option<Vec<u8>>,
    /// What another member's device was given, and told of.
    pub theirs: Vec<u8>,
    /// Since when it is known, milliseconds since 1970.
    pub since_ms: i64,
}
