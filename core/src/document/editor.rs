//! The editing surface: handles on the containers of a document, valid inside one edit.
//!
//! A handle checks what the caller gave (keys, depth, size) and passes the rest to the
//! [`Session`] of the document's CRDT. A failed call makes the closure's error, and with it the
//! whole edit undone; nothing is half written.

mod leaf;
mod list;
mod map;

pub use self::leaf::{CounterEdit, TextEdit};
pub use self::list::ListEdit;
pub use self::map::MapEdit;

use super::{Crdt, DEPTH_MAX, EDIT_COST_MAX, EDIT_OPERATION_COST, EditError, KEY_BYTES_MAX, Kind, Value};

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
    fn splice(&mut self, node: NodeId, index: usize, removed: usize, inserted: &str) -> Result<(), EditError>;
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
        return Err(EditError::BadKey { key_bytes: key.len() });
    }
    Ok(())
}

fn create(session: &mut dyn Session, node: NodeId, place: Place<'_>, kind: Kind) -> Result<NodeId, EditError> {
    if session.depth(node) + 1 >= DEPTH_MAX {
        return Err(EditError::TooDeep);
    }
    spend(session, 0)?;
    session.create(node, place, kind)
}

/// Writes any value, containers with all they contain.
fn write(session: &mut dyn Session, node: NodeId, place: Place<'_>, value: &Value) -> Result<(), EditError> {
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
fn container(session: &mut dyn Session, node: NodeId, step: Step<'_>, kind: Kind) -> Result<NodeId, EditError> {
    match (session.child(node, step)?, step) {
        (Some(Child { kind: found, node: Some(child) }), _) if found == kind => Ok(child),
        (Some(Child { kind: found, .. }), _) => Err(EditError::WrongKind { expected: kind, found }),
        (None, Step::Key(key)) => {
            check_key(key)?;
            spend(session, key.len())?;
            create(session, node, Place::Key(key), kind)
        }
        (None, Step::Index(index)) => Err(EditError::OutOfRange { index, len: session.len(node) }),
    }
}
