//! Poison: bytes that a CRDT library accepts and then chokes on.
//!
//! [`trial`] tells before a change reaches an open document, at a cost that grows with the change
//! and not with the document: a bounded scan of the bytes, then decode, apply to an empty document,
//! encode and reload under `catch_unwind`. Changes made by the edit path are never tried. The
//! verdict is local; it goes to the engine, which quarantines the entry.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Actor, ApplyReason, Crdt, ForeignChange, OpenDocument, PatchMode};

/// A change that must not be applied, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison(pub ApplyReason);

impl std::fmt::Display for Poison {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the change is set aside: {}", self.0)
    }
}

impl std::error::Error for Poison {}

/// Tries a foreign change on an empty document: scan, decode, apply, encode, reload.
///
/// # Errors
/// [`Poison`] says why the change must be quarantined.
pub fn trial(crdt: Crdt, bytes: &[u8], actor: Option<Actor>) -> Result<(), Poison> {
    let own = Actor::from_bytes([0; 16]);
    let mut document = OpenDocument::new(crdt, own);
    document.apply(&[ForeignChange { bytes, actor }], PatchMode::Off).map_err(|error| Poison(error.reason))?;
    document.verify().map_err(Poison)
}

/// Runs a library call, turning a panic into a reason.
pub(super) fn guarded<R>(call: impl FnOnce() -> R) -> Result<R, ApplyReason> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| ApplyReason::Panicked)
}
