//! An open CRDT document behind one model: map, list, text, counter and scalars, on automerge or yrs.
//!
//! It is synchronous and knows no clock, randomness, file or socket: ids and times are arguments.
//! Change bytes come from [`OpenDocument::edit`] here or from an entry of another device; they go to
//! the engine's pending rows and, sealed, to other devices. Bytes of other devices pass a bounded
//! scan before a CRDT library sees them, and each library call runs under `catch_unwind`. Only
//! `automerge.rs`, `yrs.rs` and what lies below them name a library.
//! The layout is described in `docs/document-model.md`.

mod automerge;
mod editor;
mod error;
mod fold;
mod patch;
mod poison;
mod reauthor;
mod saved;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod view;
mod yrs;

pub use self::automerge::Transaction as AutomergeTransaction;
pub use self::editor::{CounterEdit, ListEdit, MapEdit, TextEdit};
pub use self::error::{ApplyError, ApplyReason, DocumentError, EditError, ReadError};
pub(crate) use self::fold::{Folded, Unsent, fold};
pub use self::patch::{Patch, PatchAction, PathStep, ReplayError};
pub use self::poison::{Poison, trial};
pub(crate) use self::reauthor::{Former, Heirs, Reauthored};
pub(crate) use self::state::Encoder;
pub use self::value::{Kind, Value};
pub use self::view::View;
pub use self::yrs::TransactionMut as YrsTransaction;

use self::automerge::AutomergeDocument;
use self::yrs::YrsDocument;

/// The CRDT library a document is made of; it is fixed when the document is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Crdt {
    /// automerge.
    Automerge,
    /// yrs, the Rust port of Yjs.
    Yrs,
}

impl std::fmt::Display for Crdt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Automerge => "automerge",
            Self::Yrs => "yrs",
        })
    }
}

impl Crdt {
    /// Returns the byte that stands for this CRDT in an entry.
    pub fn as_u8(self) -> u8 {
        match self {
            Self::Automerge => 1,
            Self::Yrs => 2,
        }
    }

    /// Returns the CRDT a byte stands for, if it stands for one.
    pub fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Automerge),
            2 => Some(Self::Yrs),
            _ => None,
        }
    }
}

/// The name under which one instance of a document on one device writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor([u8; 16]);

impl Actor {
    /// Under whom a state is only made or looked at; it writes nothing.
    pub(crate) const NOBODY: Self = Self::from_bytes([0; 16]);

    /// Takes an actor from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, which are the automerge actor id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the yrs client id: the low 53 bits, so that JavaScript holds it exactly.
    pub fn client_id(&self) -> u64 {
        u128::from_be_bytes(self.0) as u64 & CLIENT_ID_MAX
    }
}

/// An opaque point in a document's history; equal versions mean equal content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(Vec<u8>);

impl Version {
    /// Takes a version from bytes that [`Version::as_bytes`] gave.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a call also says what it changed; nobody listening costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchMode {
    /// No patches are computed.
    Off,
    /// The patches an observer needs are computed.
    On,
}

/// One atomic change made here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a change that is not stored is lost"]
pub struct LocalChange {
    /// The change as the CRDT library encodes it, uncompressed.
    pub bytes: Vec<u8>,
}

/// One change made elsewhere, and who the entry says made it.
#[derive(Clone, Copy, Debug)]
pub struct ForeignChange<'a> {
    /// The change as the CRDT library encodes it.
    pub bytes: &'a [u8],
    /// The only actor the change may contain; `None` for a base, which may contain any.
    pub actor: Option<Actor>,
}

/// What an edit gave: the closure's result, the change if it made one, and the patches if wanted.
#[derive(Clone, Debug)]
pub struct Edited<R> {
    /// What the closure returned.
    pub result: R,
    /// The change, or `None` if the closure changed nothing.
    pub change: Option<LocalChange>,
    /// What changed, empty in [`PatchMode::Off`].
    pub patches: Vec<Patch>,
}

/// A document in memory.
pub struct OpenDocument(Inner);

