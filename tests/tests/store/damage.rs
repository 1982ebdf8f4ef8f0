//! Disks that change what was stored.

use std::fs;
use std::path::Path;

use tombolo::document::Crdt;
use tombolo::protocol::ids::DocumentId;
use tombolo::{Error, Milestone, Replica, StoreError};

use crate::support::{flip, founded, last_entry, noted, open_file, open_store, relay, relay_until, soon, text, write};

/// The sealed columns: a value of each can be opened or is named by the check.
const SEALED: [(&str, &str); 6] = [
    ("workspace", "name_sealed"),
    ("workspace", "blinding_sealed"),
    ("record", "bytes_sealed"),
    ("document", "about_sealed"),
    ("pending", "change_sealed"),
    ("entry", "bytes"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_store_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    two_notes(folder.path(), &path).await;
    let report = open_store(&path).unwrap().integrity().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert!(report.entries >= 4 && report.sealed_values > 8, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_the_disk_changed_is_named_and_the_other_documents_go_on() {
    for place in [Place::Magic, Place::Header, Place::Content] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (damaged, healthy) = two_notes(folder.path(), &path).await;
        let (row, length) = last_entry(&path, 1);
        flip(&path, "entry", "bytes", row, place.offset(length));
        let report = open_store(&path).unwrap().integrity().unwrap();
        assert_eq!(report.damaged_entries.len(), 1, "{place:?}: {report:?}");
        assert!(report.damaged_tables.is_empty(), "{place:?}: {report:?}");
        let replica = Replica::open(&path).await.unwrap();
        match text(&replica.document(damaged)).await {
            Ok(text) => assert!(["", "one", "more one"].contains(&text.as_str()), "{place:?}: {text}"),
            Err(Error::Document(_) | Error::Store(StoreError::Corrupt { table: "entry" })) => {}
            Err(other) => panic!("{place:?}: {other:?}"),
        }
        assert_eq!(text(&replica.document(healthy)).await.unwrap(), "more two", "{place:?}");
        write(&replica.document(healthy), "even ").await.unwrap();
        assert_eq!(text(&replica.document(healthy)).await.unwrap(), "even more two", "{place:?}");
        replica.close().await.unwrap();
        assert!(path.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_the_disk_changed_is_named_though_no_hash_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (damaged, _) = two_notes(folder.path(), &path).await;
    let (row, length) = last_entry(&path, 1);
    flip(&path, "entry", "bytes", row, length - 1);
    let report = open_store(&path).unwrap().integrity().unwrap();
    assert!(report.damaged_entries.len() == 1 && report.damaged_tables.is_empty(), "{report:?}");
    let replica = Replica::open(&path).await.unwrap();
    assert_eq!(text(&replica.document(damaged)).await.unwrap(), "more one", "what it says is whole");
    replica.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_still_of_use_to_a_store_with_a_damaged_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (_, healthy) = two_notes(folder.path(), &path).await;
    let (row, length) = last_entry(&path, 1);
    flip(&path, "entry", "bytes", row, Place::Magic.offset(length));
    let address = relay(&folder.path().join("another")).await;
    let replica = Replica::open(&path).await.unwrap();
    write(&replica.document(healthy), "even ").await.unwrap();
    replica.dial(&address).await.unwrap();
    soon("durable", replica.document(healthy).wait_for(Milestone::RelayDurable)).await.unwrap();
    replica.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_value_that_the_disk_changed_is_named_and_never_blanked() {
    for (table, column) in SEALED {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (one, two) = two_notes(folder.path(), &path).await;
        let replica = Replica::open(&path).await.unwrap();
        write(&replica.document(one), "not sent ").await.unwrap();
        replica.close().await.unwrap();
        let row: i64 = open_file(&path)
            .query_row(&format!("SELECT max(rowid) FROM {table} WHERE {column} IS NOT NULL"), [], |row| row.get(0))
            .unwrap();
        flip(&path, table, column, row, 40);
        let report = open_store(&path).unwrap().integrity().unwrap();
        let named = report.damaged_tables.contains(&table) || table == "entry" && report.damaged_entries.len() == 1;
        assert!(named && report.sqlite.is_empty(), "{table}.{column}: {report:?}");
        match Replica::open(&path).await {
            Ok(replica) => {
                let read = [text(&replica.document(one)).await, text(&replica.document(two)).await];
                assert!(read.iter().any(Result::is_ok), "{table}.{column}: {read:?}");
                replica.close().await.unwrap();
            }
            Err(Error::Store(StoreError::Corrupt { table: named })) => assert_eq!(named, table),
            Err(other) => panic!("{table}.{column}: {other:?}"),
        }
        let again = open_store(&path).unwrap().integrity().unwrap();
        assert!(!again.is_sound(), "{table}.{column} was blanked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_byte_that_the_disk_changes_gives_a_typed_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (one, two) = two_notes(folder.path(), &path).await;
    let (good, mut state) = (fs::read(&path).unwrap(), 7_u64);
    for round in 0..150 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bad = good.clone();
        // Two in three hit the beginning of a page, where SQLite keeps what it needs most.
        let (page, inside) = ((state >> 33) as usize % (good.len() / 4096), (state >> 20) as usize % 4096);
        let inside = if round % 3 == 0 { inside } else { inside % 32 };
        bad[page * 4096 + inside] ^= 1 << (round % 8);
        fs::write(&path, &bad).unwrap();
        match Replica::open(&path).await {
            Ok(replica) => {
                for id in [one, two] {
                    let read = text(&replica.document(id)).await;
                    assert!(!matches!(read, Err(Error::Closed)), "round {round}: the engine is gone");
                }
                // Closing may fail, with a reason; what matters is that it ends.
                drop(replica.close().await);
            }
            Err(error) => assert!(matches!(error, Error::Store(_)), "round {round}: {error:?}"),
        }
        assert!(fs::metadata(&path).unwrap().len() >= good.len() as u64, "round {round}: the file was cut");
    }
}

/// Where in an entry a bit is flipped.
#[derive(Clone, Copy, Debug)]
enum Place {
    Magic,
    Header,
    Content,
}

impl Place {
    fn offset(self, length: usize) -> usize {
        match self {
            Self::Magic => 0,
            Self::Header => 60,
            Self::Content => length - 80,
        }
    }
}

/// A closed store with two notes of two entries each, all of them at a relay that is gone.
async fn two_notes(folder: &Path, path: &Path) -> (DocumentId, DocumentId) {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let address = relay_until(folder, async { drop(ended.await) }).await;
    let (replica, workspace) = founded(path, &address).await;
    let notes = [noted(&workspace, Crdt::Automerge, "one").await, noted(&workspace, Crdt::Yrs, "two").await];
    for note in &notes {
        soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
        write(note, "more ").await.unwrap();
        soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    }
    replica.close().await.unwrap();
    end.send(()).unwrap();
    (notes[0].id(), notes[1].id())
}
