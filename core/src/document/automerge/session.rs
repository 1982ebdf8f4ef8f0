//! One edit on an automerge transaction.

use ::automerge::transaction::{Transactable, Transaction};
use ::automerge::{ObjId, ObjType, Prop, ROOT as ROOT_OBJECT, ReadDoc, ScalarValue, Value as Native};

use super::read;
use crate::document::editor::{BUDGET, Child, NodeId, Place, Session, Step};
use crate::document::text::{may_hold_pairs, splice_range};
use crate::document::{Crdt, EditError, Kind, Value};

pub(super) struct AutomergeSession<'t, 'd> {
    transaction: &'t mut Transaction<'d>,
    nodes: Vec<Node>,
    budget: usize,
    /// Whether any text may hold a character of two UTF-16 code units.
    pairs: bool,
}

/// A container, or the place of a counter, which is a scalar in automerge.
struct Node {
    object: ObjId,
    counter: Option<Prop>,
    depth: usize,
}

impl<'t, 'd> AutomergeSession<'t, 'd> {
    pub(super) fn new(transaction: &'t mut Transaction<'d>, pairs: bool) -> Self {
        let root = Node { object: ROOT_OBJECT, counter: None, depth: 0 };
        Self { transaction, nodes: vec![root], budget: BUDGET, pairs }
    }

    /// Tells whether a position of a text lies inside a character: then the library finds the same one before it and
    /// after it.
    fn splits(&self, text: &ObjId, position: usize) -> Result<bool, EditError> {
        if !self.pairs {
            return Ok(false);
        }
        let Some(before) = position.checked_sub(1) else { return Ok(false) };
        let found = |position: usize| Ok::<_, EditError>(self.transaction.get(text, position)?.map(|(_, id)| id));
        let before = found(before)?;
        Ok(before.is_some() && before == found(position)?)
    }

    #[expect(clippy::indexing_slicing, reason = "node ids are only made by add")]
    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node]
    }

    fn add(&mut self, parent: NodeId, object: ObjId, counter: Option<Prop>) -> NodeId {
        let depth = self.node(parent).depth + 1;
        self.nodes.push(Node { object, counter, depth });
        self.nodes.len() - 1
    }
}

impl Session for AutomergeSession<'_, '_> {
    fn crdt(&self) -> Crdt {
        Crdt::Automerge
    }

    fn budget(&mut self) -> &mut usize {
        &mut self.budget
    }

    fn depth(&self, node: NodeId) -> usize {
        self.node(node).depth
    }

    fn len(&self, node: NodeId) -> usize {
        self.transaction.length(&self.node(node).object)
    }

    fn keys(&self, node: NodeId) -> Vec<String> {
        self.transaction.keys(&self.node(node).object).collect()
    }

    fn child(&mut self, node: NodeId, step: Step<'_>) -> Result<Option<Child>, EditError> {
        let object = self.node(node).object.clone();
        let Some((value, child)) = self.transaction.get(&object, prop(step))? else {
            return Ok(None);
        };
        let (kind, child) = match value {
            Native::Object(ObjType::Map | ObjType::Table) => (Kind::Map, Some((child, None))),
            Native::Object(ObjType::List) => (Kind::List, Some((child, None))),
            Native::Object(ObjType::Text) => (Kind::Text, Some((child, None))),
            Native::Scalar(scalar) if scalar.is_counter() => (Kind::Counter, Some((object, Some(prop(step))))),
            Native::Scalar(_) => (Kind::Scalar, None),
        };
        let node = child.map(|(object, counter)| self.add(node, object, counter));
        Ok(Some(Child { kind, node }))
    }

    fn value(&self, node: NodeId, step: Step<'_>) -> Result<Option<Value>, EditError> {
        let node = self.node(node);
        let Some((value, child)) = self.transaction.get(&node.object, prop(step))? else {
            return Ok(None);
        };
        read::value(&*self.transaction, &value, &child, node.depth + 1).map(Some).map_err(|_| EditError::TooDeep)
    }

    fn write(&mut self, node: NodeId, place: Place<'_>, scalar: &Value) -> Result<(), EditError> {
        let object = self.node(node).object.clone();
        let scalar = native(scalar)?;
        match place {
            Place::Key(key) => self.transaction.put(&object, key, scalar)?,
            Place::Insert(index) => self.transaction.insert(&object, index, scalar)?,
            Place::Put(index) => self.transaction.put(&object, index, scalar)?,
        }
        Ok(())
    }

