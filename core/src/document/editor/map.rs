//! Editing a map.

use super::{CounterEdit, ListEdit, NodeId, Place, ROOT, Session, Step, TextEdit, check_key, container, spend, write};
use crate::document::{EditError, Kind, Value};

/// Edits a map.
pub struct MapEdit<'s> {
    pub(super) session: &'s mut dyn Session,
    pub(super) node: NodeId,
}

impl<'s> MapEdit<'s> {
    pub(in crate::document) fn root(session: &'s mut dyn Session) -> Self {
        Self { session, node: ROOT }
    }

    /// Puts a value, of any kind, under a key and replaces what was there.
    ///
    /// # Errors
    /// [`EditError`] for a bad key, too deep a value or too large a change.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) -> Result<(), EditError> {
        check_key(key)?;
        spend(self.session, key.len())?;
        write(self.session, self.node, Place::Key(key), &value.into())
    }

    /// Deletes what is under a key and returns whether anything was.
    ///
    /// # Errors
    /// [`EditError`] for too large a change.
    pub fn delete(&mut self, key: &str) -> Result<bool, EditError> {
        if self.session.child(self.node, Step::Key(key))?.is_none() {
            return Ok(false);
        }
        spend(self.session, key.len())?;
        self.session.delete(self.node, Step::Key(key))?;
        Ok(true)
    }

    /// Returns a copy of what is under a key.
    ///
    /// # Errors
    /// [`EditError::TooDeep`] if it nests too deep to be read.
    pub fn get(&self, key: &str) -> Result<Option<Value>, EditError> {
        self.session.value(self.node, Step::Key(key))
    }

    /// Returns the keys in order.
    pub fn keys(&self) -> Vec<String> {
        self.session.keys(self.node)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.session.len(self.node)
    }

    /// Returns whether the map has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the text under a key, which is made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn text(&mut self, key: &str) -> Result<TextEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Key(key), Kind::Text)?;
        Ok(TextEdit { session: self.session, node })
    }

    /// Returns the list under a key, which is made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn list(&mut self, key: &str) -> Result<ListEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Key(key), Kind::List)?;
        Ok(ListEdit { session: self.session, node })
    }

    /// Returns the map under a key, which is made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn map(&mut self, key: &str) -> Result<MapEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Key(key), Kind::Map)?;
        Ok(MapEdit { session: self.session, node })
    }

    /// Returns the counter under a key, which is made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn counter(&mut self, key: &str) -> Result<CounterEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Key(key), Kind::Counter)?;
        Ok(CounterEdit { session: self.session, node })
    }
}
