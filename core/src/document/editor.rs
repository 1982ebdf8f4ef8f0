//! The editing surface: handles on the containers of a document, valid inside one edit.
//!
//! A handle checks what the caller gave (keys, depth, size) and passes the rest to the
//! [`Session`] of the document's CRDT. A failed call makes the closure's error, and with it the
//! whole edit undone; nothing is half written.

use super::{
    Crdt, DEPTH_MAX, EDIT_COST_MAX, EDIT_OPERATION_COST, EditError, KEY_BYTES_MAX, Kind, Value,
};

/// A container met in this edit: its place in the session's table.
pub(super) type NodeId = usize;

/// The document's root map is the first node of every session.
pub(super) const ROOT: NodeId = 0;

/// Where a value is or goes: under a map key or at a list index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'k> {
    /// Under a key of a map.
    Key(&'k str),
    /// At an index of a list.
    Index(usize),
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'k> {
    /// Under a key of a map, replacing what is there.
    Key(&'k str),
    /// Before an index of a list.
    Insert(usize),
    /// At an index of a list, replacing what is there.
    Put(usize),
}

/// What is found at a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) kind: Kind,
    /// Set for everything but scalars.
    pub(super) node: Option<NodeId>,
}

/// One edit on one CRDT.
pub(super) trait Session {
    /// Returns the CRDT, for errors.
    fn crdt(&self) -> Crdt;
    /// Returns what the edit may still write.
    fn budget(&mut self) -> &mut usize;
    /// Returns how deep a node lies below the root.
    fn depth(&self, node: NodeId) -> usize;
    /// Returns how many elements a list, UTF-16 code units a text or keys a map has.
    fn len(&self, node: NodeId) -> usize;
    /// Returns the sorted keys of a map.
    fn keys(&self, node: NodeId) -> Vec<String>;
    /// Returns what is at a step.
    fn child(&mut self, node: NodeId, step: Step<'_>) -> Result<Option<Child>, EditError>;
    /// Returns a copy of what is at a step.
    fn value(&self, node: NodeId, step: Step<'_>) -> Result<Option<Value>, EditError>;
    /// Writes a scalar.
    fn write(&mut self, node: NodeId, place: Place<'_>, scalar: &Value) -> Result<(), EditError>;
    /// Makes an empty container or a counter of zero.
    fn create(&mut self, node: NodeId, place: Place<'_>, kind: Kind) -> Result<NodeId, EditError>;
    /// Deletes what is at a step, which exists.
    fn delete(&mut self, node: NodeId, step: Step<'_>) -> Result<(), EditError>;
    /// Returns the string of a text.
    fn text(&self, node: NodeId) -> Result<String, EditError>;
    /// Changes a text.
    fn splice(
        &mut self,
        node: NodeId,
        index: usize,
        removed: usize,
        inserted: &str,
    ) -> Result<(), EditError>;
    /// Returns the sum of a counter.
    fn sum(&self, node: NodeId) -> Result<i64, EditError>;
    /// Adds to a counter; the sum stays within 64 bits.
    fn increment(&mut self, node: NodeId, by: i64) -> Result<(), EditError>;
}

/// Takes what an operation writes off the session's budget.
fn spend(session: &mut dyn Session, bytes: usize) -> Result<(), EditError> {
    let budget = session.budget();
    let cost = bytes.saturating_add(EDIT_OPERATION_COST);
    *budget = budget.checked_sub(cost).ok_or(EditError::ChangeTooLarge)?;
    Ok(())
}

/// The budget a session starts with.
pub(super) const BUDGET: usize = EDIT_COST_MAX;

fn check_key(key: &str) -> Result<(), EditError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(EditError::BadKey {
            key_bytes: key.len(),
        });
    }
    Ok(())
}

fn create(
    session: &mut dyn Session,
    node: NodeId,
    place: Place<'_>,
    kind: Kind,
) -> Result<NodeId, EditError> {
    if session.depth(node) + 1 >= DEPTH_MAX {
        return Err(EditError::TooDeep);
    }
    spend(session, 0)?;
    session.create(node, place, kind)
}

/// Writes any value, containers with all they contain.
fn write(
    session: &mut dyn Session,
    node: NodeId,
    place: Place<'_>,
    value: &Value,
) -> Result<(), EditError> {
    match value {
        Value::Map(entries) => {
            let map = create(session, node, place, Kind::Map)?;
            for (key, value) in entries {
                check_key(key)?;
                spend(session, key.len())?;
                write(session, map, Place::Key(key), value)?;
            }
        }
        Value::List(elements) => {
            let list = create(session, node, place, Kind::List)?;
            for (index, value) in elements.iter().enumerate() {
                write(session, list, Place::Insert(index), value)?;
            }
        }
        Value::Text(string) => {
            let text = create(session, node, place, Kind::Text)?;
            spend(session, string.len())?;
            session.splice(text, 0, 0, string)?;
        }
        Value::Counter(sum) => {
            let counter = create(session, node, place, Kind::Counter)?;
            if *sum != 0 {
                session.increment(counter, *sum)?;
            }
        }
        scalar => {
            spend(session, scalar.own_bytes())?;
            session.write(node, place, scalar)?;
        }
    }
    Ok(())
}

/// Returns the container at a place, making it if nothing is there and the place is a key.
fn container(
    session: &mut dyn Session,
    node: NodeId,
    step: Step<'_>,
    kind: Kind,
) -> Result<NodeId, EditError> {
    match (session.child(node, step)?, step) {
        (
            Some(Child {
                kind: found,
                node: Some(child),
            }),
            _,
        ) if found == kind => Ok(child),
        (Some(Child { kind: found, .. }), _) => Err(EditError::WrongKind {
            expected: kind,
            found,
        }),
        (None, Step::Key(key)) => {
            check_key(key)?;
            spend(session, key.len())?;
            create(session, node, Place::Key(key), kind)
        }
        (None, Step::Index(index)) => Err(EditError::OutOfRange {
            index,
            len: session.len(node),
        }),
    }
}

/// Edits a map.
pub struct MapEdit<'s> {
    session: &'s mut dyn Session,
    node: NodeId,
}

/// Edits a list.
pub struct ListEdit<'s> {
    session: &'s mut dyn Session,
    node: NodeId,
}

/// Edits a text; positions are UTF-16 code units.
pub struct TextEdit<'s> {
    session: &'s mut dyn Session,
    node: NodeId,
}

