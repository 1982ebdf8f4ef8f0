//! The state that a published snapshot holds: the library's own encoding of a document that was made of nothing
//! but a base and changes in a given order.
//!
//! Whoever makes it of the same base and the same changes in the same order gets the same bytes, on every platform:
//! that is how a snapshot is vouched for. An [`Encoder`] names all that the bytes depend on; a library, a setting of
//! it, or a way of applying changes that saves otherwise gets another number, and `tests/vectors/states.json` holds
//! what each number must come to.
//!
//! Invariant: only a document of which nothing waits has a state. A state of somebody else is as foreign as a
//! change: it is loaded under `catch_unwind`, within the bounds of a change, and what does not load gives an error.

use super::automerge::AutomergeDocument;
use super::yrs::YrsDocument;
use super::{
    Actor, ApplyError, ApplyReason, CHANGE_BYTES_MAX, Crdt, DocumentError, ForeignChange, Inner, OpenDocument,
    PatchMode,
};

/// How a state was made: the CRDT, the line of its library, and how it was set up and driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub(crate) enum Encoder {
    /// A file of automerge 0.12, not deflated, of changes that were applied in one call.
    Automerge,
    /// A version 1 update of yrs 0.28 that collects no garbage, of updates that were integrated in one call.
    Yrs,
}

impl Encoder {
    /// Returns the encoder that this version makes states of a CRDT with.
    pub(crate) fn of(crdt: Crdt) -> Self {
        match crdt {
            Crdt::Automerge => Self::Automerge,
            Crdt::Yrs => Self::Yrs,
        }
    }

    /// Returns the byte that stands for it in a snapshot.
    pub(crate) fn as_u8(self) -> u8 {
        match self {
            Self::Automerge => 1,
            Self::Yrs => 2,
        }
    }

    /// Returns the CRDT whose states it makes.
    fn crdt(self) -> Crdt {
        match self {
            Self::Automerge => Crdt::Automerge,
            Self::Yrs => Crdt::Yrs,
        }
    }
}

impl Encoder {
    /// Makes the state of a base and changes, given in canonical order; `None` if something among them waits for what
    /// is not there.
    ///
    /// # Errors
    /// [`ApplyReason`] if the base or a change can not be applied.
    pub(crate) fn encode(
        self,
        base: Option<&[u8]>,
        changes: &[ForeignChange<'_>],
    ) -> Result<Option<Vec<u8>>, ApplyReason> {
        let mut document = match base {
            Some(base) => self.decode(base, Actor::NOBODY)?,
            None => OpenDocument::new(self.crdt(), Actor::NOBODY),
        };
        if !changes.is_empty() {
            document.apply(changes, PatchMode::Off).map_err(|error| error.reason)?;
        }
        match &document.0 {
            Inner::Automerge(document) => document.save(),
            Inner::Yrs(document) => document.save(),
        }
    }

    /// Makes a document of a state, to go on under an actor.
    ///
    /// # Errors
    /// [`ApplyReason`] if the library can not read it, or something in it waits.
    pub(crate) fn decode(self, state: &[u8], actor: Actor) -> Result<OpenDocument, ApplyReason> {
        if state.len() > CHANGE_BYTES_MAX {
            return Err(ApplyReason::TooLarge);
        }
        Ok(OpenDocument(match self {
            Self::Automerge => Inner::Automerge(Box::new(AutomergeDocument::from_state(actor, state)?)),
            Self::Yrs => Inner::Yrs(Box::new(YrsDocument::from_state(actor, state)?)),
        }))
    }
}

impl Encoder {
    /// Makes a document of a state and the changes that came after it, to go on under an actor.
    ///
    /// # Errors
    /// [`DocumentError`], with the change at fault if one is; none if the state does not load.
    pub(crate) fn go_on(
        self,
        state: &[u8],
        actor: Actor,
        changes: &[ForeignChange<'_>],
    ) -> Result<OpenDocument, DocumentError> {
        let of_state = |reason| DocumentError::Change { index: None, reason };
        let mut document = self.decode(state, actor).map_err(of_state)?;
        if !changes.is_empty() {
            let of_change = |error: ApplyError| DocumentError::Change { index: error.index, reason: error.reason };
            document.apply(changes, PatchMode::Off).map_err(of_change)?;
        }
        Ok(document)
    }
}
