//! One edit on a yrs transaction.

use ::yrs::{
    Any, Array, ArrayPrelim, ArrayRef, GetString, Map, MapPrelim, MapRef, Out, Text, TextPrelim, TextRef,
    TransactionMut,
};

use super::value::{self, COUNTER, escaped};
use crate::document::editor::{BUDGET, Child, NodeId, Place, Session, Step};
use crate::document::text::{may_hold_pairs, splice_bounds, splice_range};
use crate::document::{Actor, Crdt, EditError, Kind, Value};

pub(super) struct YrsSession<'t, 'd> {
    transaction: &'t mut TransactionMut<'d>,
    nodes: Vec<(Node, usize)>,
    actor: Actor,
    budget: usize,
    pairs: bool,
}

#[derive(Clone)]
enum Node {
    Map(MapRef),
    List(ArrayRef),
    Text(TextRef),
    Counter(MapRef),
}

impl<'t, 'd> YrsSession<'t, 'd> {
    pub(super) fn new(transaction: &'t mut TransactionMut<'d>, root: MapRef, actor: Actor, pairs: bool) -> Self {
        Self { transaction, nodes: vec![(Node::Map(root), 0)], actor, budget: BUDGET, pairs }
    }

    /// Says whether a text may hold surrogate pairs, and how deep the edit went.
    pub(super) fn finish(&self) -> (bool, usize) {
        let deepest = self.nodes.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        (self.pairs, deepest)
    }

    #[expect(clippy::indexing_slicing, reason = "node ids are only made by add")]
    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node].0
    }

    fn add(&mut self, parent: NodeId, node: Node) -> NodeId {
        let depth = self.depth(parent) + 1;
        self.nodes.push((node, depth));
        self.nodes.len() - 1
    }

    fn map(&self, node: NodeId) -> Result<MapRef, EditError> {
        match self.node(node) {
            Node::Map(map) => Ok(map.clone()),
            _ => Err(EditError::Library),
        }
    }

    fn list(&self, node: NodeId) -> Result<ArrayRef, EditError> {
        match self.node(node) {
            Node::List(list) => Ok(list.clone()),
            _ => Err(EditError::Library),
        }
    }

    fn text_ref(&self, node: NodeId) -> Result<TextRef, EditError> {
        match self.node(node) {
            Node::Text(text) => Ok(text.clone()),
            _ => Err(EditError::Library),
        }
    }

    fn counter(&self, node: NodeId) -> Result<MapRef, EditError> {
        match self.node(node) {
            Node::Counter(counter) => Ok(counter.clone()),
            _ => Err(EditError::Library),
        }
    }

    fn out(&self, node: NodeId, step: Step<'_>) -> Result<Option<Out>, EditError> {
        Ok(match step {
            Step::Key(key) => self.map(node)?.get(&*self.transaction, &escaped(key)),
            Step::Index(at) => {
                let list = self.list(node)?;
                u32::try_from(at).ok().and_then(|at| list.get(&*self.transaction, at))
            }
        })
    }
}

impl Session for YrsSession<'_, '_> {
    fn crdt(&self) -> Crdt {
        Crdt::Yrs
    }

    fn budget(&mut self) -> &mut usize {
        &mut self.budget
    }

    #[expect(clippy::indexing_slicing, reason = "node ids are only made by add")]
    fn depth(&self, node: NodeId) -> usize {
        self.nodes[node].1
    }

    fn len(&self, node: NodeId) -> usize {
        let len = match self.node(node) {
            Node::Map(map) | Node::Counter(map) => map.len(&*self.transaction),
            Node::List(list) => list.len(&*self.transaction),
            Node::Text(text) => text.len(&*self.transaction),
        };
        len as usize
    }

    fn keys(&self, node: NodeId) -> Vec<String> {
        self.map(node).map(|map| value::keys(&*self.transaction, &map)).unwrap_or_default()
    }

    fn child(&mut self, node: NodeId, step: Step<'_>) -> Result<Option<Child>, EditError> {
        let Some(out) = self.out(node, step)? else {
            return Ok(None);
        };
        let (kind, child) = match out {
            Out::YMap(map) if value::is_counter(&*self.transaction, &map) => (Kind::Counter, Node::Counter(map)),
            Out::YMap(map) => (Kind::Map, Node::Map(map)),
            Out::YArray(list) => (Kind::List, Node::List(list)),
            Out::YText(text) => (Kind::Text, Node::Text(text)),
            _ => {
                return Ok(Some(Child { kind: Kind::Scalar, node: None }));
            }
        };
        let node = Some(self.add(node, child));
        Ok(Some(Child { kind, node }))
    }

