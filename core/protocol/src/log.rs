//! The relay's log head: an append-only Merkle tree over item hashes, in the shape of RFC 9162 §2.1.
//!
//! `R_n = H("log-head", R_0, n, MTH(items 1..n))` and `R_0 = H("log-origin", relay, log_id,
//! workspace)`, so a head names its relay, its history and its length.
//!
//! Invariant: a [`Frontier`] holds the roots of the full subtrees to the left, one for each set bit
//! of its length, so appending and computing the head cost O(log n) and nothing else is kept.

use crate::bytes::{DecodeError, Reader};
use crate::hash::{Digest, hash, sha256};
use crate::ids::{LogId, RelayId, WorkspaceId};
use crate::item::name::ItemHash;
use crate::limits::POSITION_MAX;

/// The compact form of a log's Merkle tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    length: u64,
    /// Roots of full subtrees, the largest (leftmost) first.
    roots: Vec<Digest>,
}

impl Frontier {
    /// Starts an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self { length: 0, roots: Vec::new() }
    }

    /// Returns how many items it covers; also the position of the last one.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends one item.
    pub fn append(&mut self, item: &ItemHash) {
        self.push(leaf(item), 0);
    }

    /// Appends a run of items of which only the roots are known, as [`roots_of`] makes them.
    ///
    /// # Errors
    /// [`DecodeError`] if there are more or fewer roots than such a run has; nothing was appended then.
    pub fn append_run(&mut self, count: u64, roots: &[Digest]) -> Result<(), DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid { field: "roots of a run" };
        let end = self.length.checked_add(count).filter(|end| *end <= POSITION_MAX).ok_or(INVALID)?;
        let mut grown = self.clone();
        for root in roots {
            let height = height_at(grown.length, end).ok_or(INVALID)?;
            grown.push(*root, height);
        }
        if grown.length != end {
            return Err(INVALID);
        }
        *self = grown;
        Ok(())
    }

    /// Appends a full subtree of so many levels, whose size divides the length.
    fn push(&mut self, mut node: Digest, height: u32) {
        let mut full = self.length >> height;
        while full & 1 == 1 {
            if let Some(left) = self.roots.pop() {
                node = parent(&left, &node);
            }
            full >>= 1;
        }
        self.roots.push(node);
        self.length += 1 << height;
    }

    /// Returns the Merkle tree head over the items, as RFC 9162 §2.1.1 defines it.
    #[must_use]
    pub fn tree_head(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        match roots.next() {
            None => sha256(&[]),
            Some(last) => roots.fold(*last, |right, left| parent(left, &right)),
        }
    }

    /// Returns `R_n`.
    #[must_use]
    pub fn head(&self, origin: &LogOrigin) -> Digest {
        hash("log-head", &[&origin.0, &self.length.to_be_bytes(), &self.tree_head()])
    }

    /// Writes length and roots.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.length.to_be_bytes().to_vec();
        for root in &self.roots {
            out.extend_from_slice(root);
        }
        out
    }

    /// Reads length and roots.
    ///
    /// # Errors
    /// [`DecodeError`] if there is not one root for each set bit of the length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let length = reader.position()?;
        let mut roots = Vec::new();
        for _ in 0..length.count_ones() {
            roots.push(reader.array()?);
        }
        reader.finish()?;
        Ok(Self { length, roots })
    }
}

/// Returns the roots of the full subtrees that a run of items makes behind so many others, from left to right: as few as
/// there can be, at most two for each level of the tree.
#[must_use]
pub fn roots_of(before: u64, items: &[ItemHash]) -> Vec<Digest> {
    let end = before + items.len() as u64;
    let (mut at, mut rest, mut roots) = (before, items, Vec::new());
    while let Some(height) = height_at(at, end) {
        let Some((tree, others)) = rest.split_at_checked(1 << height) else {
            break;
        };
        roots.push(root_of(tree));
        (at, rest) = (at + (1 << height), others);
    }
    roots
}

