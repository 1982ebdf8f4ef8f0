//! Writing rows anew that have become small, side by side: SQLite frees a page only when nothing is left on it, and the
//! rows of a log come in ascending order, so none ever fills the gaps of others.
//!
//! Invariant: what the rows say stays, and all of it happens in the transaction that made them small.

use rusqlite::Transaction;

/// Rows that are taken out at once.
const ROWS_AT_ONCE: i64 = 4096;

/// Packs the rows from one place to another.
pub(super) fn pack(transaction: &Transaction<'_>, first: i64, last: i64) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("../sql/packed_make.sql"))?;
    let mut from = first;
    while from <= last {
        transaction.prepare_cached(include_str!("../sql/packed_take.sql"))?.execute((from, last, ROWS_AT_ONCE))?;
        let mut taken = transaction.prepare_cached(include_str!("../sql/packed_last.sql"))?;
        let Some(taken) = taken.query_row([], |row| row.get::<_, Option<i64>>(0))? else {
            break;
        };
        transaction.prepare_cached(include_str!("../sql/item_delete.sql"))?.execute((from, taken))?;
        transaction.prepare_cached(include_str!("../sql/packed_give.sql"))?.execute([])?;
        transaction.prepare_cached(include_str!("../sql/packed_clear.sql"))?.execute([])?;
        from = taken + 1;
    }
    Ok(())
}