    fn value(&self, node: NodeId, step: Step<'_>) -> Result<Option<Value>, EditError> {
        let Some(out) = self.out(node, step)? else {
            return Ok(None);
        };
        value::value(&*self.transaction, &out, self.depth(node) + 1).map(Some).map_err(|_| EditError::TooDeep)
    }

    fn write(&mut self, node: NodeId, place: Place<'_>, scalar: &Value) -> Result<(), EditError> {
        let any = value::any(scalar).ok_or(EditError::Library)?;
        match place {
            Place::Key(key) => {
                self.map(node)?.insert(self.transaction, escaped(key), any);
            }
            Place::Insert(at) => {
                self.list(node)?.insert(self.transaction, index(at)?, any);
            }
            Place::Put(_) => return Err(PUT),
        }
        Ok(())
    }

    fn create(&mut self, node: NodeId, place: Place<'_>, kind: Kind) -> Result<NodeId, EditError> {
        let child = match place {
            Place::Key(key) => create_in_map(&self.map(node)?, self.transaction, &escaped(key), kind),
            Place::Insert(at) => create_in_list(&self.list(node)?, self.transaction, index(at)?, kind),
            Place::Put(_) => return Err(PUT),
        };
        Ok(self.add(node, child))
    }

    fn delete(&mut self, node: NodeId, step: Step<'_>) -> Result<(), EditError> {
        match step {
            Step::Key(key) => {
                self.map(node)?.remove(self.transaction, &escaped(key));
            }
            Step::Index(at) => self.list(node)?.remove(self.transaction, index(at)?),
        }
        Ok(())
    }

    fn text(&self, node: NodeId) -> Result<String, EditError> {
        Ok(self.text_ref(node)?.get_string(&*self.transaction))
    }

    fn splice(&mut self, node: NodeId, at: usize, removed: usize, inserted: &str) -> Result<(), EditError> {
        let text = self.text_ref(node)?;
        if self.pairs {
            splice_bounds(&self.text(node)?, at, removed)?;
        } else {
            splice_range(self.len(node), at, removed)?;
        }
        self.pairs = self.pairs || may_hold_pairs(inserted.as_bytes());
        if removed > 0 {
            text.remove_range(self.transaction, index(at)?, index(removed)?);
        }
        if !inserted.is_empty() {
            text.insert(self.transaction, index(at)?, inserted);
        }
        Ok(())
    }

    fn sum(&self, node: NodeId) -> Result<i64, EditError> {
        Ok(value::sum(&*self.transaction, &self.counter(node)?))
    }

    fn increment(&mut self, node: NodeId, by: i64) -> Result<(), EditError> {
        let counter = self.counter(node)?;
        let own = data_encoding::HEXLOWER.encode(self.actor.as_bytes());
        let sum = counter.get(&*self.transaction, &own).map_or(0, |out| value::number(&out));
        counter.insert(self.transaction, own, value::number_any(sum.wrapping_add(by)));
        Ok(())
    }
}

fn create_in_map(map: &MapRef, transaction: &mut TransactionMut<'_>, key: &str, kind: Kind) -> Node {
    match kind {
        Kind::Map => Node::Map(map.insert(transaction, key, MapPrelim::default())),
        Kind::List => Node::List(map.insert(transaction, key, ArrayPrelim::default())),
        Kind::Text => Node::Text(map.insert(transaction, key, TextPrelim::new(""))),
        Kind::Counter | Kind::Scalar => Node::Counter(map.insert(transaction, key, counter())),
    }
}

fn create_in_list(list: &ArrayRef, transaction: &mut TransactionMut<'_>, at: u32, kind: Kind) -> Node {
    match kind {
        Kind::Map => Node::Map(list.insert(transaction, at, MapPrelim::default())),
        Kind::List => Node::List(list.insert(transaction, at, ArrayPrelim::default())),
        Kind::Text => Node::Text(list.insert(transaction, at, TextPrelim::new(""))),
        Kind::Counter | Kind::Scalar => Node::Counter(list.insert(transaction, at, counter())),
    }
}

/// A counter that nobody has incremented.
fn counter() -> MapPrelim {
    MapPrelim::from([(COUNTER, Any::Bool(true))])
}

fn index(at: usize) -> Result<u32, EditError> {
    u32::try_from(at).map_err(|_| EditError::ChangeTooLarge)
}

const PUT: EditError = EditError::Unsupported { crdt: Crdt::Yrs, operation: "list put" };
