//! Second branches of chains, as rows: each is a chain of its own that begins behind a seq of another one.
//!
//! Invariant: a chain has one second branch at most, and a branch has none.

use tombolo_protocol::ids::{ChainKey, EntryHash, RecordId};

use super::sql::sql;
use super::{StoreError, Tx};

/// A second branch of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) row: i64,
    /// The chain that it is a branch of, which holds what both have in common.
    pub(crate) of: i64,
    /// The last seq that both have in common.
    pub(crate) floor_seq: u64,
    pub(crate) document: i64,
}

impl Branch {
    /// Returns the row of the other branch.
    pub(crate) fn sibling(&self, chain: i64) -> i64 {
        if chain == self.row { self.of } else { self.row }
    }
}

impl Tx<'_> {
    /// Stores the beginning of a second branch; `key` is that of the chain.
    pub(crate) fn insert_branch(
        &self,
        workspace: i64,
        key: &ChainKey,
        head: (u64, EntryHash, RecordId),
        of: (i64, i64),
    ) -> Result<Branch, StoreError> {
        let (document, chain) = of;
        let (key, floor_seq) = (key.branch(), head.0.saturating_sub(1));
        let mut statement = self.transaction.prepare_cached(sql!("insert_branch"))?;
        let row = statement.insert((
            workspace,
            document,
            key.stream.0,
            key.device.as_bytes(),
            key.incarnation.0.cast_signed(),
            key.id().as_bytes(),
            head.0.cast_signed(),
            head.1.as_bytes(),
            head.2.as_bytes(),
            chain,
            floor_seq.cast_signed(),
        ))?;
        Ok(Branch { row, of: chain, floor_seq, document })
    }

    /// Returns the second branches of a workspace's chains.
    pub(crate) fn branches(&self, workspace: i64) -> Result<Vec<Branch>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("branches"))?;
        let rows = statement.query_map([workspace], |row| {
            let floor_seq = row.get::<_, i64>(2)?.cast_unsigned();
            Ok(Branch { row: row.get(0)?, of: row.get(1)?, floor_seq, document: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