enum Inner {
    Automerge(Box<AutomergeDocument>),
    Yrs(Box<YrsDocument>),
}

impl OpenDocument {
    /// Makes an empty document; its root is the same on every device, so no genesis change exists.
    pub fn new(crdt: Crdt, actor: Actor) -> Self {
        Self(match crdt {
            Crdt::Automerge => Inner::Automerge(Box::new(AutomergeDocument::new(actor))),
            Crdt::Yrs => Inner::Yrs(Box::new(YrsDocument::new(actor))),
        })
    }

    /// Rebuilds a document from its admitted changes, given in any order; those that name an actor
    /// are checked for it.
    ///
    /// # Errors
    /// [`DocumentError`] names the change that could not be applied, if a single one is to blame.
    pub fn load(crdt: Crdt, actor: Actor, changes: &[ForeignChange<'_>]) -> Result<Self, DocumentError> {
        Ok(Self(match crdt {
            Crdt::Automerge => Inner::Automerge(Box::new(AutomergeDocument::load(actor, changes)?)),
            Crdt::Yrs => Inner::Yrs(Box::new(YrsDocument::load(actor, changes)?)),
        }))
    }

    /// Returns the CRDT of this document.
    pub fn crdt(&self) -> Crdt {
        match &self.0 {
            Inner::Automerge(_) => Crdt::Automerge,
            Inner::Yrs(_) => Crdt::Yrs,
        }
    }

    /// Returns the actor of the next local change.
    pub fn actor(&self) -> Actor {
        match &self.0 {
            Inner::Automerge(document) => document.actor(),
            Inner::Yrs(document) => document.actor(),
        }
    }

    /// Makes the next local change another actor's; a yrs document is rebuilt for it, so it is best
    /// to load with the right actor.
    ///
    /// # Errors
    /// [`EditError::ReloadRequired`] if the document cannot be rebuilt in memory.
    pub fn set_actor(&mut self, actor: Actor) -> Result<(), EditError> {
        match &mut self.0 {
            Inner::Automerge(document) => document.set_actor(actor),
            Inner::Yrs(document) => document.set_actor(actor),
        }
    }

    /// Returns whether the document may be damaged and must be loaded again before any use.
    pub fn is_reload_required(&self) -> bool {
        match &self.0 {
            Inner::Automerge(document) => document.is_damaged(),
            Inner::Yrs(document) => document.is_damaged(),
        }
    }

    /// Runs a closure on the document and makes what it did one atomic change.
    ///
    /// If the closure fails or panics, the document is as it was before.
    ///
    /// # Errors
    /// The closure's own error; [`EditError::Panicked`] if it panicked.
    pub fn edit<R>(
        &mut self,
        wall_ms: i64,
        patches: PatchMode,
        closure: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        match &mut self.0 {
            Inner::Automerge(document) => document.edit(wall_ms, patches, closure),
            Inner::Yrs(document) => document.edit(patches, closure),
        }
    }

    /// Applies changes of other devices in one call into the CRDT; known changes are ignored.
    ///
    /// # Errors
    /// [`ApplyError`]; if [`OpenDocument::is_reload_required`] then says so, nothing of the batch
    /// may be relied on before the document was loaded again.
    pub fn apply(&mut self, changes: &[ForeignChange<'_>], patches: PatchMode) -> Result<Vec<Patch>, ApplyError> {
        match &mut self.0 {
            Inner::Automerge(document) => document.apply(changes, patches),
            Inner::Yrs(document) => document.apply(changes, patches),
        }
    }

    /// Takes over what changes were folded into that this document made or was loaded with.
    pub(crate) fn adopt(&mut self, folded: &Folded) {
        if let (Inner::Automerge(document), Some(renames)) = (&mut self.0, &folded.renames) {
            document.adopt(renames);
        }
    }

    /// Reads by a closure of the app's: should it panic, that is the error of this read alone.
    pub(crate) fn read_by<R>(&self, closure: impl FnOnce(&View<'_>) -> R) -> Result<R, ReadError> {
        poison::guarded(|| closure(&self.read())).map_err(|_| ReadError::Panicked)
    }

    /// Opens the document for reading.
    pub fn read(&self) -> View<'_> {
        match &self.0 {
            Inner::Automerge(document) => document.read(),
            Inner::Yrs(document) => document.read(),
        }
    }

    /// Returns the document's version; on yrs this walks the document.
    pub fn version(&self) -> Version {
        match &self.0 {
            Inner::Automerge(document) => document.version(),
            Inner::Yrs(document) => document.version(),
        }
    }

    /// Returns roughly how much memory the document takes, for a bound on open documents.
    pub fn memory_bytes_estimate(&self) -> usize {
        DOCUMENT_BYTES_BASE + self.applied_bytes().saturating_mul(DOCUMENT_BYTES_FACTOR)
    }

    /// Returns how many bytes of changes were made here or applied.
    pub(crate) fn applied_bytes(&self) -> usize {
        match &self.0 {
            Inner::Automerge(document) => document.applied_bytes(),
            Inner::Yrs(document) => document.applied_bytes(),
        }
    }

    /// Encodes the whole document and loads the result, to see that both work; this walks the
    /// document, so it belongs where nobody waits.
    ///
    /// # Errors
    /// [`ApplyReason`] if the document cannot be encoded or what it encodes to does not load.
    pub fn verify(&self) -> Result<(), ApplyReason> {
        match &self.0 {
            Inner::Automerge(document) => document.verify(),
            Inner::Yrs(document) => document.verify(),
        }
    }

    /// Runs a closure on the native automerge transaction; what it did becomes one change.
    ///
    /// A transaction can only author changes of our own actor, so no foreign change can enter.
    ///
    /// # Errors
    /// [`EditError::Unsupported`] on a yrs document, else as [`OpenDocument::edit`].
    pub fn with_automerge<R>(
        &mut self,
        wall_ms: i64,
        patches: PatchMode,
        closure: impl FnOnce(&mut AutomergeTransaction<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        match &mut self.0 {
            Inner::Automerge(document) => document.native(wall_ms, patches, closure),
            Inner::Yrs(_) => Err(EditError::Unsupported { crdt: Crdt::Yrs, operation: "with_automerge" }),
        }
    }

    /// Runs a closure on the native yrs transaction; what it did becomes one change.
    ///
    /// # Errors
    /// [`EditError::Unsupported`] on an automerge document, [`EditError::ForeignChange`] if the
    /// closure applied blocks of another client, else as [`OpenDocument::edit`].
    pub fn with_yrs<R>(
        &mut self,
        patches: PatchMode,
        closure: impl FnOnce(&mut YrsTransaction<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        match &mut self.0 {
            Inner::Yrs(document) => document.native(patches, closure),
            Inner::Automerge(_) => Err(EditError::Unsupported { crdt: Crdt::Automerge, operation: "with_yrs" }),
        }
    }
}

/// A yrs client id has 53 bits, because Yjs keeps it in a JavaScript number.
const CLIENT_ID_MAX: u64 = (1 << 53) - 1;

/// How deep containers may nest; readers recurse this deep, and both libraries are safe beyond it.
pub const DEPTH_MAX: usize = 100;

/// The longest map key in bytes; keys are repeated in every change that names them.
pub const KEY_BYTES_MAX: usize = 4096;

/// The largest change accepted: what can travel in the parts of entries.
pub const CHANGE_BYTES_MAX: usize = 64 << 20;

/// What one edit may write, counted as its bytes plus `EDIT_OPERATION_COST` for each operation;
/// half of what a change may have, so that no encoding of it exceeds [`CHANGE_BYTES_MAX`].
pub const EDIT_COST_MAX: usize = 32 << 20;

/// What one operation counts beside its bytes: about what either library encodes for it.
const EDIT_OPERATION_COST: usize = 16;

/// The memory of an empty document, from a measurement of both libraries.
const DOCUMENT_BYTES_BASE: usize = 8 << 10;

/// Memory per byte of applied changes, from the same measurement, rounded up.
const DOCUMENT_BYTES_FACTOR: usize = 3;
