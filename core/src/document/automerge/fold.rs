//! Folding automerge changes, and an open document whose changes were said in another way.
//!
//! A run of changes of one actor, each of which depends on the one before alone, becomes one change with
//! the operations of all: their ids stay, because operations are counted and not changes. Hash and
//! seq differ, so whatever follows is rewritten to name the new ones. An open document keeps what it has,
//! says what it makes from then on in the new way ([`Renamed::publish`]), and takes over the new
//! changes before the first foreign one is applied ([`Renamed::renew`]).

use std::collections::{BTreeMap, BTreeSet};

use ::automerge::{ActorId, Automerge, Change, ChangeHash, ExpandedChange, ReadDoc as _, TextEncoding};

use super::{actor_id, decode};
use crate::document::fold::{Run, Unsent, joins};
use crate::document::poison::guarded;
use crate::document::{Actor, ApplyReason, ForeignChange};

/// How changes that were folded are named from now on.
#[derive(Debug, Default)]
pub(in crate::document) struct Renames {
    /// The new name of each change that another may name.
    hashes: BTreeMap<ChangeHash, ChangeHash>,
    /// The changes that were folded.
    replaced: BTreeSet<ChangeHash>,
    /// From which seq on an actor's changes were folded.
    from: BTreeMap<ActorId, u64>,
    /// How many changes less an actor has.
    fewer: BTreeMap<ActorId, u64>,
    /// What they became.
    changes: Vec<Change>,
}

