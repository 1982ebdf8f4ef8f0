//! Why a command did not do what it was asked: one sentence each, which says what to do.

use std::path::PathBuf;

use tombolo::Error;
use tombolo::crypto::RecoveryError;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Tombolo's own reason.
    Tombolo(Error),
    /// A file or a stream.
    Io { what: String, error: std::io::Error },
    /// No home folder, so no default place for the store.
    NoHome,
    /// The variable that should hold the passphrase does not.
    NoPassphrase { variable: String },
    /// The store was made with a passphrase and none is given.
    PassphraseNeeded { store: PathBuf, variable: String },
    /// The store was made without a passphrase and one is given.
    PassphraseNotWanted { store: PathBuf, variable: String },
    /// No note has this title or id.
    NoNote { wanted: String },
    /// Several notes have this title, or ids that begin so.
    ManyNotes { wanted: String, ids: Vec<String> },
    /// No workspace has this name or id.
    NoWorkspace { wanted: String },
    /// Several workspaces have this name.
    ManyWorkspaces { wanted: String, ids: Vec<String> },
    /// The role in the workspace does not allow it.
    NotAllowed { workspace: String, role: &'static str, action: &'static str },
    /// The workspace is still being joined.
    StillJoining,
    /// There is nowhere to sync with.
    NoRelay,
    /// The invite was not taken by its relay.
    JoinRefused,
    /// Nobody in the workspace has an id that begins so.
    NoMember { wanted: String },
    /// Several members have.
    ManyMembers { wanted: String },
    /// The person has no such device.
    NoDevice { wanted: String },
    /// Several devices are called so.
    ManyDevices { wanted: String },
    /// A device does not give up itself.
    ThisDevice,
    /// Ownership is given to members, not by links.
    NoOwnerInvite,
    /// The two devices did not meet in time.
    LinkTooLate,
    /// A recovery needs a new store.
    StoreThere { store: PathBuf },
    /// The words are no kit.
    Kit(RecoveryError),
    /// The editor ended badly; nothing was changed.
    Editor { command: String },
    /// The edited text could not be saved into the note; it is kept in a file.
    Unsaved { draft: PathBuf, cause: Box<Failure> },
}

impl Failure {
    /// Names what a file operation was for.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

impl Failure {
    /// Says what concerns invites, members, devices and kits.
    fn of_people(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoMember { wanted } => write!(f, "no member's id begins with \"{wanted}\"; see: notes members"),
            Self::ManyMembers { wanted } => {
                write!(f, "several members' ids begin with \"{wanted}\"; type more of it: notes members")
            }
            Self::NoDevice { wanted } => write!(f, "no device of yours is called \"{wanted}\"; see: notes devices"),
            Self::ManyDevices { wanted } => {
                write!(f, "several devices of yours match \"{wanted}\"; name one by its id: notes devices")
            }
            Self::ThisDevice => f.write_str("a device can not give up itself; run this on another device of yours"),
            Self::NoOwnerInvite => {
                f.write_str("nobody is invited as owner; invite them as admin, then: notes role MEMBER owner")
            }
            Self::LinkTooLate => f.write_str("the other device did not answer in time; begin again with: notes link"),
            Self::StoreThere { store } => {
                write!(f, "{} is there already; recover into a new one: notes --store FILE recover …", store.display())
            }
            Self::Tombolo(Error::NoRoot) => f.write_str(
                "the root key is not on this device: a kit was made already, or this device was linked; \
                 kits are made on the first device",
            ),
            Self::JoinRefused => f.write_str(
                "the relay did not take the invite: it is used up, over, or of another relay; ask for a new one",
            ),
            Self::Kit(error) => write!(f, "{error}"),
            _ => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::JoinRefused(_) => Self::JoinRefused,
            error => Self::Tombolo(error),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tombolo(Error::NoRelay) | Self::NoRelay => {
                f.write_str("no relay was reached yet; name one: notes sync --relay wss://relay.example")
            }
            Self::Tombolo(Error::NotReady) | Self::StillJoining => {
                f.write_str("the workspace is still being joined; run: notes sync")
            }
            Self::Tombolo(Error::NoRoot) => self.of_people(f),
            Self::Tombolo(error) => write!(f, "{error}"),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::NoHome => f.write_str("there is no home folder to keep the notes in; pass --store FILE"),
            Self::NoPassphrase { variable } => {
                write!(f, "the variable {variable} holds no passphrase; set it: export {variable}=…")
            }
            Self::PassphraseNeeded { store, variable } => {
                write!(f, "{} opens with a passphrase; set it: export {variable}=…", store.display())
            }
            Self::PassphraseNotWanted { store, variable } => {
                write!(f, "{} was made without a passphrase; run: unset {variable}", store.display())
            }
            Self::NoNote { wanted } => write!(f, "no note is called \"{wanted}\"; see: notes list"),
            Self::ManyNotes { wanted, ids } => {
                write!(f, "several notes match \"{wanted}\"; name one by its id: {}", ids.join(", "))
            }
            Self::NoWorkspace { wanted } => write!(f, "no workspace is called \"{wanted}\"; see: notes list"),
            Self::ManyWorkspaces { wanted, ids } => {
                write!(f, "several workspaces are called \"{wanted}\"; name one by its id: {}", ids.join(", "))
            }
            Self::NotAllowed { workspace, role, action } => {
                write!(f, "you are a {role} of \"{workspace}\" and can not {action}; name another one with --in NAME")
            }
            Self::Editor { command } => {
                write!(f, "the editor \"{command}\" ended with an error; the note is as it was")
            }
            Self::Unsaved { draft, cause } => write!(f, "{cause}\nyour text is kept in {}", draft.display()),
            failure => failure.of_people(f),
        }
    }
}
