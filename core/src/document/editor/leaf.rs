//! Editing what holds no other values: a text, a counter.

use super::{NodeId, Session, spend};
use crate::document::{EDIT_OPERATION_COST, EditError};

/// Edits a text; positions are UTF-16 code units.
pub struct TextEdit<'s> {
    pub(super) session: &'s mut dyn Session,
    pub(super) node: NodeId,
}

/// Edits a counter.
pub struct CounterEdit<'s> {
    pub(super) session: &'s mut dyn Session,
    pub(super) node: NodeId,
}

impl TextEdit<'_> {
    /// Removes UTF-16 code units at a position and inserts a string there.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`], or [`EditError::SplitsCharacter`] inside a surrogate pair.
    pub fn splice(&mut self, index: usize, removed: usize, inserted: &str) -> Result<(), EditError> {
        let cost = removed.saturating_mul(EDIT_OPERATION_COST).saturating_add(inserted.len());
        if removed > self.len_utf16() {
            return Err(EditError::OutOfRange { index: index.saturating_add(removed), len: self.len_utf16() });
        }
        spend(self.session, cost)?;
        self.session.splice(self.node, index, removed, inserted)
    }

    /// Appends a string.
    ///
    /// # Errors
    /// [`EditError::ChangeTooLarge`].
    pub fn push_str(&mut self, inserted: &str) -> Result<(), EditError> {
        self.splice(self.len_utf16(), 0, inserted)
    }

    /// Returns the length in UTF-16 code units.
    pub fn len_utf16(&self) -> usize {
        self.session.len(self.node)
    }

    /// Returns the string.
    ///
    /// # Errors
    /// [`EditError::Library`] if the library does not give it.
    pub fn read(&self) -> Result<String, EditError> {
        self.session.text(self.node)
    }
}

impl CounterEdit<'_> {
    /// Adds to the counter; concurrent additions add up.
    ///
    /// # Errors
    /// [`EditError::CounterOverflow`] beyond 64 bits.
    pub fn increment(&mut self, by: i64) -> Result<(), EditError> {
        self.value()?.checked_add(by).ok_or(EditError::CounterOverflow)?;
        spend(self.session, 0)?;
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::CountedTwice.is_planted() {
            self.session.increment(self.node, by)?;
        }
        self.session.increment(self.node, by)
    }

    /// Returns the sum.
    ///
    /// # Errors
    /// [`EditError::Library`] if the library does not give it.
    pub fn value(&self) -> Result<i64, EditError> {
        self.session.sum(self.node)
    }
}
