//! The one error that an app sees: whose fault, and what to do.
//!
//! Invariant: it carries no secret and no content; the cause is logged here, once, by its kind alone.

use std::fmt;

use tombolo::document::{EditError, ReadError};
use tombolo::protocol::frame::StepUpRefusal;
use tombolo::{Error, LinkFailure, StoreError};

use tombolo::UnsentWork;

/// Why Tombolo did not do what the app asked. `reason` is a sentence for people, in English.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Error)]
pub enum TomboloError {
    /// The disk, the key vault, or another process that has the store open. Nothing of the call is durable: tell the person.
    Store {
        /// What is in the way.
        fault: StoreFault,
        /// In words.
        reason: String,
    },
    /// The app asked for what can not be; nothing has changed. Mend the app.
    Misuse {
        /// What was wrong with it.
        fault: MisuseFault,
        /// In words.
        reason: String,
    },
    /// One document can not be shown or edited as it is; all others go on. Dial a relay, or open the replica again.
    Document {
        /// What is wrong with it.
        fault: DocumentFault,
        /// In words.
        reason: String,
    },
    /// Nothing here has this id: wait until a relay brings it, or forget the id.
    NotFound {
        /// What was looked for.
        what: Wanted,
        /// In words.
        reason: String,
    },
    /// The role, a policy, or what others decided meanwhile stands against it. Show the reason, and refresh.
    Denied {
        /// By what.
        by: Denial,
        /// In words.
        reason: String,
    },
    /// Something is on its way: try again after the next event.
    NotReady {
        /// What is missing.
        missing: Missing,
        /// In words.
        reason: String,
    },
    /// What a person typed, scanned or was sent is not good, or not any more. Show the reason, let them try again.
    Input {
        /// What it should have been.
        what: Typed,
        /// In words.
        reason: String,
    },
    /// A relay did not take a second factor.
    StepUp {
        /// Why.
        refusal: StepUpRefusal,
        /// In words.
        reason: String,
    },
    /// Forgetting the workspace would lose own work that no relay has. Ask the person first.
    UnsentWork {
        /// Changes that no entry carries yet.
        changes: u64,
        /// Entries.
        entries: u64,
        /// Records: invites, and the founding itself.
        records: u64,
        /// In words.
        reason: String,
    },
    /// The time that the call was given is over, or its `Cancellation` ended it; the work goes on in the background.
    Deadline {
        /// In words.
        reason: String,
    },
    /// The replica was closed: open it again.
    Closed {
        /// In words.
        reason: String,
    },
    /// A fault of Tombolo itself: report it.
    Internal {
        /// In words.
        reason: String,
    },
}

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum StoreFault {
    /// Another process, or another replica of this one, has it open.
    InUse,
    /// The file is something else; it was not touched.
    NotAStore,
    /// A newer version wrote it; it was not touched.
    TooNew,
    /// The key vault failed, or is empty.
    Vault,
    /// The vault's key does not open this store.
    WrongKey,
    /// The disk is full; what was acknowledged is safe.
    DiskFull,
    /// It can not be written.
    ReadOnly,
    /// The disk changed what is in it.
    Corrupt,
    /// The operating system or the database refused.
    System,
}

/// What an app did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum MisuseFault {
    /// A position is beyond the end.
    OutOfRange,
    /// A text position is inside a character; positions count UTF-16 code units.
    SplitsCharacter,
    /// A value was taken for something it is not.
    WrongKind,
    /// A counter would leave 64 bits.
    CounterOverflow,
    /// A key is empty or too long, or a path is.
    BadPath,
    /// Containers are nested too deep.
    TooDeep,
    /// The edit writes too much at once.
    TooLarge,
    /// The document's CRDT can not do it.
    Unsupported,
    /// A text is no id.
    BadId,
    /// A replica with workspaces in it can not be brought back from a kit.
    NotEmpty,
    /// The log has another sink already, of the program around this library.
    LogTaken,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum DocumentFault {
    /// All its entries, by other members, are set aside.
    Unbuildable,
    /// The disk changed it; a relay brings it again.
    Damaged,
    /// Its library failed on this call, or before: nothing has changed, and where it must it is loaded again from the
    /// disk.
    Poisoned,
}

/// What was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Wanted {
    /// A workspace.
    Workspace,
    /// A document.
    Document,
    /// A device of this user.
    Device,
}

/// What stands against an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Denial {
    /// The role of this device's user.
    Role,
    /// What others stated: it would not count.
    Records,
    /// Nobody could meet the policy that was asked for.
    Policy,
    /// The user's root is not on this device.
    NoRoot,
}

/// What is not here yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Missing {
    /// The workspace's keys, or this device's place in it.
    Membership,
    /// A relay that was reached.
    Relay,
}

/// What a person gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Typed {
    /// An invite.
    Invite,
    /// A relay's address, or a certificate to trust.
    Address,
    /// A request to link, its code or its digits.
    Link,
    /// A recovery kit, in any form.
    Kit,
}

impl TomboloError {
    pub(crate) fn internal(reason: &str) -> Self {
        Self::Internal { reason: reason.to_owned() }
    }

    pub(crate) fn misuse(fault: MisuseFault, reason: &str) -> Self {
        Self::Misuse { fault, reason: reason.to_owned() }
    }

    pub(crate) fn bad_id(name: &str) -> Self {
        Self::Misuse { fault: MisuseFault::BadId, reason: format!("this is no {name}; ids are hexadecimal digits") }
    }

