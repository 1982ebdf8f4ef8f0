//! Editing a list.

use super::{CounterEdit, MapEdit, NodeId, Place, Session, Step, TextEdit, container, create, spend, write};
use crate::document::{Crdt, EditError, Kind, Value};

/// Edits a list.
pub struct ListEdit<'s> {
    pub(super) session: &'s mut dyn Session,
    pub(super) node: NodeId,
}

impl ListEdit<'_> {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.session.len(self.node)
    }

    /// Returns whether the list has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a copy of an element.
    ///
    /// # Errors
    /// [`EditError::TooDeep`] if it nests too deep to be read.
    pub fn get(&self, index: usize) -> Result<Option<Value>, EditError> {
        self.session.value(self.node, Step::Index(index))
    }

    /// Inserts a value, of any kind, before an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end.
    pub fn insert(&mut self, index: usize, value: impl Into<Value>) -> Result<(), EditError> {
        self.check(index, self.len())?;
        write(self.session, self.node, Place::Insert(index), &value.into())
    }

    /// Appends a value of any kind.
    ///
    /// # Errors
    /// [`EditError`] for too deep a value or too large a change.
    pub fn push(&mut self, value: impl Into<Value>) -> Result<(), EditError> {
        self.insert(self.len(), value)
    }

    /// Replaces an element. A yrs list has no such operation: delete and insert say what happens there.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end, [`EditError::Unsupported`] on yrs.
    pub fn put(&mut self, index: usize, value: impl Into<Value>) -> Result<(), EditError> {
        if self.session.crdt() == Crdt::Yrs {
            return Err(EditError::Unsupported { crdt: Crdt::Yrs, operation: "list put" });
        }
        self.check_element(index)?;
        write(self.session, self.node, Place::Put(index), &value.into())
    }

    /// Deletes an element.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end.
    pub fn delete(&mut self, index: usize) -> Result<(), EditError> {
        self.check_element(index)?;
        spend(self.session, 0)?;
        self.session.delete(self.node, Step::Index(index))
    }

    /// Inserts an empty text before an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end, [`EditError::TooDeep`].
    pub fn insert_text(&mut self, index: usize) -> Result<TextEdit<'_>, EditError> {
        let node = self.insert_container(index, Kind::Text)?;
        Ok(TextEdit { session: self.session, node })
    }

    /// Inserts an empty list before an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end, [`EditError::TooDeep`].
    pub fn insert_list(&mut self, index: usize) -> Result<ListEdit<'_>, EditError> {
        let node = self.insert_container(index, Kind::List)?;
        Ok(ListEdit { session: self.session, node })
    }

    /// Inserts an empty map before an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end, [`EditError::TooDeep`].
    pub fn insert_map(&mut self, index: usize) -> Result<MapEdit<'_>, EditError> {
        let node = self.insert_container(index, Kind::Map)?;
        Ok(MapEdit { session: self.session, node })
    }

    /// Returns the text at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn text(&mut self, index: usize) -> Result<TextEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::Text)?;
        Ok(TextEdit { session: self.session, node })
    }

    /// Returns the list at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn list(&mut self, index: usize) -> Result<ListEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::List)?;
        Ok(ListEdit { session: self.session, node })
    }

    /// Returns the map at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn map(&mut self, index: usize) -> Result<MapEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::Map)?;
        Ok(MapEdit { session: self.session, node })
    }

    /// Returns the counter at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn counter(&mut self, index: usize) -> Result<CounterEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::Counter)?;
        Ok(CounterEdit { session: self.session, node })
    }

    fn insert_container(&mut self, index: usize, kind: Kind) -> Result<NodeId, EditError> {
        self.check(index, self.len())?;
        create(self.session, self.node, Place::Insert(index), kind)
    }

    fn check_element(&self, index: usize) -> Result<(), EditError> {
        let len = self.len();
        self.check(index, len.saturating_sub(1))?;
        if len == 0 { Err(EditError::OutOfRange { index, len }) } else { Ok(()) }
    }

    fn check(&self, index: usize, last: usize) -> Result<(), EditError> {
        if index > last {
            return Err(EditError::OutOfRange { index, len: self.len() });
        }
        Ok(())
    }
}
