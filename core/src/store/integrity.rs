//! The check that SQLite's own can not do: every stored value carries a hash, a tag or a signature, or
//! is said twice, and is asked for it.
//!
//! Sealed values are opened here; what rests in the clear is compared in `integrity/plain.rs`, and what
//! one column says of another row in `queries.sql`.
//!
//! Invariant: nothing is changed; a damaged row is reported and left for the engine to fetch again.

mod plain;

use tombolo_protocol::ids::{EntryHash, Stream};

use super::pending::open_pending;
use super::saved::open_saved;
use super::sql::sql;
use super::{Store, StoreError, Tx};

/// What an integrity check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegrityReport {
    /// Entries that were read and hashed.
    pub entries: u64,
    /// Entries whose bytes no longer have the hash they were stored under, or whose signature is not
    /// their author's any more, with none behind them that proves them.
    pub damaged_entries: Vec<EntryHash>,
    /// Entries whose own signature does not fit and which a later one of their chain proves: so they came, or
    /// the disk has changed nothing but that. They are whole, so this is no damage.
    pub proven_by_later: Vec<EntryHash>,
    /// Sealed values (names, secrets, records, pending changes) that were opened.
    pub sealed_values: u64,
    /// Tables that hold a sealed value which no longer opens, or contradict the others.
    pub damaged_tables: Vec<&'static str>,
    /// What SQLite's own check complains about; empty if it is content.
    pub sqlite: Vec<String>,
}

impl IntegrityReport {
    /// Tells whether everything is as it was stored.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged_entries.is_empty() && self.damaged_tables.is_empty() && self.sqlite.is_empty()
    }
}

/// The sealed columns: table, column, and the SQL that gives key and value.
const SEALED: [(&str, &str, &str); 9] = [
    ("meta", "value", "SELECT CAST(key AS BLOB), value FROM meta"),
    ("workspace", "name", "SELECT id, name_sealed FROM workspace WHERE name_sealed IS NOT NULL"),
    ("workspace", "join", "SELECT id, join_sealed FROM workspace WHERE join_sealed IS NOT NULL"),
    ("workspace", "blinding", "SELECT id, blinding_sealed FROM workspace WHERE blinding_sealed IS NOT NULL"),
    ("workspace", "life", "SELECT id, life_sealed FROM workspace WHERE life_sealed IS NOT NULL"),
    ("record", "bytes", "SELECT id, bytes_sealed FROM record"),
    ("epoch", "secret", "SELECT id, secret_sealed FROM epoch"),
    ("document", "about", "SELECT id, about_sealed FROM document WHERE about_sealed IS NOT NULL"),
    ("relay", "token", "SELECT CAST(address AS BLOB), token_sealed FROM relay WHERE token_sealed IS NOT NULL"),
];

/// Statements that count the rows of a table which contradict others.
const CONTRADICTIONS: [(&str, &str); 8] = [
    ("workspace", sql!("strange_workspaces")),
    ("chain", sql!("strange_chains")),
    ("entry", sql!("strange_entries")),
    ("dependency", sql!("strange_dependencies")),
    ("placed", sql!("strange_placed")),
    ("owed", sql!("strange_owed")),
    ("declaration", sql!("strange_declarations")),
    ("saved", sql!("strange_saved")),
];

impl Store {
    /// Reads every value and compares it with its hash or tag.
    ///
    /// # Errors
    /// [`StoreError`] if the file can not be read at all.
    pub fn integrity(&self) -> Result<IntegrityReport, StoreError> {
        let mut report = IntegrityReport::default();
        let mut check = self.connection.prepare("PRAGMA integrity_check")?;
        for line in check.query_map([], |row| row.get::<_, String>(0))? {
            let line = line?;
            if line != "ok" {
                report.sqlite.push(line);
            }
        }
        let mut keys = self.connection.prepare("PRAGMA foreign_key_check")?;
        for table in keys.query_map([], |row| row.get::<_, String>(0))? {
            report.sqlite.push(format!("a row of {} refers to nothing", table?));
        }
        for (table, column, query) in SEALED {
            self.check_sealed(table, column, query, &mut report)?;
        }
        self.check_pending(&mut report)?;
        self.check_saved(&mut report)?;
        for (table, query) in CONTRADICTIONS {
            let strange: i64 = self.connection.query_row(query, [], |row| row.get(0))?;
            report.judge(table, strange == 0);
        }
        let transaction = self.connection.unchecked_transaction()?;
        let changes = transaction.total_changes();
        let tx = Tx { transaction, cipher: &self.cipher, changes, full: &self.full };
        tx.check_plain(&mut report)?;
        Ok(report)
    }

    fn check_sealed(
        &self,
        table: &'static str,
        column: &'static str,
        query: &str,
        report: &mut IntegrityReport,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            report.sealed_values += 1;
            let (key, sealed): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            report.judge(table, self.cipher.open(table, column, &key, &sealed).is_ok());
        }
        Ok(())
    }

    fn check_pending(&self, report: &mut IntegrityReport) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql!("all_pending"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            report.sealed_values += 1;
            let (stream, instance): (i64, i64) = (row.get(1)?, row.get(2)?);
            let place = u8::try_from(stream).map(|stream| {
                Ok::<_, rusqlite::Error>((row.get(0)?, Stream(stream), instance.cast_unsigned(), row.get(3)?))
            });
            let sealed: Vec<u8> = row.get(4)?;
            let opens = match place {
                Ok(place) => open_pending(&self.cipher, place?, &sealed).is_some(),
                Err(_) => false,
            };
            report.judge("pending", opens);
        }
        Ok(())
    }

    fn check_saved(&self, report: &mut IntegrityReport) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql!("all_saved"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            report.sealed_values += 1;
            let place = (row.get(0)?, row.get(1)?, row.get(2)?);
            let sealed: Vec<u8> = row.get(3)?;
            report.judge("saved", open_saved(&self.cipher, place, &sealed).is_some());
        }
        Ok(())
    }
}

impl IntegrityReport {
    fn judge(&mut self, table: &'static str, sound: bool) {
        if !sound && !self.damaged_tables.contains(&table) {
            self.damaged_tables.push(table);
        }
    }
}
