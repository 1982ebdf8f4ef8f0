//! What relays lack of what this device has, as rows.
//!
//! Invariant: `owed` names a chain for a relay if and only if that relay's log holds less of it than this device. Triggers
//! keep it so (`migrations/007_owed.sql`), whoever writes a chain or a place: what it costs to ask follows what is owed, not
//! how many chains there are.

use std::ops::ControlFlow;

use tombolo_protocol::ids::DeviceId;

use super::sql::sql;
use super::{StoreError, Tx};

/// A chain that a log holds less of than we do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unplaced {
    pub(crate) chain: i64,
    pub(crate) placed_seq: u64,
    /// The last entry that is owed: of other devices' work what was set aside here is not.
    pub(crate) owed_seq: u64,
}

impl Unplaced {
    /// Returns how many entries are owed to the log.
    pub(crate) fn owed(&self) -> u64 {
        self.owed_seq.saturating_sub(self.placed_seq)
    }
}

impl Tx<'_> {
    /// Returns the chains of a workspace that a relay's log holds less of than this device, which is `own`: all of them,
    /// where no relay is known.
    pub(crate) fn unplaced_chains(
        &self,
        relay: Option<i64>,
        workspace: i64,
        own: &DeviceId,
    ) -> Result<Vec<Unplaced>, StoreError> {
        let mut unplaced = Vec::new();
        self.each_unplaced(relay, workspace, own, |chain| {
            unplaced.push(chain);
            ControlFlow::Continue(())
        })?;
        Ok(unplaced)
    }

    /// Tells whether any entry of a workspace is owed to a relay, without looking for more than one.
    pub(crate) fn owes_any(&self, relay: i64, workspace: i64, own: &DeviceId) -> Result<bool, StoreError> {
        let mut owes = false;
        self.each_unplaced(Some(relay), workspace, own, |chain| {
            owes = chain.owed() > 0;
            if owes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(owes)
    }

    fn each_unplaced(
        &self,
        relay: Option<i64>,
        workspace: i64,
        own: &DeviceId,
        mut each: impl FnMut(Unplaced) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut statement = match relay {
            Some(_) => self.transaction.prepare_cached(sql!("unplaced_chains"))?,
            None => self.transaction.prepare_cached(sql!("all_chains"))?,
        };
        let mut rows = match relay {
            Some(relay) => statement.query((relay, workspace))?,
            None => statement.query([workspace])?,
        };
        while let Some(row) = rows.next()? {
            let (chain, placed_seq): (i64, i64) = (row.get(0)?, row.get(1)?);
            let head_seq: i64 = row.get(2)?;
            let is_own = row.get_ref(3)?.as_blob().is_ok_and(|device| device == own.as_bytes());
            let owed_seq = if is_own { head_seq } else { self.last_admitted(chain, placed_seq)? };
            let (placed_seq, owed_seq) = (placed_seq.cast_unsigned(), owed_seq.cast_unsigned());
            if each(Unplaced { chain, placed_seq, owed_seq }).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Returns the last entry of a chain behind this one that is not set aside; 0 if there is none.
    fn last_admitted(&self, chain: i64, after: i64) -> Result<i64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("last_admitted"))?;
        Ok(statement.query_row((chain, after), |row| row.get(0))?)
    }

    /// Makes the list of what is owed anew if the disk has changed it, and has room: no row of it may contradict the others.
    pub(crate) fn mend_owed(&self) -> Result<(), StoreError> {
        if self.room().is_err() {
            return Ok(());
        }
        let contradicts: bool =
            self.transaction.prepare_cached(sql!("contradicts_owed"))?.query_row([], |row| row.get(0))?;
        if contradicts {
            self.transaction.prepare_cached(sql!("forget_owed"))?.execute([])?;
            self.transaction.prepare_cached(sql!("find_owed"))?.execute([])?;
        }
        Ok(())
    }
}