/// Edits a counter.
pub struct CounterEdit<'s> {
    session: &'s mut dyn Session,
    node: NodeId,
}

impl<'s> MapEdit<'s> {
    pub(super) fn root(session: &'s mut dyn Session) -> Self {
        Self {
            session,
            node: ROOT,
        }
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
        Ok(TextEdit {
            session: self.session,
            node,
        })
    }

    /// Returns the list under a key, which is made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn list(&mut self, key: &str) -> Result<ListEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Key(key), Kind::List)?;
        Ok(ListEdit {
            session: self.session,
            node,
        })
    }

    /// Returns the map under a key, which is made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn map(&mut self, key: &str) -> Result<MapEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Key(key), Kind::Map)?;
        Ok(MapEdit {
            session: self.session,
            node,
        })
    }

    /// Returns the counter under a key, which is made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn counter(&mut self, key: &str) -> Result<CounterEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Key(key), Kind::Counter)?;
        Ok(CounterEdit {
            session: self.session,
            node,
        })
    }
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
            return Err(EditError::Unsupported {
                crdt: Crdt::Yrs,
                operation: "list put",
            });
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
        Ok(TextEdit {
            session: self.session,
            node,
        })
    }

    /// Inserts an empty list before an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end, [`EditError::TooDeep`].
    pub fn insert_list(&mut self, index: usize) -> Result<ListEdit<'_>, EditError> {
        let node = self.insert_container(index, Kind::List)?;
        Ok(ListEdit {
            session: self.session,
            node,
        })
    }

    /// Inserts an empty map before an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] beyond the end, [`EditError::TooDeep`].
    pub fn insert_map(&mut self, index: usize) -> Result<MapEdit<'_>, EditError> {
        let node = self.insert_container(index, Kind::Map)?;
        Ok(MapEdit {
            session: self.session,
            node,
        })
    }

    /// Returns the text at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn text(&mut self, index: usize) -> Result<TextEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::Text)?;
        Ok(TextEdit {
            session: self.session,
            node,
        })
    }

    /// Returns the list at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn list(&mut self, index: usize) -> Result<ListEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::List)?;
        Ok(ListEdit {
            session: self.session,
            node,
        })
    }

    /// Returns the map at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn map(&mut self, index: usize) -> Result<MapEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::Map)?;
        Ok(MapEdit {
            session: self.session,
            node,
        })
    }

    /// Returns the counter at an index.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`] or [`EditError::WrongKind`].
    pub fn counter(&mut self, index: usize) -> Result<CounterEdit<'_>, EditError> {
        let node = container(self.session, self.node, Step::Index(index), Kind::Counter)?;
        Ok(CounterEdit {
            session: self.session,
            node,
        })
    }

    fn insert_container(&mut self, index: usize, kind: Kind) -> Result<NodeId, EditError> {
        self.check(index, self.len())?;
        create(self.session, self.node, Place::Insert(index), kind)
    }

    fn check_element(&self, index: usize) -> Result<(), EditError> {
        let len = self.len();
        self.check(index, len.saturating_sub(1))?;
        if len == 0 {
            Err(EditError::OutOfRange { index, len })
        } else {
            Ok(())
        }
    }

    fn check(&self, index: usize, last: usize) -> Result<(), EditError> {
        if index > last {
            return Err(EditError::OutOfRange {
                index,
                len: self.len(),
            });
        }
        Ok(())
    }
}

impl TextEdit<'_> {
    /// Removes UTF-16 code units at a position and inserts a string there.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`], or [`EditError::SplitsCharacter`] inside a surrogate pair.
    pub fn splice(
        &mut self,
        index: usize,
        removed: usize,
        inserted: &str,
    ) -> Result<(), EditError> {
        let cost = removed
            .saturating_mul(EDIT_OPERATION_COST)
            .saturating_add(inserted.len());
        if removed > self.len_utf16() {
            return Err(EditError::OutOfRange {
                index: index.saturating_add(removed),
                len: self.len_utf16(),
            });
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
        self.value()?
            .checked_add(by)
            .ok_or(EditError::CounterOverflow)?;
        spend(self.session, 0)?;
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