/// Folds changes; says how they are named now.
pub(in crate::document) fn fold(changes: &[Unsent<'_>]) -> Result<(Vec<Run>, Renames), ApplyReason> {
    let mut decoded = Vec::with_capacity(changes.len());
    let mut named = BTreeMap::<ChangeHash, usize>::new();
    for unsent in changes {
        let change = decode(&ForeignChange { bytes: unsent.bytes, actor: None })?;
        for dependency in change.deps() {
            *named.entry(*dependency).or_default() += 1;
        }
        decoded.push((unsent, change));
    }
    let mut renames = Renames::default();
    let (mut runs, mut rest) = (Vec::new(), decoded.as_slice());
    while let Some(count) = run_length(rest, &named) {
        let (run, after) = rest.split_at(count);
        let folded = renames.take(run)?;
        runs.push(Run { count, bytes: folded.raw_bytes().to_vec() });
        renames.changes.push(folded);
        rest = after;
    }
    Ok((runs, renames))
}

/// Returns how many changes at the front become one.
fn run_length(changes: &[(&Unsent<'_>, Change)], named: &BTreeMap<ChangeHash, usize>) -> Option<usize> {
    let (first, begun) = changes.first()?;
    let (mut bytes, mut operations, mut count) = (first.bytes.len(), begun.len(), 1);
    for ((_, before), (unsent, next)) in changes.iter().zip(changes.iter().skip(1)) {
        operations += next.len();
        let fits =
            joins(first, unsent) && bytes + unsent.bytes.len() <= RUN_BYTES_MAX && operations <= RUN_OPERATIONS_MAX;
        if !fits || !follows(before, next) || named.get(&before.hash()) != Some(&1) {
            break;
        }
        bytes += unsent.bytes.len();
        count += 1;
    }
    Some(count)
}

/// Tells whether a change could as well have been part of the one before it.
fn follows(before: &Change, next: &Change) -> bool {
    let is_plain = |change: &Change| change.message().is_none() && change.extra_bytes().is_empty();
    next.actor_id() == before.actor_id()
        && next.deps() == [before.hash()]
        && Some(next.seq()) == before.seq().checked_add(1)
        && Some(next.start_op().get()) == before.max_op().checked_add(1)
        && is_plain(before)
        && is_plain(next)
}

impl Renames {
    /// Makes one change of a run, under the names that what lies before it has now.
    fn take(&mut self, run: &[(&Unsent<'_>, Change)]) -> Result<Change, ApplyReason> {
        let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else {
            return Err(ApplyReason::Malformed);
        };
        let mut whole = first.decode();
        for (_, change) in run.iter().skip(1) {
            whole.operations.extend(change.decode().operations);
        }
        let actor = first.actor_id().clone();
        self.from.entry(actor.clone()).or_insert(first.seq());
        let fewer = self.fewer.entry(actor).or_default();
        let folded = renamed(whole, &self.hashes, *fewer)?;
        // What others would refuse is not said.
        decode(&ForeignChange { bytes: folded.raw_bytes(), actor: None })?;
        *fewer += run.len() as u64 - 1;
        self.replaced.extend(run.iter().map(|(_, change)| change.hash()));
        if folded.hash() != last.hash() {
            self.hashes.insert(last.hash(), folded.hash());
        }
        Ok(folded)
    }
}

/// Encodes a change that names others by their new names and is numbered anew.
fn renamed(
    mut change: ExpandedChange,
    hashes: &BTreeMap<ChangeHash, ChangeHash>,
    fewer: u64,
) -> Result<Change, ApplyReason> {
    change.hash = None;
    change.seq = change.seq.checked_sub(fewer).ok_or(ApplyReason::Malformed)?;
    for dependency in &mut change.deps {
        *dependency = hashes.get(dependency).copied().unwrap_or(*dependency);
    }
    guarded(|| Change::from(change))
}

/// What an open document holds under names that were given up.
#[derive(Default)]
pub(super) struct Renamed {
    /// From which seq on an actor's changes are not said as they are held.
    from: BTreeMap<ActorId, u64>,
    /// By how much the own actor's seq runs ahead of what is said.
    ahead: u64,
    /// How those that the next change will name are named.
    heads: BTreeMap<ChangeHash, ChangeHash>,
    /// What is said in the place of what is held.
    said: BTreeMap<ChangeHash, Change>,
}

impl Renamed {
    /// Takes over what changes of this document were folded into.
    pub(super) fn adopt(&mut self, document: &Automerge, renames: &Renames) {
        for head in document.get_heads() {
            let said = self.heads.get(&head).copied().unwrap_or(head);
            if let Some(now) = renames.hashes.get(&said) {
                self.heads.insert(head, *now);
            }
        }
        for (actor, seq) in &renames.from {
            self.from.entry(actor.clone()).or_insert(*seq);
        }
        self.ahead += renames.fewer.get(document.get_actor()).copied().unwrap_or_default();
        self.said.retain(|hash, _| !renames.replaced.contains(hash));
        self.said.extend(renames.changes.iter().map(|change| (change.hash(), change.clone())));
    }

    /// Says a change that was just made here as others shall know it.
    pub(super) fn publish(&mut self, change: &Change) -> Result<Change, ApplyReason> {
        let said = renamed(change.decode(), &self.heads, self.ahead)?;
        self.heads = BTreeMap::from([(change.hash(), said.hash())]);
        self.from.entry(change.actor_id().clone()).or_insert(change.seq());
        self.said.insert(said.hash(), said.clone());
        Ok(said)
    }

    /// Returns how a head is named.
    pub(super) fn head(&self, held: ChangeHash) -> ChangeHash {
        self.heads.get(&held).copied().unwrap_or(held)
    }

    /// Makes the document anew of what was said.
    pub(super) fn renew(&self, document: &Automerge, actor: Actor) -> Result<Automerge, ApplyReason> {
        guarded(|| {
            // What waits inside the library can not be taken out of it.
            if !document.get_missing_deps(&[]).is_empty() {
                return Err(ApplyReason::ReloadRequired);
            }
            let is_said = |change: &Change| self.from.get(change.actor_id()).is_none_or(|from| change.seq() < *from);
            let mut changes: Vec<Change> = document.get_changes(&[]).into_iter().filter(is_said).collect();
            changes.extend(self.said.values().cloned());
            let mut renewed = Automerge::new_with_encoding(TextEncoding::Utf16CodeUnit).with_actor(actor_id(actor));
            renewed.apply_changes(changes).map_err(|_| ApplyReason::Refused)?;
            let (mut held, mut now) = (document.get_heads(), renewed.get_heads());
            held.iter_mut().for_each(|head| *head = self.head(*head));
            held.sort_unstable();
            now.sort_unstable();
            if held == now { Ok(renewed) } else { Err(ApplyReason::ReloadRequired) }
        })?
    }
}

/// Bytes of changes that become one: no more than what one entry carries.
const RUN_BYTES_MAX: usize = 512 << 10;

/// Operations of one folded change: half of what a change may announce whatever its size.
const RUN_OPERATIONS_MAX: usize = 1 << 20;
