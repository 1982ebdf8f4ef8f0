//! Which of several concurrent acts do not count, because a removal struck their author.
//!
//! The same rules serve a user's devices and a workspace's members: removals are looked at by rank; a
//! removal of a higher rank voids what its subject did concurrently, removals included; within one rank
//! all removals apply; what rests on a void act is void.
//!
//! Invariant: the outcome is a function of the acts and their order, which the caller makes canonical.

use std::collections::BTreeSet;

/// One signed statement, as far as voiding goes. Acts are named by their place in topological order.
#[derive(Clone, Debug)]
pub(crate) struct Act<T> {
    /// Places of the acts it stands on.
    pub(crate) parents: Vec<usize>,
    /// How its removals rank.
    pub(crate) rank: u8,
    /// Who makes it, and what it makes use of: a removal of any of these strikes it.
    pub(crate) by: Vec<T>,
    /// The least standing its author must have; a removal that leaves as much does not strike it.
    pub(crate) needs: u8,
    /// Whom or what it removes, and the standing that it leaves them.
    pub(crate) removes: Vec<(T, u8)>,
    /// Places of the acts from which its author had the right.
    pub(crate) rests_on: Vec<usize>,
}

/// Returns the places of the acts that do not count; `forced` ones never do.
pub(crate) fn void<T: Ord>(acts: &[Act<T>], forced: &BTreeSet<usize>) -> BTreeSet<usize> {
    let removals: Vec<Removal> = removals(acts);
    let ranks: BTreeSet<u8> = removals.iter().map(|removal| removal.rank).collect();
    let mut void = close(acts, forced.clone());
    for rank in ranks.into_iter().rev() {
        let mut here: Vec<&Removal> =
            removals.iter().filter(|removal| removal.rank == rank && !void.contains(&removal.at)).collect();
        loop {
            let struck = here.iter().flat_map(|removal| &removal.strikes);
            let now = close(acts, void.iter().chain(struck).copied().collect());
            let Some(groundless) = here.iter().position(|removal| now.contains(&removal.at)) else {
                void = now;
                break;
            };
            void.insert(here.remove(groundless).at);
        }
    }
    void
}

/// A removal with what it voids by itself.
struct Removal {
    at: usize,
    rank: u8,
    strikes: BTreeSet<usize>,
}

fn removals<T: Ord>(acts: &[Act<T>]) -> Vec<Removal> {
    let removes = acts.iter().enumerate().filter(|(_, act)| act.is_removal());
    removes.map(|(at, act)| Removal { at, rank: act.rank, strikes: strikes(acts, at, act) }).collect()
}

impl<T: Ord> Act<T> {
    fn is_removal(&self) -> bool {
        !self.removes.is_empty()
    }

    /// Tells whether this removal, concurrent with an act, would void it.
    fn strikes(&self, act: &Self) -> bool {
        let stands = act.is_removal() && act.rank >= self.rank;
        !stands && self.removes.iter().any(|(target, floor)| act.by.contains(target) && *floor < act.needs)
    }
}

fn strikes<T: Ord>(acts: &[Act<T>], at: usize, removal: &Act<T>) -> BTreeSet<usize> {
    let (below, above) = (ancestors(acts, at), descendants(acts, at));
    let concurrent = |other: &usize| *other != at && !below.contains(other) && !above.contains(other);
    let struck = acts.iter().enumerate().filter(|(other, act)| concurrent(other) && removal.strikes(act));
    struck.map(|(other, _)| other).collect()
}

fn ancestors<T>(acts: &[Act<T>], at: usize) -> BTreeSet<usize> {
    let mut below = BTreeSet::new();
    let mut open = vec![at];
    while let Some(at) = open.pop() {
        let parents = acts.get(at).into_iter().flat_map(|act| &act.parents);
        open.extend(parents.copied().filter(|parent| below.insert(*parent)));
    }
    below
}

fn descendants<T>(acts: &[Act<T>], at: usize) -> BTreeSet<usize> {
    let mut above = BTreeSet::new();
    for (other, act) in acts.iter().enumerate().skip(at) {
        if act.parents.iter().any(|parent| *parent == at || above.contains(parent)) {
            above.insert(other);
        }
    }
    above
}

/// Adds whatever rests on a void act.
fn close<T>(acts: &[Act<T>], mut void: BTreeSet<usize>) -> BTreeSet<usize> {
    for (at, act) in acts.iter().enumerate() {
        if act.rests_on.iter().any(|support| void.contains(support)) {
            void.insert(at);
        }
    }
    void
}