    fn create(&mut self, node: NodeId, place: Place<'_>, kind: Kind) -> Result<NodeId, EditError> {
        let object = self.node(node).object.clone();
        let (object_type, prop) = match (kind, place) {
            (Kind::Map, _) => (ObjType::Map, None),
            (Kind::List, _) => (ObjType::List, None),
            (Kind::Text, _) => (ObjType::Text, None),
            (Kind::Counter | Kind::Scalar, Place::Key(key)) => (ObjType::Map, Some(Prop::from(key))),
            (Kind::Counter | Kind::Scalar, Place::Insert(index) | Place::Put(index)) => {
                (ObjType::Map, Some(Prop::from(index)))
            }
        };
        if let Some(prop) = prop {
            self.write_counter(&object, place)?;
            return Ok(self.add(node, object, Some(prop)));
        }
        let child = match place {
            Place::Key(key) => self.transaction.put_object(&object, key, object_type)?,
            Place::Insert(index) => self.transaction.insert_object(&object, index, object_type)?,
            Place::Put(index) => self.transaction.put_object(&object, index, object_type)?,
        };
        Ok(self.add(node, child, None))
    }

    fn delete(&mut self, node: NodeId, step: Step<'_>) -> Result<(), EditError> {
        let object = self.node(node).object.clone();
        Ok(self.transaction.delete(&object, prop(step))?)
    }

    fn text(&self, node: NodeId) -> Result<String, EditError> {
        Ok(self.transaction.text(&self.node(node).object)?)
    }

    fn splice(&mut self, node: NodeId, index: usize, removed: usize, inserted: &str) -> Result<(), EditError> {
        splice_range(self.len(node), index, removed)?;
        let object = self.node(node).object.clone();
        let positions = [index, index + removed];
        for position in positions.into_iter().take(if removed == 0 { 1 } else { 2 }) {
            if self.splits(&object, position)? {
                return Err(EditError::SplitsCharacter { index: position });
            }
        }
        if removed == 0 && inserted.is_empty() {
            return Ok(());
        }
        self.pairs = self.pairs || may_hold_pairs(inserted.as_bytes());
        let count = isize::try_from(removed).map_err(|_| EditError::ChangeTooLarge)?;
        Ok(self.transaction.splice_text(&object, index, count, inserted)?)
    }

    fn sum(&self, node: NodeId) -> Result<i64, EditError> {
        let node = self.node(node);
        let prop = node.counter.clone().ok_or(EditError::Library)?;
        match self.transaction.get(&node.object, prop)? {
            Some((Native::Scalar(scalar), _)) => read::counter(&scalar).ok_or(EditError::Library),
            _ => Err(EditError::Library),
        }
    }

    fn increment(&mut self, node: NodeId, by: i64) -> Result<(), EditError> {
        let node = self.node(node);
        let (object, prop) = (node.object.clone(), node.counter.clone().ok_or(EditError::Library)?);
        Ok(self.transaction.increment(&object, prop, by)?)
    }
}

impl AutomergeSession<'_, '_> {
    fn write_counter(&mut self, object: &ObjId, place: Place<'_>) -> Result<(), EditError> {
        let zero = ScalarValue::counter(0);
        match place {
            Place::Key(key) => self.transaction.put(object, key, zero)?,
            Place::Insert(index) => self.transaction.insert(object, index, zero)?,
            Place::Put(index) => self.transaction.put(object, index, zero)?,
        }
        Ok(())
    }
}

fn prop(step: Step<'_>) -> Prop {
    match step {
        Step::Key(key) => Prop::from(key),
        Step::Index(index) => Prop::from(index),
    }
}

/// The automerge form of a scalar; containers never come here.
fn native(scalar: &Value) -> Result<ScalarValue, EditError> {
    Ok(match scalar {
        Value::Null => ScalarValue::Null,
        Value::Bool(truth) => ScalarValue::Boolean(*truth),
        Value::I64(number) => ScalarValue::Int(*number),
        Value::F64(number) => ScalarValue::F64(*number),
        Value::String(string) => ScalarValue::Str(string.as_str().into()),
        Value::Bytes(bytes) => ScalarValue::Bytes(bytes.clone()),
        Value::Timestamp(ms) => ScalarValue::Timestamp(*ms),
        Value::Counter(_) | Value::Text(_) | Value::Map(_) | Value::List(_) => {
            return Err(EditError::Library);
        }
    })
}
