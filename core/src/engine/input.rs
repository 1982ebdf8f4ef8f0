//! What can happen to an engine, and what it wants done about it.
//!
//! Invariant: an [`Effect`] is handed out only after the commit of what caused it; inputs of a
//! connection that the engine has given up are ignored by their connection number.

use std::time::Duration;

use tombolo_crypto::LinkDigits;
use tombolo_protocol::auth::Binding;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{LevelGap, StepUpRefusal};
use tombolo_protocol::ids::{DeviceId, DocumentId, RelayId, UserId, WorkspaceId};
use tombolo_protocol::record::{OrganisationRecovery, Role};

use super::unreached::{OfflineReason, Unreached};
use crate::document::Patch;
use crate::identity::LinkFailure;
use crate::store::JoinRefusal;
use crate::sync::reason::SetAside;
use crate::workspace::MembershipAct;

/// The two clocks, as the driver read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since some moment in the past; never goes back.
    pub mono: Duration,
    /// Milliseconds since 1970 by the wall clock, which may be wrong and may jump.
    pub wall_ms: i64,
}

/// Names a dialled relay inside one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayRef(pub(crate) i64);

/// Names one attempt to reach a relay; a later attempt has a greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// Which relay.
    pub relay: RelayRef,
    /// Which attempt.
    pub attempt: u64,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A connection stands.
    Connected {
        /// Which.
        connection: Connection,
        /// The host as it was dialled, with its port if one was given.
        host: String,
        /// The TLS exporter, if there is TLS.
        binding: Binding,
        /// Whether the other end is this very machine.
        loopback: bool,
    },
    /// A frame came.
    Frame {
        /// On which connection.
        connection: Connection,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A connection ended, or never stood.
    Disconnected {
        /// Which.
        connection: Connection,
        /// The close code of the other end, if it gave one.
        code: Option<CloseCode>,
    },
    /// A relay was not reached, and it is known why.
    Unreached {
        /// Which attempt.
        connection: Connection,
        /// Why.
        why: Unreached,
    },
    /// The time that [`super::Engine::poll_timeout`] asked for has come.
    Tick,
    /// The network has changed: dial now instead of waiting.
    NetworkChanged,
    /// Close all sessions and dial nobody.
    Pause,
    /// Dial again.
    Resume,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Effect {
    /// Reach a relay.
    Dial {
        /// Which attempt this is.
        connection: Connection,
        /// Where.
        address: String,
    },
    /// Send a frame.
    Send {
        /// On which connection.
        connection: Connection,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Close a connection.
    HangUp {
        /// Which.
        connection: Connection,
        /// Why.
        code: CloseCode,
    },
    /// Tell the app.
    Event(Event),
}

/// Where a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This replica.
    Local,
    /// Another device.
    Remote,
}

/// What an app may want to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// This device's user has another role in a workspace, or none any more.
    RoleChanged {
        /// Which workspace.
        workspace: WorkspaceId,
        /// The role; `None` after a removal.
        role: Option<Role>,
    },
    /// [`Engine::members`](super::Engine::members) are others than they were: who they are, their roles, until when
    /// they have them, or the devices that act for them. Told once for what is committed together.
    MembersChanged {
        /// In which workspace.
        workspace: WorkspaceId,
    },
    /// Owners ask something else of everybody: [`Engine::policy`](super::Engine::policy) has it.
    PolicyChanged {
        /// In which workspace.
        workspace: WorkspaceId,
    },
    /// An organisation has a key to the workspace from now on, or another, or none: tell every member.
    OrganisationRecoveryChanged {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Whose key it is; `None` if there is none any more.
        recovery: Option<OrganisationRecovery>,
    },
    /// An act that was intended would not count any more, and was given up.
    ActRefused {
        /// Which workspace.
        workspace: WorkspaceId,
        /// What was intended.
        act: MembershipAct,
    },
    /// A document that somebody watches has changed.
    Changed {
        /// Which document.
        document: DocumentId,
        /// What changed, in order.
        patches: Vec<Patch>,
        /// Who wrote it, if it was one device.
        author: Option<DeviceId>,
        /// From here or from elsewhere.
        origin: Origin,
    },
    /// A document that somebody watches was built anew: read it again.
    Rebuilt {
        /// Which document.
        document: DocumentId,
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
        /// Why, if it is for good; else the relay does not have the workspace or the invite yet, and is asked
        /// again.
        reason: Option<JoinRefusal>,
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
        /// Its new state.
        state: RelayState,
    },
    /// A workspace is in step with a relay: everything here is there, everything there is here.
    InStep {
        /// Which workspace.
        workspace: WorkspaceId,
        /// The relay's address.
        address: String,
    },
    /// What a caller of `wait_for` waits for has come.
    Reached(u64),
    /// An entry by another device is kept and not applied.
    SetAside {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Which, and why.
        entry: SetAside,
    },
    /// Changes of this device that no entry carries yet do not open any more: the disk changed them. They
    /// are kept, and owed for good, for nobody else has them.
    ChangesDamaged {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Of which document, if that is known.
        document: Option<DocumentId>,
        /// How many.
        changes: u64,
    },
    /// Entries that the disk had changed were fetched again: the document is whole.
    Mended {
        /// In which workspace.
        workspace: WorkspaceId,
        /// Which document, if that is known.
        document: Option<DocumentId>,
    },
    /// The relay at a known address has another key: its old log is gone, and is being healed.
    RelayReplaced {
        /// The relay's address.
        address: String,
        /// The key it had.
        old: RelayId,
        /// The key it has.
        new: RelayId,
    },
    /// The relay admits, signed, that it lost part of a workspace's log.
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
    /// A relay wants a second factor: to open a workspace, or to take what this device sent. What was refused
    /// stays owed, and goes out by itself once one was shown.
    StepUpWanted {
        /// The relay's address.
        address: String,
        /// For which workspace.
        workspace: WorkspaceId,
        /// The level that is needed, and the one that the session has.
        levels: LevelGap,
    },
    /// A relay has said what it asks of who wants to show a second factor.
    StepUpAsked {
        /// The relay's address.
        address: String,
        /// For which workspace.
        workspace: WorkspaceId,
    },
    /// A relay has judged a second factor.
    SteppedUp {
        /// The relay's address.
        address: String,
        /// For which workspace.
        workspace: WorkspaceId,
        /// The level that the session has now.
        level: u8,
        /// Until when, by the relay's clock; zero for as long as the session lives.
        until_ms: i64,
        /// Why it was not taken, if it was not.
        refused: Option<StepUpRefusal>,
    },
    /// The user has one device more.
    DeviceLinked {
        /// Which.
        device: DeviceId,
        /// Its name, if it is known already.
        name: Option<String>,
    },
    /// The user has given up a device; if it is this one, it is out of all workspaces.
    DeviceRevoked {
        /// Which.
        device: DeviceId,
    },
    /// Somebody answered the request of this device: the digits to show, to be typed on the other one.
    LinkDigits {
        /// The digits.
        digits: LinkDigits,
    },
    /// A new device shows its digits: ask the person for them.
    LinkAsks {
        /// Which device it says it is.
        device: DeviceId,
    },
    /// This device has become the device of another user; show whose, by a name the person knows.
    Linked {
        /// Whose.
        user: UserId,
    },
    /// A link was given up, on either side.
    LinkFailed {
        /// Why.
        reason: LinkFailure,
    },
    /// Nobody has confirmed a recovery kit for this user: with its last device everything would be lost.
    /// Told soon after an open, and daily.
    RecoveryKitMissing,
    /// What a kit brought back is complete: lost devices are out, and new epochs have begun.
    Recovered {
        /// How many workspaces there are.
        workspaces: usize,
    },
    /// An entry of this very device came in that it never wrote: its store was copied or restored. It is
    /// listed among the alarms as well.
    CloneSuspected {
        /// In which workspace.
        workspace: WorkspaceId,
    },
}

/// How a session with a relay stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayState {
    /// Nobody is there; the next attempt is at this wait from now.
    Offline {
        /// Time until the next attempt; `None` if there will be none before something changes.
        retry_in: Option<Duration>,
        /// Why the last attempt or session ended, if that is known.
        reason: Option<OfflineReason>,
        /// Whether the relay had proven its key by then. If not, what it is said to have said is hearsay: anybody
        /// on the way could have said it, and the relay is dialled all the same.
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
