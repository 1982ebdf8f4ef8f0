//! The conformance suite of the common model, each story run on both CRDTs, and poison.

mod conformance;
mod fold;
mod hostile;
mod reauthor;
mod saved;
mod speed;
mod states;

use super::*;

/// Runs a story on both CRDTs.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod automerge {
            $(#[test] fn $name() { super::$name(crate::document::Crdt::Automerge); })*
        }
        mod yrs {
            $(#[test] fn $name() { super::$name(crate::document::Crdt::Yrs); })*
        }
    };
}
pub(crate) use on_both;

fn actor(n: u8) -> Actor {
    Actor::from_bytes([n; 16])
}

/// A document, every change it made or was given, and an observer that replays patches.
struct Writer {
    document: OpenDocument,
    actor: Actor,
    changes: Vec<(Actor, Vec<u8>)>,
    observed: Value,
}

impl Writer {
    fn new(crdt: Crdt, n: u8) -> Self {
        let document = OpenDocument::new(crdt, actor(n));
        Self { document, actor: actor(n), changes: Vec::new(), observed: Value::Map(Default::default()) }
    }

    fn edit<R>(&mut self, closure: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError>) -> R {
        let edited = self.document.edit(1_700_000_000_123, PatchMode::On, closure).unwrap();
        self.observe(&edited.patches);
        if let Some(change) = edited.change {
            trial(self.document.crdt(), &change.bytes, Some(self.actor)).unwrap();
            self.changes.push((self.actor, change.bytes));
        }
        edited.result
    }

    fn receive(&mut self, changes: &[(Actor, Vec<u8>)]) {
        let foreign: Vec<_> =
            changes.iter().map(|(actor, bytes)| ForeignChange { bytes, actor: Some(*actor) }).collect();
        let patches = self.document.apply(&foreign, PatchMode::On).unwrap();
        self.observe(&patches);
        for change in changes {
            if !self.changes.contains(change) {
                self.changes.push(change.clone());
            }
        }
    }

    fn observe(&mut self, patches: &[Patch]) {
        for patch in patches {
            patch.replay(&mut self.observed).unwrap_or_else(|_| panic!("{patch:?} on {:?}", self.observed));
        }
        assert_eq!(self.observed, self.value(), "after {patches:?}");
    }

    fn value(&self) -> Value {
        self.document.read().to_value().unwrap()
    }

    fn json(&self) -> String {
        self.value().to_json().to_string()
    }
}

/// Gives both writers each other's changes and checks that they agree.
fn exchange(a: &mut Writer, b: &mut Writer) {
    let (from_a, from_b) = (a.changes.clone(), b.changes.clone());
    a.receive(&from_b);
    b.receive(&from_a);
    assert_eq!(a.value(), b.value());
    assert_eq!(a.document.version(), b.document.version());
}

/// A small generator, so that a failing run repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}
