//! Automerge changes under another actor: operations, their targets and dependencies are named anew.
//!
//! Operations keep their numbers, so their order among themselves and against others' stays.

use std::collections::BTreeMap;

use ::automerge::legacy::{ElementId, Key, ObjectId, OpId};
use ::automerge::{ActorId, Automerge, Change, ChangeHash, ExpandedChange};

use super::{AutomergeDocument, actor_id, decode};
use crate::document::poison::guarded;
use crate::document::reauthor::{Former, Reauthored};
use crate::document::{Actor, ApplyReason, ForeignChange};

/// Re-authors changes for a document that holds what its entries bring.
pub(in crate::document) fn reauthor(
    received: &AutomergeDocument,
    changes: &[Former<'_>],
    fresh: &mut dyn FnMut() -> Actor,
) -> Result<Vec<Reauthored>, ApplyReason> {
    let mut names = Names { known: known(&received.document)?, ..Names::default() };
    changes.iter().map(|former| names.take(former, fresh)).collect()
}

/// Tells whether a change is of the actor it would have in this life.
pub(in crate::document) fn is_own(former: &Former<'_>) -> Result<bool, ApplyReason> {
    let change = decode(&ForeignChange { bytes: former.bytes, actor: None })?;
    Ok(change.actor_id() == &actor_id(former.actor))
}

/// The changes of each actor by the last operation they bring.
type Known = BTreeMap<ActorId, BTreeMap<u64, ChangeHash>>;

fn known(document: &Automerge) -> Result<Known, ApplyReason> {
    guarded(|| {
        let mut known = Known::new();
        for change in document.get_changes(&[]) {
            known.entry(change.actor_id().clone()).or_default().insert(change.max_op(), change.hash());
        }
        known
    })
}

/// How what was made before is named now.
#[derive(Default)]
struct Names {
    known: Known,
    hashes: BTreeMap<ChangeHash, ChangeHash>,
    moved: BTreeMap<ActorId, Moved>,
}

/// Where the work of an older actor went.
struct Moved {
    /// From which operation on.
    from: u64,
    to: Actor,
    /// How many changes the new actor has.
    changes: u64,
}

impl Names {
    fn take(&mut self, former: &Former<'_>, fresh: &mut dyn FnMut() -> Actor) -> Result<Reauthored, ApplyReason> {
        let change = decode(&ForeignChange { bytes: former.bytes, actor: None })?;
        let is_own = change.actor_id() == &actor_id(former.actor);
        if !is_own && let Some(holding) = self.holding(&change) {
            self.hashes.insert(change.hash(), holding);
            return Ok(Reauthored::Known);
        }
        let mut said = change.decode();
        let actor = if is_own { former.actor } else { self.move_to(&mut said, fresh) };
        self.rename(&mut said);
        let said = guarded(|| Change::from(said))?;
        // What others would refuse is not said.
        decode(&ForeignChange { bytes: said.raw_bytes(), actor: Some(actor) })?;
        self.hashes.insert(change.hash(), said.hash());
        let bytes = said.raw_bytes().to_vec();
        Ok(if is_own { Reauthored::Own(bytes) } else { Reauthored::Moved(actor, bytes) })
    }

    /// Returns the change that brings the operations of another already: what was sent may have been folded.
    fn holding(&self, change: &Change) -> Option<ChangeHash> {
        let of_actor = self.known.get(change.actor_id())?;
        of_actor.range(change.max_op()..).next().map(|(_, hash)| *hash)
    }

    /// Gives a change to the actor that follows its own; returns it.
    fn move_to(&mut self, said: &mut ExpandedChange, fresh: &mut dyn FnMut() -> Actor) -> Actor {
        let from = said.start_op.get();
        let first = || Moved { from, to: fresh(), changes: 0 };
        let moved = self.moved.entry(said.actor_id.clone()).or_insert_with(first);
        moved.changes += 1;
        said.seq = moved.changes;
        said.actor_id = actor_id(moved.to);
        moved.to
    }

    fn rename(&self, said: &mut ExpandedChange) {
        said.hash = None;
        for dependency in &mut said.deps {
            *dependency = self.hashes.get(dependency).copied().unwrap_or(*dependency);
        }
        said.deps.sort_unstable();
        said.deps.dedup();
        for operation in &mut said.operations {
            if let ObjectId::Id(id) = &mut operation.obj {
                self.rename_id(id);
            }
            if let Key::Seq(ElementId::Id(id)) = &mut operation.key {
                self.rename_id(id);
            }
            let replaced = operation.pred.iter().cloned().map(|mut id| {
                self.rename_id(&mut id);
                id
            });
            operation.pred = replaced.collect();
        }
    }

    fn rename_id(&self, id: &mut OpId) {
        if let Some(moved) = self.moved.get(&id.1).filter(|moved| id.0 >= moved.from) {
            id.1 = actor_id(moved.to);
        }
    }
}
