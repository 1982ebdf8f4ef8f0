//! The canonical order of entries that a snapshot covers.
//!
//! Entries come behind those of their chain that are before them, and behind those that they name; among the chains
//! that may go on the one of the lowest id does. What an entry names and is not among them counts as there.
//!
//! Invariant: the order is a function of the set of entries, not of their arrival; it costs about as many steps as
//! there are entries and dependencies.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::ids::ChainId;

/// What the order asks of an entry.
pub(super) struct Link {
    pub(super) chain: ChainId,
    pub(super) seq: u64,
    /// Chains, and up to which place of them it builds on.
    pub(super) deps: Vec<(ChainId, u64)>,
}

/// Returns the entries, by their index, in canonical order; `None` if they name each other in a circle.
pub(super) fn canonical(links: &[Link]) -> Option<Vec<usize>> {
    let mut chains: BTreeMap<ChainId, BTreeMap<u64, usize>> = BTreeMap::new();
    for (at, link) in links.iter().enumerate() {
        chains.entry(link.chain).or_default().insert(link.seq, at);
    }
    let places = chains.iter().map(|(chain, of)| (*chain, of.keys().copied().collect())).collect();
    let (done, waiting) = (BTreeMap::new(), BTreeMap::new());
    let mut order = Order { places, done, waiting, free: chains.keys().copied().collect() };
    let mut taken = Vec::with_capacity(links.len());
    while let Some(chain) = order.free.pop_first() {
        let Some((seq, at)) = chains.get(&chain).and_then(|of| of.first_key_value()).map(|(seq, at)| (*seq, *at))
        else {
            continue;
        };
        let deps = links.get(at).map(|link| link.deps.as_slice()).unwrap_or_default();
        if order.waits(chain, deps) {
            continue;
        }
        chains.get_mut(&chain)?.remove(&seq);
        taken.push(at);
        order.note(chain, seq);
        order.free.insert(chain);
    }
    (taken.len() == links.len()).then_some(taken)
}

/// How far each chain has come, and what may go on.
struct Order {
    /// All places of each chain that are to be ordered.
    places: BTreeMap<ChainId, BTreeSet<u64>>,
    done: BTreeMap<ChainId, u64>,
    /// Chains that wait for a place of another.
    waiting: BTreeMap<(ChainId, u64), Vec<ChainId>>,
    free: BTreeSet<ChainId>,
}

impl Order {
    /// Tells whether a chain must wait for another, and notes for which.
    fn waits(&mut self, chain: ChainId, deps: &[(ChainId, u64)]) -> bool {
        let lack = deps.iter().filter(|(other, _)| *other != chain).find_map(|(other, seq)| {
            let wanted = *self.places.get(other)?.range(..=seq).next_back()?;
            let done = self.done.get(other).copied().unwrap_or(0);
            (done < wanted).then_some((*other, wanted))
        });
        if let Some(lack) = lack {
            self.waiting.entry(lack).or_default().push(chain);
        }
        lack.is_some()
    }

    /// Notes that a chain has come to a place, which frees who waited for that.
    fn note(&mut self, chain: ChainId, seq: u64) {
        self.done.insert(chain, seq);
        let freed: Vec<_> = self.waiting.range((chain, 0)..=(chain, seq)).map(|(key, _)| *key).collect();
        for key in freed {
            self.free.extend(self.waiting.remove(&key).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(chain: u8, seq: u64, deps: &[(u8, u64)]) -> Link {
        let id = |name: u8| ChainId::from_bytes([name; 8]);
        Link { chain: id(chain), seq, deps: deps.iter().map(|(name, seq)| (id(*name), *seq)).collect() }
    }

    fn places(links: &[Link]) -> Option<Vec<(u8, u64)>> {
        let place = |at: usize| (links[at].chain.as_bytes()[0], links[at].seq);
        canonical(links).map(|order| order.into_iter().map(place).collect())
    }

    #[test]
    fn what_is_named_comes_first_and_else_the_lowest_chain() {
        let links = [link(1, 1, &[(2, 2)]), link(1, 2, &[]), link(2, 1, &[]), link(2, 2, &[]), link(2, 3, &[(1, 1)])];
        assert_eq!(places(&links).unwrap(), [(2, 1), (2, 2), (1, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let make = || {
            vec![
                link(3, 1, &[]),
                link(1, 1, &[(3, 1)]),
                link(2, 1, &[]),
                link(2, 2, &[(1, 1), (3, 1)]),
                link(3, 2, &[(2, 2)]),
                link(1, 2, &[]),
            ]
        };
        let first = places(&make()).unwrap();
        for turn in 1..6 {
            let mut links = make();
            links.rotate_left(turn);
            assert_eq!(places(&links).unwrap(), first);
            links.reverse();
            assert_eq!(places(&links).unwrap(), first);
        }
    }

    #[test]
    fn what_is_not_among_them_counts_as_there() {
        let links = [link(1, 5, &[(9, 4), (2, 100)]), link(2, 7, &[(1, 4)])];
        assert_eq!(places(&links).unwrap(), [(2, 7), (1, 5)]);
    }

    #[test]
    fn a_circle_has_no_order() {
        assert_eq!(places(&[link(1, 1, &[(2, 1)]), link(2, 1, &[(1, 1)])]), None);
    }
}
