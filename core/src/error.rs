//! What can go wrong for an app, by whose fault.
//!
//! Invariant: no variant carries a secret or content; after [`Error::Store`] the engine has reloaded
//! itself from disk and shows the last durable state, after any other error nothing has changed.

use tombolo_crypto::{InviteLinkError, RecoveryError};
use tombolo_protocol::frame::StepUpRefusal;
use tombolo_protocol::ids::{DeviceId, DocumentId, WorkspaceId};
use tombolo_protocol::membership::RecordRefusal;

use crate::document::{ApplyReason, EditError, ReadError};
use crate::identity::LinkFailure;
use crate::store::{JoinRefusal, StoreError};
use crate::workspace::{PolicyRefusal, UnsentWork};

/// Why Tombolo did not do what the app asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store: disk full, in use, not ours. Nothing of the call is durable.
    Store(StoreError),
    /// The edit asked for something that the document can not do; nothing has changed.
    Edit(EditError),
    /// What was asked for is not in the document, or of another kind.
    Read(ReadError),
    /// The document can not be built: its entries, by other members, are all set aside.
    Document(ApplyReason),
    /// The disk changed what is stored of the document, and nothing of it can be shown; it is kept, and
    /// comes back once its entries were fetched again. Other documents are not affected.
    Damaged,
    /// No workspace of this replica has this id.
    NoWorkspace(WorkspaceId),
    /// No workspace of this replica has a document with this id.
    NoDocument(DocumentId),
    /// The role of this device's user does not allow it.
    RoleDenied,
    /// The statement about members, devices or keys would not count, and was not made.
    Refused(RecordRefusal),
    /// A policy was asked for that nobody could meet; nothing was stated.
    Policy(PolicyRefusal),
    /// The workspace is still being joined, or its keys have not arrived.
    NotReady,
    /// One change is larger than 64 MiB; split it.
    ChangeTooLarge {
        /// What it measures.
        bytes: usize,
    },
    /// More than 4,096 documents of one workspace were asked for by name: ask for all.
    TooManyDocuments {
        /// How many.
        count: usize,
    },
    /// The invite was refused for good: forget the workspace, or join with another invite.
    JoinRefused(JoinRefusal),
    /// A workspace is not forgotten while there is own work in it that no relay has.
    UnsentWork(UnsentWork),
    /// An invite names a relay to count its uses, and none has been reached yet: dial first.
    NoRelay,
    /// The text is not an invite link.
    Invite(InviteLinkError),
    /// A relay's address is not `ws://` or `wss://`, or is plain and not on loopback.
    Address(AddressError),
    /// The user has no such device.
    NoDevice(DeviceId),
    /// The user's root is not on this device: it was linked, or a recovery kit was confirmed.
    NoRoot,
    /// A replica with workspaces in it can not be brought back from a kit; take a new path.
    NotEmpty,
    /// Two devices were not linked.
    Link(LinkFailure),
    /// A recovery kit can not be made, or is not this user's.
    Recovery(RecoveryError),
    /// A relay did not take a second factor.
    StepUp(StepUpRefusal),
    /// The time that the call was given is over.
    Deadline,
    /// The replica is closed.
    Closed,
}

