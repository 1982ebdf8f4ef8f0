//! Every column of the store, one bit at a time: found by the check, or harmless by construction.

use std::fs;
use std::path::Path;

use rusqlite::types::Value as Cell;
use tombolo::document::Crdt;
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::record::Role;
use tombolo::{Error, Milestone, Replica, StoreError};

use crate::support::{beside, founded, noted, open_file, open_store, relay_until, soon, text, write};

/// Columns whose flipped bits the check need not find, and why they do no harm.
const HARMLESS: [(&str, &str, &str); 20] = [
    ("entry", "arrival", "only the order of work, and every CRDT takes it in any order"),
    ("entry", "state", "between stored and proven: a look too many, or one too few before a guarded build"),
    ("held", "held", "only a number"),
    ("held", "reason", "the entry waits for the other event, and is judged anew then; it stays owed"),
    ("held", "since_ms", "only shown"),
    ("quarantine", "quarantine", "only a number"),
    ("quarantine", "reason", "only shown"),
    ("quarantine", "since_ms", "only shown"),
    ("relay", "address", "an address that answers nobody; the app names the right one again"),
    ("relay", "allow_proxy", "the relay says whether it stands behind a proxy, and is refused"),
    ("placed", "seq", "within the chain: sent again, or refused as a gap and corrected"),
    ("placed", "position", "a milestone of others comes sooner or later; nothing is sent by it"),
    ("agreed", "position", "the same"),
    ("agreed", "device", "that device's milestone comes later"),
    ("owed", "relay", "it contradicts the rest, and is made anew when the store is opened"),
    ("owed", "workspace", "the same"),
    ("owed", "chain", "the same"),
    ("declaration", "position", "what refers to it does not fit, and the log is compared anew"),
    ("log", "frontier", "the head does not fit, and the log is compared anew"),
    ("placed_record", "hash", "a record that is sent once more"),
];
/// Numbers of rows: SQLite's own, which every reference to them follows.
const ROWS: [&str; 6] = ["workspace", "record", "document", "chain", "relay", "log"];
/// What makes the device itself: nothing can stand in for it, so the store does not open, and says why.
const DEVICE: &str = "meta";

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_in_any_column_is_found_or_harmless_and_the_other_documents_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (one, two) = full_store(folder.path(), &path).await;
    let report = open_store(&path).unwrap().integrity().unwrap();
    assert!(report.is_sound(), "{report:?}");
    let (mut flipped, mut complaints) = (0, Vec::new());
    for (table, column) in columns(&path) {
        for bit in [0, 4] {
            let copy = folder.path().join(format!("{table}.{column}.{bit}"));
            for ending in ["", ".key", ".lock"] {
                fs::copy(beside(&path, ending), beside(&copy, ending)).unwrap();
            }
            if !flip_one(&copy, &table, &column, bit) {
                continue;
            }
            flipped += 1;
            complaints.extend(judge(&copy, (&table, &column), [one, two]).await.map(|what| (copy, what)));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(flipped > 100, "{flipped}");
}

/// Opens a store with one flipped bit: it is read, and the check names it; else returns what is wrong.
async fn judge(path: &Path, at: (&str, &str), documents: [DocumentId; 2]) -> Option<String> {
    let replica = match Replica::open(path).await {
        Ok(replica) => replica,
        Err(Error::Store(StoreError::Corrupt { table: DEVICE } | StoreError::WrongKey)) if at.0 == DEVICE => {
            return None;
        }
        Err(other) => return Some(format!("does not open: {other:?}")),
    };
    let mut read = Vec::new();
    for document in documents {
        read.push(text(&replica.document(document)).await);
    }
    let closed = replica.close().await;
    let whole = read.iter().any(|read| read.as_deref().is_ok_and(|text| text == "more one"));
    let typed =
        |error: &Error| matches!(error, Error::Damaged | Error::NoDocument(_) | Error::NotReady | Error::Document(_));
    if closed.is_err() || !whole || !read.iter().all(|read| read.as_ref().err().is_none_or(typed)) {
        return Some(format!("{closed:?}, {read:?}"));
    }
    let report = open_store(path).map(|store| store.integrity().unwrap());
    let harmless = at.0 == DEVICE || HARMLESS.iter().any(|(table, column, _)| at == (*table, *column));
    let found = report.as_ref().is_ok_and(|report| !report.is_sound());
    (!found && !harmless).then(|| format!("not found: {report:?}"))
}

/// Flips one bit of the first value of a column; false where there is none, or SQLite does not allow it.
fn flip_one(path: &Path, table: &str, column: &str, bit: u32) -> bool {
    let file = open_file(path);
    let query = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL LIMIT 1");
    let Ok(old) = file.query_row(&query, [], |row| row.get::<_, Cell>(0)) else {
        return false;
    };
    let new = match old.clone() {
        Cell::Integer(number) => Cell::Integer(number ^ (1 << bit)),
        Cell::Blob(mut bytes) => {
            let at = bytes.len() * bit as usize / 5;
            let Some(byte) = bytes.get_mut(at) else { return false };
            *byte ^= 1 << bit;
            Cell::Blob(bytes)
        }
        Cell::Text(text) => {
            let mut bytes = text.into_bytes();
            bytes[0] ^= 1 << bit;
            Cell::Text(String::from_utf8(bytes).unwrap())
        }
        Cell::Null | Cell::Real(_) => return false,
    };
    let rowid = file.prepare(&format!("SELECT rowid FROM {table}")).is_ok();
    let first = format!("AND rowid = (SELECT rowid FROM {table} WHERE {column} IS ?2 LIMIT 1)");
    let only = if rowid { first.as_str() } else { "" };
    let update = format!("UPDATE OR IGNORE {table} SET {column} = ?1 WHERE {column} IS ?2 {only}");
    file.pragma_update(None, "foreign_keys", false).unwrap();
    file.execute(&update, (new, old)).unwrap() > 0
}

/// All tables and columns but the numbers of rows.
fn columns(path: &Path) -> Vec<(String, String)> {
    let file = open_file(path);
    let query = "SELECT m.name, c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, 2";
    let mut statement = file.prepare(query).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let rows = rows.map(Result::unwrap);
    rows.filter(|(table, column)| !(table == column && ROWS.contains(&table.as_str()))).collect()
}

/// A closed store with something in every table: two members, a note each, changes that were not sent,
/// an entry that waits and one that was set aside.
async fn full_store(folder: &Path, path: &Path) -> (DocumentId, DocumentId) {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let address = relay_until(folder, async { drop(ended.await) }).await;
    let (alice, workspace) = founded(path, &address).await;
    let bob = Replica::open(folder.join("bob")).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let theirs = bob.join(&invite).await.unwrap();
    soon("a member", theirs.ready()).await.unwrap();
    let one = noted(&workspace, Crdt::Automerge, "one").await;
    soon("durable", one.wait_for(Milestone::RelayDurable)).await.unwrap();
    let two = noted(&theirs, Crdt::Yrs, "one").await;
    soon("durable", two.wait_for(Milestone::RelayDurable)).await.unwrap();
    write(&two, "more ").await.unwrap();
    soon("durable", two.wait_for(Milestone::RelayDurable)).await.unwrap();
    soon("settled", workspace.settled()).await.unwrap();
    let bobs = bob.identity().await.unwrap().0;
    soon("seen", one.seen_by(bobs)).await.unwrap();
    alice.close().await.unwrap();
    let alice = Replica::builder(path).tail_entries(1).open().await.unwrap();
    alice.pause().await.unwrap();
    // What is opened is saved as well, with the next change.
    assert_eq!(text(&alice.document(two.id())).await.unwrap(), "more one");
    write(&alice.document(one.id()), "more ").await.unwrap();
    alice.close().await.unwrap();
    bob.close().await.unwrap();
    end.send(()).unwrap();
    let file = open_file(path);
    // A relay that was never reached is owed everything.
    file.execute("INSERT INTO relay (address, allow_proxy) VALUES ('wss://127.0.0.1:9', 0)", []).unwrap();
    for table in ["saved", "owed"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert!(file.query_row(&count, [], |row| row.get::<_, u32>(0)).unwrap() > 0, "{table}");
    }
    // What waits and what is set aside hold whole entries: copies of one that is there.
    let tables = [("held", "chain.id", "chain", 4), ("quarantine", "chain.device", "device", 14)];
    for (table, value, column, reason) in tables {
        let insert = format!(
            "INSERT INTO {table} (workspace, document, {column}, seq, hash, reason, since_ms, bytes)
             SELECT chain.workspace, tag, {value}, entry.seq, entry.hash, {reason}, 7, entry.bytes
             FROM entry JOIN chain USING (chain) JOIN document USING (document) LIMIT 1"
        );
        assert_eq!(file.execute(&insert, []).unwrap(), 1);
    }
    (one.id(), two.id())
}