/// Returns the height of the largest subtree that begins behind so many items and does not reach beyond an end.
fn height_at(length: u64, end: u64) -> Option<u32> {
    let room = end.checked_sub(length).and_then(u64::checked_ilog2)?;
    Some(if length == 0 { room } else { length.trailing_zeros().min(room) })
}

/// Returns the root of as many items as a full subtree has.
fn root_of(items: &[ItemHash]) -> Digest {
    match items {
        [] => sha256(&[]),
        [item] => leaf(item),
        _ => {
            let (left, right) = items.split_at(items.len() / 2);
            parent(&root_of(left), &root_of(right))
        }
    }
}

fn leaf(item: &ItemHash) -> Digest {
    sha256(&[&[0], &item.to_leaf()])
}

fn parent(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[1], left, right])
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

/// `R_0`: what every head of one log is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOrigin(Digest);

impl LogOrigin {
    /// Binds relay, history and workspace.
    #[must_use]
    pub fn new(relay: &RelayId, log: &LogId, workspace: &WorkspaceId) -> Self {
        Self(hash("log-origin", &[relay.as_bytes(), log.as_bytes(), workspace.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EntryHash;

    fn item(n: u64) -> ItemHash {
        ItemHash::Entry(EntryHash::from_bytes(hash("test", &[&n.to_be_bytes()])))
    }

    /// RFC 9162 §2.1.1, word by word and slow.
    fn tree_head_by_definition(leaves: &[[u8; 33]]) -> Digest {
        match leaves {
            [] => sha256(&[]),
            [leaf] => sha256(&[&[0], leaf]),
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(k);
                sha256(&[&[1], &tree_head_by_definition(left), &tree_head_by_definition(right)])
            }
        }
    }

    #[test]
    fn the_frontier_agrees_with_the_definition_at_every_length() {
        let mut frontier = Frontier::new();
        let mut leaves = Vec::new();
        for n in 0..130 {
            assert_eq!(frontier.tree_head(), tree_head_by_definition(&leaves), "length {n}");
            assert_eq!(Frontier::decode(&frontier.encode()), Ok(frontier.clone()));
            frontier.append(&item(n));
            leaves.push(item(n).to_leaf());
        }
    }

    #[test]
    fn a_run_of_which_only_the_roots_are_known_leads_to_the_same_head_wherever_it_begins() {
        let items: Vec<ItemHash> = (0..70).map(item).collect();
        for before in 0..items.len() {
            for end in before..=items.len() {
                let mut whole = Frontier::new();
                items[..end].iter().for_each(|item| whole.append(item));
                let mut by_roots = Frontier::new();
                items[..before].iter().for_each(|item| by_roots.append(item));
                let (count, roots) = ((end - before) as u64, roots_of(before as u64, &items[before..end]));
                assert!(roots.len() <= 13, "{before} to {end}: {}", roots.len());
                let unchanged = by_roots.clone();
                let more = [roots.clone(), vec![[7; 32]]].concat();
                assert!(by_roots.append_run(count, &more).is_err());
                assert!(by_roots.append_run(u64::MAX, &roots).is_err());
                assert!(roots.is_empty() || by_roots.append_run(count, &roots[1..]).is_err());
                assert_eq!(by_roots, unchanged, "nothing was appended");
                by_roots.append_run(count, &roots).expect("its own roots");
                assert_eq!(by_roots, whole, "{before} to {end}");
            }
        }
    }

    #[test]
    fn a_head_names_its_relay_its_history_and_its_length() {
        let origin = |relay, log| {
            LogOrigin::new(
                &RelayId::from_bytes([relay; 32]),
                &LogId::from_bytes([log; 16]),
                &WorkspaceId::from_bytes([3; 32]),
            )
        };
        let mut frontier = Frontier::new();
        frontier.append(&item(1));
        let head = frontier.head(&origin(1, 2));
        assert_ne!(head, frontier.head(&origin(2, 2)));
        assert_ne!(head, frontier.head(&origin(1, 1)));
        frontier.append(&item(2));
        assert_ne!(head, frontier.head(&origin(1, 2)));
    }
}