/// Why an address can not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not begin with `ws://` or `wss://` and a host.
    NotWebSocket,
    /// Plain `ws` goes to loopback only: use `wss`.
    PlainNotLoopback,
    /// It is longer than 255 bytes.
    TooLong,
    /// A certificate authority that was given to be trusted is no certificate.
    BadRoot,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => write!(f, "{error}"),
            Self::Edit(error) => write!(f, "{error}"),
            Self::Read(error) => write!(f, "{error}"),
            Self::Document(reason) => write!(f, "the document can not be built: {reason}"),
            Self::NoWorkspace(id) => write!(f, "this replica has no workspace {}; join it first", id.short()),
            Self::NoDocument(id) => write!(f, "no document {} is here; wait until a relay brings it", id.short()),
            Self::Damaged => f.write_str(
                "the disk changed what is stored of this document; it was kept, dial a relay to have it fetched again",
            ),
            Self::RoleDenied => {
                f.write_str("your role in the workspace does not allow it; ask an owner or admin for another one")
            }
            Self::Refused(reason) => write!(f, "this can not be stated: {reason}"),
            Self::Policy(refusal) => write!(f, "{refusal}"),
            Self::NotReady => f.write_str("the workspace is still being joined; wait until a relay was reached"),
            Self::ChangeTooLarge { bytes } => write!(f, "a change of {bytes} bytes is over 64 MiB; split it"),
            Self::TooManyDocuments { count } => write!(f, "{count} documents can not be asked for by name; sync all"),
            Self::JoinRefused(reason) => write!(f, "{reason}; ask for another one"),
            Self::UnsentWork(UnsentWork { changes, entries, records }) => write!(
                f,
                "no relay has {changes} changes, {entries} entries and {records} records of this device yet; \
                 let them be sent, or say that they go too"
            ),
            Self::NoRelay => f.write_str("an invite needs a relay to count its uses; dial one and wait for it"),
            Self::Invite(error) => write!(f, "{error}"),
            Self::Address(error) => write!(f, "{error}"),
            Self::NoDevice(id) => write!(f, "this user has no device {}", id.short()),
            Self::NoRoot => f.write_str("the user's root is not here; make a kit on the first device"),
            Self::NotEmpty => f.write_str("there are workspaces in this replica; recover into a new one"),
            Self::Link(failure) => write!(f, "{failure}"),
            Self::Recovery(error) => write!(f, "{error}"),
            Self::StepUp(refusal) => f.write_str(step_up_text(*refusal)),
            Self::Deadline => f.write_str("the time for this call is over; the work goes on in the background"),
            Self::Closed => f.write_str("the replica is closed; open it again"),
        }
    }
}

/// Says whose fault it is that a second factor was not taken, and what to do.
fn step_up_text(refusal: StepUpRefusal) -> &'static str {
    match refusal {
        StepUpRefusal::NotOffered => "the relay does not offer this second factor for this workspace; use another",
        StepUpRefusal::NoChallenge => "the relay's question is answered or too old; ask it anew",
        StepUpRefusal::Wrong => "the second factor is wrong; check the device's clock, and try again",
        StepUpRefusal::Replayed => "the code was used before; wait for the next one",
        StepUpRefusal::TooMany => "too many wrong codes; wait a while before the next one",
        StepUpRefusal::OtherDevice => "the login was for another device or session; log in anew, from this one",
        StepUpRefusal::Stale => "the login is too old; log in anew",
        StepUpRefusal::Unavailable => "the relay can not check it at the moment; show it again in a few seconds",
    }
}

impl std::fmt::Display for AddressError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotWebSocket => "a relay's address begins with wss:// (or ws:// on loopback) and a host",
            Self::PlainNotLoopback => {
                "plain ws:// goes to loopback only, anybody on the way could follow it; use wss://"
            }
            Self::TooLong => "a relay's address has at most 255 bytes; use a shorter one",
            Self::BadRoot => "the certificate authority to be trusted is no DER certificate; give the bytes of one",
        })
    }
}

impl std::error::Error for AddressError {}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Edit(error) => Some(error),
            Self::Read(error) => Some(error),
            Self::Document(reason) => Some(reason),
            Self::Invite(error) => Some(error),
            Self::Link(failure) => Some(failure),
            Self::Policy(refusal) => Some(refusal),
            Self::Recovery(error) => Some(error),
            Self::Address(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RecoveryError> for Error {
    fn from(error: RecoveryError) -> Self {
        Self::Recovery(error)
    }
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        Self::Edit(error)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<InviteLinkError> for Error {
    fn from(error: InviteLinkError) -> Self {
        Self::Invite(error)
    }
}
