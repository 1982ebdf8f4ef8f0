//! The check that SQLite's own can not do: every stored value carries a hash or a tag, and is asked for it.
//!
//! Invariant: nothing is changed; a damaged row is reported and left for the engine to fetch again.

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::EntryHash;

use super::sql::sql;
use super::{Store, StoreError, exact};

/// What an integrity check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegrityReport {
    /// Entries that were read and hashed.
    pub entries: u64,
    /// Entries whose bytes no longer have the hash they were stored under.
    pub damaged_entries: Vec<EntryHash>,
    /// Sealed values (names, secrets, records, pending changes) that were opened.
    pub sealed_values: u64,
    /// Tables that hold a sealed value which no longer opens.
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
const SEALED: [(&str, &str, &str); 8] = [
    ("meta", "value", "SELECT CAST(key AS BLOB), value FROM meta"),
    ("workspace", "name", "SELECT id, name_sealed FROM workspace WHERE name_sealed IS NOT NULL"),
    ("workspace", "join", "SELECT id, join_sealed FROM workspace WHERE join_sealed IS NOT NULL"),
    ("workspace", "blinding", "SELECT id, blinding_sealed FROM workspace WHERE blinding_sealed IS NOT NULL"),
    ("record", "bytes", "SELECT id, bytes_sealed FROM record"),
    ("epoch", "secret", "SELECT id, secret_sealed FROM epoch"),
    ("document", "about", "SELECT id, about_sealed FROM document WHERE about_sealed IS NOT NULL"),
    ("pending", "change", "SELECT document, change_sealed FROM pending"),
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
        self.check_entries(&mut report)?;
        for (table, column, query) in SEALED {
            self.check_sealed(table, column, query, &mut report)?;
        }
        Ok(report)
    }

    fn check_entries(&self, report: &mut IntegrityReport) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql!("all_entries"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            report.entries += 1;
            let hash = EntryHash::from_bytes(exact("entry", row.get(2)?)?);
            let bytes: Vec<u8> = row.get(3)?;
            if Entry::decode(&bytes).map(|entry| entry.hash()) != Ok(hash) {
                report.damaged_entries.push(hash);
            }
        }
        Ok(())
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
            let key = match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_be_bytes().to_vec(),
                other => other.as_bytes().map(<[u8]>::to_vec).map_err(|_| StoreError::Corrupt { table })?,
            };
            let sealed: Vec<u8> = row.get(1)?;
            if self.cipher.open(table, column, &key, &sealed).is_err() && !report.damaged_tables.contains(&table) {
                report.damaged_tables.push(table);
            }
        }
        Ok(())
    }
}
