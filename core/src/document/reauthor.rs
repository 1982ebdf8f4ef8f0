//! Re-authoring: changes that an older life of this device made, and nobody else has, become this life's own.
//!
//! A store that was copied, put back or forked begins another life, and what was pending in it names actors of the
//! one before, which others take from that life's chains only. The original may have sent it, or may still.
//!
//! Invariant: what the entries of the document bring already is not said again, be it as the older life made it or as
//! another life re-authored it; all else is said under an actor that follows from the older one and this life, means the
//! same, and what was made on top of it names it as it is now. Changes come from the engine's pending rows and go back
//! there (ADR 0015).

use super::{Actor, ApplyReason, Crdt, Inner, OpenDocument, automerge, yrs};

/// A pending change, and the actor under which this life makes what is of its instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Former<'a> {
    /// The change.
    pub(crate) bytes: &'a [u8],
    /// Who would have made it in this life.
    pub(crate) actor: Actor,
}

/// The actors that the work of an older one goes to: in this life, and where other lives of this device took it.
#[derive(Clone, Debug)]
pub(crate) struct Heirs {
    /// This life's.
    pub(crate) own: Actor,
    /// Those of other lives.
    pub(crate) others: Vec<Actor>,
}

/// Says who the heirs of an older actor are; automerge names it by its id, yrs by its client id and the clock from
/// which they go on.
pub(crate) type HeirsOf<'a> = &'a dyn Fn(&[u8]) -> Heirs;

/// What became of a pending change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reauthored {
    /// The document's entries bring it already.
    Known,
    /// It was this life's own; it names what it builds on as that is named now.
    Own(Vec<u8>),
    /// It is a change of the given actor now.
    Moved(Actor, Vec<u8>),
}

impl Former<'_> {
    /// Tells whether this life made the change.
    ///
    /// # Errors
    /// [`ApplyReason`] if it is no change.
    pub(crate) fn is_own(&self, crdt: Crdt) -> Result<bool, ApplyReason> {
        match crdt {
            Crdt::Automerge => automerge::is_own(self),
            Crdt::Yrs => yrs::is_own(self),
        }
    }
}

impl OpenDocument {
    /// Re-authors pending changes, given in the order in which they were made, for a document that holds what its
    /// entries bring and nothing else.
    ///
    /// # Errors
    /// [`ApplyReason`] if the library can not; then the changes stay as they are.
    pub(crate) fn reauthor(&self, changes: &[Former<'_>], heirs: HeirsOf<'_>) -> Result<Vec<Reauthored>, ApplyReason> {
        match &self.0 {
            Inner::Automerge(document) => automerge::reauthor(document, changes, heirs),
            Inner::Yrs(document) => yrs::reauthor(document, changes, heirs),
        }
    }
}
