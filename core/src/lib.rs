//! Tombolo: an offline-first, end-to-end encrypted sync engine for automerge and yrs documents.
//!
//! Every device keeps whole documents in one SQLite file and edits them with no network; entries are
//! sealed end to end, signed and hash-chained, and reconciled through relays that can read nothing.
//!
//! ```
//! # async fn example() -> Result<(), tombolo::Error> {
//! # let folder = tempfile::tempdir().map_err(tombolo::StoreError::from)?;
//! use tombolo::{Replica, document::Crdt};
//!
//! let replica = Replica::open(folder.path().join("notes.tombolo")).await?;
//! let workspace = replica.create_workspace("Field notes").await?;
//! let document = workspace.create_document(Crdt::Yrs).await?;
//! document.edit(|e| e.text("body")?.splice(0, 0, "Low tide at six.")).await?;
//! assert_eq!(document.read(|view| view.text("body")).await?.as_deref(), Some("Low tide at six."));
//! assert!(!workspace.sync_debt().await?.is_settled()); // no relay was dialled yet
//! replica.close().await
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```
//!
//! # Where to begin
//!
//! | you want to | look at |
//! |---|---|
//! | open a store, choose its key vault and durability | [`Replica::open`], [`ReplicaBuilder`] |
//! | found a workspace, invite, join | [`Replica::create_workspace`], [`Workspace::invite`], [`Replica::join`] |
//! | edit, read and watch a document | [`Document::edit`], [`Document::read`], [`Document::subscribe`] |
//! | know what a closure may do | [`document::MapEdit`], [`document::View`], [`document::Value`] |
//! | reach a relay (feature `network`, on by default) | [`Replica::dial`], [`Replica::sync_once`] |
//! | show "is it synced?" | [`Workspace::sync_debt`], [`Document::wait_for`], [`Milestone`] |
//! | hear of everything else | [`Replica::events`], [`engine::Event`] |
//! | link, name and give up devices | [`Replica::request_link`], [`Replica::approve_link`], [`Replica::devices`] |
//! | show a second factor where a relay or a policy wants one | [`Workspace::step_up`] |
//! | see who did what, settle policies, give an organisation a key | [`Workspace::audit`], [`Workspace::set_policy`] |
//! | survive the loss of every device | [`Replica::recovery_kit`], [`Replica::recover`] |
//! | understand what went wrong | [`Error`], [`StoreError`], [`SetAsideReason`] |
//!
//! Handles are cheap: clone them, send them, drop them. Behind them one thread owns the store and the
//! [`engine`], a synchronous state machine that simulations and other drivers can use by itself.
//! Futures need a tokio runtime. What a resolved edit survives says [`Durability`].

pub mod document;
pub mod engine;
mod error;
mod identity;
mod runtime;
mod store;
mod sync;
mod workspace;

pub use error::{AddressError, Error};
pub use identity::{Alarm, AlarmKind, DeviceDescription, LinkFailure, LinkWay, Platform};
pub use runtime::{
    ApprovalHandle, Document, DocumentEvent, DocumentEvents, InviteBuilder, KitBuilder, LinkRequestHandle, Replica,
    ReplicaBuilder, ReplicaEvents, StepUpHandle, SystemEntropy, Workspace,
};
pub use store::{
    Durability, EvidenceKind, IntegrityReport, JoinRefusal, RelayEvidence, Store, StoreError, Tx, WorkspaceState,
};
pub use sync::debt::{DebtReason, DocumentDebt, SyncDebt};
pub use sync::milestone::Milestone;
pub use sync::reason::{Counters, SetAside, SetAsideReason};
pub use sync::step_up::StepUpQuestion;
pub use tombolo_crypto as crypto;
pub use tombolo_protocol as protocol;
pub use tombolo_protocol::frame::{LevelGap, StepUpMethod, StepUpRefusal};
pub use workspace::{
    ActOutcome, AuditAct, AuditAttestation, AuditAuthor, AuditEntry, AuditId, AuditOutcome, InviteTerms, Member,
    MembershipAct, OpenInvite, PolicyRefusal, PolicyTerms, Unsent, UnsentWork, WorkspaceSummary,
};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadMe;

#[cfg(doctest)]
#[doc = include_str!("../../docs/app-guide.md")]
struct AppGuide;