    pub(crate) fn given_up() -> Self {
        Self::Deadline { reason: "the app gave up waiting; the work goes on in the background".to_owned() }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Store { reason, .. }
            | Self::Misuse { reason, .. }
            | Self::Document { reason, .. }
            | Self::NotFound { reason, .. }
            | Self::Denied { reason, .. }
            | Self::NotReady { reason, .. }
            | Self::Input { reason, .. }
            | Self::StepUp { reason, .. }
            | Self::UnsentWork { reason, .. }
            | Self::Deadline { reason }
            | Self::Closed { reason }
            | Self::Internal { reason } => reason,
        }
    }
}

impl fmt::Display for TomboloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for TomboloError {}

impl From<Error> for TomboloError {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        let input = |what, reason| Self::Input { what, reason };
        let told = match error {
            Error::Store(error) => Self::Store { fault: store_fault(&error), reason },
            Error::Edit(error) => of_edit(&error, reason),
            Error::Read(ReadError::TooDeep) => Self::Misuse { fault: MisuseFault::TooDeep, reason },
            Error::Read(_) => Self::Document { fault: DocumentFault::Poisoned, reason },
            Error::Document(_) => Self::Document { fault: DocumentFault::Unbuildable, reason },
            Error::Damaged => Self::Document { fault: DocumentFault::Damaged, reason },
            Error::NoWorkspace(_) => Self::NotFound { what: Wanted::Workspace, reason },
            Error::NoDocument(_) => Self::NotFound { what: Wanted::Document, reason },
            Error::NoDevice(_) => Self::NotFound { what: Wanted::Device, reason },
            Error::RoleDenied => Self::Denied { by: Denial::Role, reason },
            Error::Refused(_) => Self::Denied { by: Denial::Records, reason },
            Error::Policy(_) => Self::Denied { by: Denial::Policy, reason },
            Error::NoRoot => Self::Denied { by: Denial::NoRoot, reason },
            Error::NotReady => Self::NotReady { missing: Missing::Membership, reason },
            Error::NoRelay => Self::NotReady { missing: Missing::Relay, reason },
            Error::ChangeTooLarge { .. } | Error::TooManyDocuments { .. } => {
                Self::Misuse { fault: MisuseFault::TooLarge, reason }
            }
            Error::NotEmpty => Self::Misuse { fault: MisuseFault::NotEmpty, reason },
            Error::JoinRefused(_) | Error::Invite(_) => input(Typed::Invite, reason),
            Error::Address(_) => input(Typed::Address, reason),
            Error::Link(_) => input(Typed::Link, reason),
            Error::Recovery(_) => input(Typed::Kit, reason),
            Error::StepUp(refusal) => Self::StepUp { refusal, reason },
            Error::UnsentWork(UnsentWork { changes, entries, records }) => {
                Self::UnsentWork { changes, entries, records, reason }
            }
            Error::Deadline => Self::Deadline { reason },
            Error::Closed => Self::Closed { reason },
            _ => Self::Internal { reason },
        };
        told.log();
        told
    }
}

impl TomboloError {
    /// Notes what went wrong, by its kind: the words may name files.
    fn log(&self) {
        match self {
            Self::Store { fault, .. } => tracing::warn!(?fault, "a call failed at the store"),
            Self::Document { fault, .. } => tracing::warn!(?fault, "a call failed at one document"),
            Self::Internal { .. } => tracing::error!("a call failed by a fault of Tombolo"),
            Self::Misuse { fault, .. } => tracing::info!(?fault, "a call asked for what can not be"),
            Self::Denied { by, .. } => tracing::info!(?by, "a call was denied"),
            _ => tracing::debug!("a call was not done"),
        }
    }
}

fn store_fault(error: &StoreError) -> StoreFault {
    match error {
        StoreError::InUse { .. } => StoreFault::InUse,
        StoreError::NotAStore { .. } => StoreFault::NotAStore,
        StoreError::TooNew { .. } => StoreFault::TooNew,
        StoreError::Vault(_) => StoreFault::Vault,
        StoreError::WrongKey => StoreFault::WrongKey,
        StoreError::DiskFull => StoreFault::DiskFull,
        StoreError::ReadOnly { .. } => StoreFault::ReadOnly,
        StoreError::Corrupt { .. } => StoreFault::Corrupt,
        _ => StoreFault::System,
    }
}

fn of_edit(error: &EditError, reason: String) -> TomboloError {
    let fault = match error {
        EditError::OutOfRange { .. } => MisuseFault::OutOfRange,
        EditError::SplitsCharacter { .. } => MisuseFault::SplitsCharacter,
        EditError::WrongKind { .. } => MisuseFault::WrongKind,
        EditError::CounterOverflow => MisuseFault::CounterOverflow,
        EditError::BadKey { .. } => MisuseFault::BadPath,
        EditError::TooDeep => MisuseFault::TooDeep,
        EditError::ChangeTooLarge => MisuseFault::TooLarge,
        EditError::Unsupported { .. } => MisuseFault::Unsupported,
        // The closure is this crate's own: what panicked or refused is the document's library.
        _ => return TomboloError::Document { fault: DocumentFault::Poisoned, reason },
    };
    TomboloError::Misuse { fault, reason }
}

impl From<LinkFailure> for TomboloError {
    fn from(failure: LinkFailure) -> Self {
        Error::Link(failure).into()
    }
}

impl From<tombolo::crypto::RecoveryError> for TomboloError {
    fn from(error: tombolo::crypto::RecoveryError) -> Self {
        Error::Recovery(error).into()
    }
}
