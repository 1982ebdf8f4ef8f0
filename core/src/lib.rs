//! Tombolo: an offline-first, end-to-end encrypted sync engine for automerge and yrs documents.
//!
//! Every device keeps whole documents in one SQLite file and edits them with no network; entries are
//! sealed end to end, signed and hash-chained, and reconciled through relays that can read nothing.
//!
//! - [`Replica`] is where an app begins: open a store, create or join workspaces, dial a relay.
//! - [`document`] is the one model over both CRDTs.
//! - [`engine`] is the synchronous state machine underneath, for simulations and other drivers.

pub mod document;
pub mod engine;
mod error;
mod runtime;
mod store;
mod sync;
mod workspace;

pub use error::{AddressError, Error};
pub use runtime::{
    Document, DocumentEvent, DocumentEvents, InviteBuilder, Replica, ReplicaBuilder, ReplicaEvents, SystemEntropy,
    Workspace,
};
pub use store::{Durability, IntegrityReport, Store, StoreError, Tx};
pub use sync::debt::{Counters, DebtReason, DocumentDebt, Milestone, SetAside, SetAsideReason, SyncDebt};
pub use tombolo_crypto as crypto;
pub use tombolo_protocol as protocol;
pub use workspace::{InviteTerms, Member, WorkspaceSummary};
