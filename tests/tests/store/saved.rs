//! Documents that are opened from their saved form and what came after it.

use std::fs;
use std::path::Path;

use tombolo::document::Crdt;
use tombolo::{Document, Milestone, Replica};

use crate::support::{founded, noted, open_file, open_store, relay, soon, text, write};

const CRDTS: [Crdt; 2] = [Crdt::Automerge, Crdt::Yrs];
const TAIL: usize = 16;

/// Writes a note of letters that each make an entry.
async fn written(folder: &Path, crdt: Crdt, letters: u64) -> (Replica, Document) {
    let address = relay(folder).await;
    let (replica, workspace) = founded(&folder.join("store"), &address).await;
    let note = noted(&workspace, crdt, "x").await;
    type_on(&note, letters).await;
    (replica, note)
}

async fn type_on(note: &Document, letters: u64) {
    for _ in 0..letters {
        write(note, "x").await.unwrap();
        soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    }
}

async fn reopened(folder: &Path, note: &Document) -> (Replica, Document) {
    let replica = Replica::builder(folder.join("store")).tail_entries(TAIL).open().await.unwrap();
    let note = replica.document(note.id());
    (replica, note)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_document_is_saved_when_it_is_opened_and_then_opened_from_that_and_its_tail() {
    for crdt in CRDTS {
        let folder = tempfile::tempdir().unwrap();
        let (replica, note) = written(folder.path(), crdt, 40).await;
        let version = note.version().await.unwrap();
        let before = note.stats().await.unwrap();
        assert_eq!((before.saved_bytes, before.tail_entries), (0, before.entries), "{before:?}");
        replica.close().await.unwrap();
        let (replica, note) = reopened(folder.path(), &note).await;
        assert_eq!(note.version().await.unwrap(), version);
        // What is saved is written with what is written anyway.
        type_on(&note, 3).await;
        let after = note.stats().await.unwrap();
        assert_eq!((after.entries, after.tail_entries), (before.entries + 3, 3), "{after:?}");
        assert!(after.saved_bytes > 0 && after.saved_bytes < after.entry_bytes / 8, "{after:?}");
        assert_eq!(after.live_bytes, 44 + 4);
        let version = note.version().await.unwrap();
        replica.close().await.unwrap();
        assert!(open_store(&folder.path().join("store")).unwrap().integrity().unwrap().is_sound());
        let (replica, note) = reopened(folder.path(), &note).await;
        assert_eq!((note.version().await.unwrap(), text(&note).await.unwrap().len()), (version, 44));
        type_on(&note, 20).await;
        replica.close().await.unwrap();
        let (replica, note) = reopened(folder.path(), &note).await;
        write(&note, "y").await.unwrap();
        assert!(note.stats().await.unwrap().tail_entries <= 1, "a long tail is saved as well");
        replica.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_form_that_the_disk_has_changed_is_as_good_as_none() {
    for crdt in CRDTS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (replica, note) = written(folder.path(), crdt, 20).await;
        replica.close().await.unwrap();
        let (replica, note) = reopened(folder.path(), &note).await;
        write(&note, "x").await.unwrap();
        replica.close().await.unwrap();
        let flip = "UPDATE saved SET state_sealed = CAST(zeroblob(20) || substr(state_sealed, 21) AS BLOB)";
        assert_eq!(open_file(&path).execute(flip, []).unwrap(), 1);
        assert_eq!(open_store(&path).unwrap().integrity().unwrap().damaged_tables, ["saved"]);
        let (replica, note) = reopened(folder.path(), &note).await;
        assert_eq!(text(&note).await.unwrap().len(), 22);
        write(&note, "x").await.unwrap();
        replica.close().await.unwrap();
        assert!(open_store(&path).unwrap().integrity().unwrap().is_sound(), "it was saved anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_an_admin_excludes_is_not_shown_from_what_was_saved_before() {
    for crdt in CRDTS {
        let folder = tempfile::tempdir().unwrap();
        let address = relay(folder.path()).await;
        let (replica, workspace) = founded(&folder.path().join("store"), &address).await;
        let note = noted(&workspace, crdt, "x").await;
        type_on(&note, 20).await;
        replica.close().await.unwrap();
        let (replica, note) = reopened(folder.path(), &note).await;
        note.edit(|edit| edit.put("wrong", true)).await.unwrap();
        soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
        assert_eq!(note.stats().await.unwrap().tail_entries, 1);
        replica.close().await.unwrap();
        let (replica, note) = reopened(folder.path(), &note).await;
        let last = "SELECT hash FROM entry ORDER BY arrival DESC LIMIT 1";
        type_on(&note, 20).await;
        replica.close().await.unwrap();
        let newest: Vec<u8> = open_file(&folder.path().join("store")).query_row(last, [], |row| row.get(0)).unwrap();
        let (replica, note) = reopened(folder.path(), &note).await;
        type_on(&note, 1).await;
        assert_eq!((text(&note).await.unwrap().len(), note.stats().await.unwrap().tail_entries), (42, 1));
        let excluded = tombolo::protocol::ids::EntryHash::from_bytes(newest.try_into().unwrap());
        replica.workspace(workspace.id()).exclude(vec![excluded]).await.unwrap();
        let stats = note.stats().await.unwrap();
        assert_eq!((stats.saved_bytes, stats.set_aside), (0, 1), "{stats:?}");
        let shown = text(&note).await.unwrap().len();
        assert!(shown < 42, "{shown}");
        replica.close().await.unwrap();
        let (replica, note) = reopened(folder.path(), &note).await;
        assert_eq!(text(&note).await.unwrap().len(), shown);
        replica.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_gives_back_the_room_that_single_changes_took() {
    for crdt in CRDTS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let replica = Replica::open(&path).await.unwrap();
        let workspace = replica.create_workspace("Offline").await.unwrap();
        replica.pause().await.unwrap();
        let empty = fs::metadata(&path).unwrap().len();
        let note = workspace.create_document(crdt).await.unwrap();
        let typing: Vec<_> = (0..2100)
            .map(|_| {
                tokio::spawn({
                    let note = note.clone();
                    async move { write(&note, "x").await }
                })
            })
            .collect();
        for typed in typing {
            typed.await.unwrap().unwrap();
        }
        replica.close().await.unwrap();
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes <= empty + (64 << 10), "{crdt:?}: {bytes}, {empty} before");
        assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
        let replica = Replica::open(&path).await.unwrap();
        assert_eq!(text(&replica.document(note.id())).await.unwrap().len(), 2100);
        replica.close().await.unwrap();
    }
}
