//! Automerge changes under another actor: operations, their targets and dependencies are named anew.
//!
//! Operations keep their numbers, so their order among themselves and against others' stays.

use std::collections::BTreeMap;

use ::automerge::legacy::{ElementId, Key, ObjectId, OpId};
use ::automerge::{ActorId, Automerge, Change, ChangeHash, ExpandedChange};

use super::{AutomergeDocument, actor_id, decode};
use crate::document::poison::guarded;
use crate::document::reauthor::{Former, HeirsOf, Reauthored};
use crate::document::{Actor, ApplyReason, ForeignChange};

/// Re-authors changes for a document that holds what its entries bring.
pub(in crate::document) fn reauthor(
    received: &AutomergeDocument,
    changes: &[Former<'_>],
    heirs: HeirsOf<'_>,
) -> Result<Vec<Reauthored>, ApplyReason> {
    let mut names = Names { known: known(&received.document)?, ..Names::default() };
    changes.iter().map(|former| names.take(former, heirs)).collect()
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
    moved: BTreeMap<ActorId, Vec<Moved>>,
    /// How many changes were given to an actor here.
    given: BTreeMap<Actor, u64>,
}

/// Where some operations of an older actor went.
struct Moved {
    first: u64,
    last: u64,
    to: Actor,
}

impl Names {
    fn take(&mut self, former: &Former<'_>, heirs: HeirsOf<'_>) -> Result<Reauthored, ApplyReason> {
        let change = decode(&ForeignChange { bytes: former.bytes, actor: None })?;
        let is_own = change.actor_id() == &actor_id(former.actor);
        if !is_own && self.is_known(&change, heirs) {
            return Ok(Reauthored::Known);
        }
        let mut said = change.decode();
        let actor = if is_own { former.actor } else { self.move_to(&change, &mut said, heirs) };
        self.rename(&mut said);
        let said = guarded(|| Change::from(said))?;
        // What others would refuse is not said.
        decode(&ForeignChange { bytes: said.raw_bytes(), actor: Some(actor) })?;
        self.hashes.insert(change.hash(), said.hash());
        let bytes = said.raw_bytes().to_vec();
        Ok(if is_own { Reauthored::Own(bytes) } else { Reauthored::Moved(actor, bytes) })
    }

    /// Tells whether the entries bring a change already, as it was made or as another life re-authored it, and takes
    /// the names that it has there: what was sent may have been folded.
    fn is_known(&mut self, change: &Change, heirs: HeirsOf<'_>) -> bool {
        if let Some(hash) = holding(&self.known, change.actor_id(), change) {
            self.hashes.insert(change.hash(), hash);
            return true;
        }
        for heir in heirs(change.actor_id().to_bytes()).others {
            if let Some(hash) = holding(&self.known, &actor_id(heir), change) {
                self.hashes.insert(change.hash(), hash);
                self.note_moved(change, heir);
                return true;
            }
        }
        false
    }

    /// Gives a change to the actor that follows its own in this life; returns that.
    fn move_to(&mut self, change: &Change, said: &mut ExpandedChange, heirs: HeirsOf<'_>) -> Actor {
        let heir = heirs(change.actor_id().to_bytes()).own;
        let given = self.given.entry(heir).or_default();
        *given += 1;
        said.seq = *given;
        said.actor_id = actor_id(heir);
        self.note_moved(change, heir);
        heir
    }

    fn note_moved(&mut self, change: &Change, to: Actor) {
        let moved = Moved { first: change.start_op().get(), last: change.max_op(), to };
        self.moved.entry(change.actor_id().clone()).or_default().push(moved);
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
        let holds = |moved: &&Moved| (moved.first..=moved.last).contains(&id.0);
        if let Some(moved) = self.moved.get(&id.1).and_then(|moved| moved.iter().find(holds)) {
            id.1 = actor_id(moved.to);
        }
    }
}

/// Returns the change of an actor that brings the operations of another.
fn holding(known: &Known, actor: &ActorId, change: &Change) -> Option<ChangeHash> {
    known.get(actor)?.range(change.max_op()..).next().map(|(_, hash)| *hash)
}
