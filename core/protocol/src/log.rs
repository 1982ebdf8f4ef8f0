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
use crate::item::ItemHash;

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
        let mut node = sha256(&[&[0], &item.to_leaf()]);
        let mut full = self.length;
        while full & 1 == 1 {
            if let Some(left) = self.roots.pop() {
                node = sha256(&[&[1], &left, &node]);
            }
            full >>= 1;
        }
        self.roots.push(node);
        self.length += 1;
    }

    /// Returns the Merkle tree head over the items, as RFC 9162 §2.1.1 defines it.
    #[must_use]
    pub fn tree_head(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        match roots.next() {
            None => sha256(&[]),
            Some(last) => roots.fold(*last, |right, left| sha256(&[&[1], left, &right])),
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
