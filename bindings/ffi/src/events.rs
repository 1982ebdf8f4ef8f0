//! What an app hears of: a document that it watches, and the replica as a whole.
//!
//! Invariant: the first event of a listener is the present state; what waits is handed over in one call, in order.

use std::time::Duration;

use tombolo::engine::{Event, RelayState};
use tombolo::protocol::ids::{DeviceId, DocumentId, RelayId, UserId, WorkspaceId};

use crate::debt::SetAside;
use crate::records::{JoinRefusal, MembershipAct, Role, WorkspaceSummary};
use crate::values::{Origin, Patch, Value, wide};

/// Hears of one document; written by the app.
#[uniffi::export(with_foreign)]
pub trait DocumentListener: Send + Sync {
    /// Takes what happened, oldest first. The first event of all is the document as it is.
    fn on_events(&self, events: Vec<DocumentEvent>);

    /// Says that no more will come: the replica was closed.
    fn on_end(&self);
}

/// Hears of everything else; written by the app.
#[uniffi::export(with_foreign)]
pub trait ReplicaListener: Send + Sync {
    /// Takes what happened, oldest first. The first event of all is how things stand.
    fn on_events(&self, events: Vec<ReplicaEvent>);

    /// Says that no more will come: the replica was closed.
    fn on_end(&self);
}

/// What happened to a watched document.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum DocumentEvent {
    /// The document, as it is now: the first event, and the one after events were missed.
    Current {
        /// Its content.
        value: Value,
    },
    /// It changed.
    Changed {
        /// What changed, in order.
        patches: Vec<Patch>,
        /// Who wrote it, if it was one device.
        author: Option<DeviceId>,
        /// From here or from elsewhere.
        origin: Origin,
    },
}

/// How a session with a relay stands.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RelayStatus {
    /// Nobody is there.
    Offline {
        /// Time until the next attempt; nothing if there will be none before something changes.
        retry_in: Option<Duration>,
        /// Why, in words, if that is known.
        reason: Option<String>,
        /// Whether the relay had proven its key by then; if not, the reason is hearsay.
        proven: bool,
    },
    /// A connection is being made.
    Dialling,
    /// Both sides have proven who they are.
    Online {
        /// The relay's key.
        relay: RelayId,
    },
}

/// A relay that was dialled.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RelayDescription {
    /// Its address.
    pub address: String,
    /// How the session stands.
    pub status: RelayStatus,
}

/// What an app may want to know.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
#[non_exhaustive]
pub enum ReplicaEvent {
    /// How things stand: the first event.
    Current {
        /// The workspaces.
        workspaces: Vec<WorkspaceSummary>,
        /// The relays.
        relays: Vec<RelayDescription>,
    },
    /// This device's user has another role in a workspace, or none any more.
    RoleChanged {
        /// Which workspace.
        workspace: WorkspaceId,
        /// The role; nothing after a removal.
        role: Option<Role>,
    },
    /// The members are others than they were: who they are, their roles, until when they have them, or the devices
    /// that act for them. `Workspace.members` has them; told once for what came together.
    MembersChanged {
        /// In which workspace.
        workspace: WorkspaceId,
    },
    /// Owners ask something else of everybody.
    PolicyChanged {
        /// In which workspace.
        workspace: WorkspaceId,
    },
    /// An organisation has a key to the workspace from now on, or another, or none: tell every member.
    OrganisationRecoveryChanged {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Whose key it is; nothing if there is none any more.
        user: Option<UserId>,
    },
    /// An act that was intended would not count any more, and was given up.
    ActRefused {
        /// Which workspace.
        workspace: WorkspaceId,
        /// What was intended.
        act: MembershipAct,
    },
    /// A document became known.
    DocumentAdded {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Which document.
        document: DocumentId,
    },
    /// This device became a member of a workspace it had an invite to.
    Joined {
        /// Which workspace.
        workspace: WorkspaceId,
    },
    /// An invite was not taken.
    JoinRefused {
        /// Which workspace.
        workspace: WorkspaceId,
        /// Why, if it is for good; else it is asked again.
        refusal: Option<JoinRefusal>,
    },
    /// This device holds nothing of a workspace any more.
    WorkspaceForgotten {
        /// Which workspace.
        workspace: WorkspaceId,
    },
    /// A session with a relay has changed.
    Relay {
        /// The relay's address.
        address: String,
        /// How the session stands.
        status: RelayStatus,
    },
    /// A workspace is in step with a relay.
    InStep {
        /// Which workspace.
        workspace: WorkspaceId,
        /// The relay's address.
        address: String,
    },
    /// An entry by another device is kept and not applied.
    SetAside {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Which, and why.
        entry: SetAside,
    },
    /// The disk changed own changes that nobody else has.
    ChangesDamaged {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Of which document, if that is known.
        document: Option<DocumentId>,
        /// How many.
        changes: u64,
    },
    /// What the disk had changed was fetched again.
    Mended {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Which document, if that is known.
        document: Option<DocumentId>,
    },
    /// The relay at a known address has another key.
    RelayReplaced {
        /// The relay's address.
        address: String,
        /// The key it had.
        before: RelayId,
        /// The key it has.
        after: RelayId,
    },
    /// The relay admits that it lost part of a workspace's log.
    RelayRollback {
        /// The relay's address.
        address: String,
        /// Which workspace.
        workspace: WorkspaceId,
    },
    /// The relay showed a log that contradicts what it signed before.
    RelayFork {
        /// The relay's address.
        address: String,
        /// Which workspace.
        workspace: WorkspaceId,
    },
    /// The relay keeps back what another device of the workspace has from it.
    Withheld {
        /// The relay's address.
        address: String,
        /// Which workspace.
        workspace: WorkspaceId,
    },
    /// A relay wants a second factor.
    StepUpWanted {
        /// The relay's address.
        address: String,
        /// For which workspace.
        workspace: WorkspaceId,
        /// The level that is needed.
        needed: u8,
        /// The level that the session has.
        have: u8,
    },
    /// The user has one device more.
    DeviceLinked {
        /// Which.
        device: DeviceId,
        /// Its name, if it is known already.
        name: Option<String>,
    },
    /// The user has given up a device.
    DeviceRevoked {
        /// Which.
        device: DeviceId,
    },
    /// This device has become the device of another user.
    Linked {
        /// Whose.
        user: UserId,
    },
    /// A link was given up, on either side.
    LinkFailed {
        /// Why, in words.
        reason: String,
    },
    /// Nobody has confirmed a recovery kit for this user: with its last device everything would be lost.
    RecoveryKitMissing,
    /// What a kit brought back is complete.
    Recovered {
        /// How many workspaces there are.
        workspaces: u64,
    },
    /// This device's store was copied or restored.
    CloneSuspected {
        /// In which workspace.
        workspace: WorkspaceId,
    },
}

