//! The saved form of a document: its whole history in the library's own encoding, to be opened quickly again.
//!
//! It is made of a document that holds admitted work alone and of which nothing waits for anything, stays on
//! the device that made it, and says the same as the changes it was made of: whoever opens it goes on with
//! the changes that came after.
//!
//! Invariant: what does not restore is no loss, for the changes are still there; bytes that a library chokes on
//! give an error.

use super::automerge::AutomergeDocument;
use super::yrs::YrsDocument;
use super::{Actor, ApplyReason, Crdt, Inner, OpenDocument};

/// What the library encodes, and what is known of the document beside it.
pub(super) struct Saved<'a> {
    /// Whether any text may hold a character of two UTF-16 code units.
    pub(super) pairs: bool,
    /// How deep containers may nest at most.
    pub(super) depth: u32,
    /// Bytes of changes that were made or applied.
    pub(super) applied_bytes: u64,
    /// What the library encodes.
    pub(super) state: &'a [u8],
}

impl<'a> Saved<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORM, u8::from(self.pairs)];
        out.extend_from_slice(&self.depth.to_be_bytes());
        out.extend_from_slice(&self.applied_bytes.to_be_bytes());
        out.extend_from_slice(self.state);
        out
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, ApplyReason> {
        let ([form, pairs], rest) = bytes.split_first_chunk::<2>().ok_or(ApplyReason::Malformed)?;
        let (depth, rest) = rest.split_first_chunk::<4>().ok_or(ApplyReason::Malformed)?;
        let (applied, state) = rest.split_first_chunk::<8>().ok_or(ApplyReason::Malformed)?;
        if *form != FORM {
            return Err(ApplyReason::Malformed);
        }
        let (depth, applied_bytes) = (u32::from_be_bytes(*depth), u64::from_be_bytes(*applied));
        Ok(Self { pairs: *pairs != 0, depth, applied_bytes, state })
    }
}

impl OpenDocument {
    /// Encodes the whole document with its history; `None` while something waits in it, or is named in another way
    /// than others know it. This walks the document.
    ///
    /// # Errors
    /// [`ApplyReason`] if the library can not.
    pub(crate) fn save(&self) -> Result<Option<Vec<u8>>, ApplyReason> {
        let (shape, state) = match &self.0 {
            Inner::Automerge(document) => (document.shape(), document.save()?),
            Inner::Yrs(document) => (document.shape(), document.save()?),
        };
        let ((pairs, depth), applied_bytes) = (shape, self.applied_bytes() as u64);
        Ok(state.map(|state| Saved { pairs, depth, applied_bytes, state: &state }.encode()))
    }

    /// Returns how long the encoding of the whole document is, without what waits; this walks the document.
    ///
    /// # Errors
    /// [`ApplyReason`] if the library can not.
    pub(crate) fn encoded_bytes(&self) -> Result<u64, ApplyReason> {
        let bytes = match &self.0 {
            Inner::Automerge(document) => document.encode()?,
            Inner::Yrs(document) => document.encode()?,
        };
        Ok(bytes.len() as u64)
    }

    /// Makes a document of what [`OpenDocument::save`] gave.
    ///
    /// # Errors
    /// [`ApplyReason`]; the document can still be loaded from its changes.
    pub(crate) fn restore(crdt: Crdt, actor: Actor, saved: &[u8]) -> Result<Self, ApplyReason> {
        let saved = Saved::decode(saved)?;
        Ok(Self(match crdt {
            Crdt::Automerge => Inner::Automerge(Box::new(AutomergeDocument::restore(actor, &saved)?)),
            Crdt::Yrs => Inner::Yrs(Box::new(YrsDocument::restore(actor, &saved)?)),
        }))
    }
}

/// Which encoding this is; another one is not read, and the document loaded from its changes.
const FORM: u8 = 1;