impl ReplicaEvent {
    /// Takes what is for apps; what is for a handle that waits, or for a document's listener, is not.
    pub(crate) fn of(event: Event) -> Option<Self> {
        Some(match event {
            Event::RoleChanged { workspace, role } => Self::RoleChanged { workspace, role },
            Event::MembersChanged { workspace } => Self::MembersChanged { workspace },
            Event::PolicyChanged { workspace } => Self::PolicyChanged { workspace },
            Event::OrganisationRecoveryChanged { workspace, recovery } => {
                Self::OrganisationRecoveryChanged { workspace, user: recovery.map(|recovery| recovery.user) }
            }
            Event::ActRefused { workspace, act } => Self::ActRefused { workspace, act },
            Event::DocumentAdded { workspace, document } => Self::DocumentAdded { workspace, document },
            Event::Joined { workspace } => Self::Joined { workspace },
            Event::JoinRefused { workspace, reason } => Self::JoinRefused { workspace, refusal: reason },
            Event::WorkspaceForgotten { workspace } => Self::WorkspaceForgotten { workspace },
            Event::InStep { workspace, address } => Self::InStep { workspace, address },
            Event::SetAside { workspace, entry } => Self::SetAside { workspace, entry },
            Event::ChangesDamaged { workspace, document, changes } => {
                Self::ChangesDamaged { workspace, document, changes }
            }
            Event::Mended { workspace, document } => Self::Mended { workspace, document },
            Event::CloneSuspected { workspace } => Self::CloneSuspected { workspace },
            event => return Self::of_relay(event),
        })
    }

    fn of_relay(event: Event) -> Option<Self> {
        Some(match event {
            Event::Relay { address, state } => Self::Relay { address, status: state.into() },
            Event::RelayReplaced { address, old, new } => Self::RelayReplaced { address, before: old, after: new },
            Event::RelayRollback { address, workspace } => Self::RelayRollback { address, workspace },
            Event::RelayFork { address, workspace } => Self::RelayFork { address, workspace },
            Event::Withheld { address, workspace } => Self::Withheld { address, workspace },
            Event::StepUpWanted { address, workspace, levels } => {
                Self::StepUpWanted { address, workspace, needed: levels.needed, have: levels.have }
            }
            event => return Self::of_devices(event),
        })
    }

    fn of_devices(event: Event) -> Option<Self> {
        Some(match event {
            Event::DeviceLinked { device, name } => Self::DeviceLinked { device, name },
            Event::DeviceRevoked { device } => Self::DeviceRevoked { device },
            Event::Linked { user } => Self::Linked { user },
            Event::LinkFailed { reason } => Self::LinkFailed { reason: reason.to_string() },
            Event::RecoveryKitMissing => Self::RecoveryKitMissing,
            Event::Recovered { workspaces } => Self::Recovered { workspaces: wide(workspaces) },
            _ => return None,
        })
    }
}

impl From<RelayState> for RelayStatus {
    fn from(state: RelayState) -> Self {
        match state {
            RelayState::Online { relay } => Self::Online { relay },
            RelayState::Dialling => Self::Dialling,
            RelayState::Offline { retry_in, reason, proven } => {
                Self::Offline { retry_in, reason: reason.map(|reason| reason.to_string()), proven }
            }
            _ => Self::Offline { retry_in: None, reason: None, proven: false },
        }
    }
}

impl DocumentEvent {
    /// Takes an event of the core; one that is newer than this crate is left out.
    pub(crate) fn of(event: tombolo::DocumentEvent) -> Option<Self> {
        match event {
            tombolo::DocumentEvent::Current { value } => Some(Self::Current { value }),
            tombolo::DocumentEvent::Changed { patches, author, origin } => {
                let patches = patches.into_iter().map(Patch::from).collect();
                Some(Self::Changed { patches, author, origin })
            }
            _ => None,
        }
    }
}
