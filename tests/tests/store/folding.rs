//! Pending changes that are folded: nothing is lost, the store stays small, and others get few changes.

use std::fs;

use tombolo::document::Crdt;
use tombolo::protocol::record::Role;
use tombolo::{Document, Durability, Milestone, Replica};

use crate::support::{beside, founded, noted, open_file, open_store, relay, soon, text, write};

const CRDTS: [Crdt; 2] = [Crdt::Automerge, Crdt::Yrs];

/// Types letter by letter, as people do.
async fn type_letters(document: &Document, letters: usize) {
    for _ in 0..letters {
        write(document, "x").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_offline_arrives_as_few_changes_and_typing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let address = relay(folder.path()).await;
    let (alice, workspace) = founded(&folder.path().join("alice"), &address).await;
    let invite = workspace.invite(Role::Writer).create().await.unwrap();
    let bob = Replica::open(folder.path().join("bob")).await.unwrap();
    let theirs = bob.join(&invite.to_string()).await.unwrap();
    soon("bob a member", theirs.ready()).await.unwrap();
    for crdt in CRDTS {
        alice.pause().await.unwrap();
        let ours = workspace.create_document(crdt).await.unwrap();
        type_letters(&ours, 400).await;
        alice.resume().await.unwrap();
        soon("durable", ours.wait_for(Milestone::RelayDurable)).await.unwrap();
        soon("bob in step", theirs.settled()).await.unwrap();
        let note = bob.document(ours.id());
        assert_eq!(text(&note).await.unwrap().len(), 400);
        // 400 changes of automerge are some 40 KB, and count threefold; of yrs some 8 KB.
        let memory = note.stats().await.unwrap().memory_bytes;
        assert!(memory < 8192 + 3 * 6144, "{crdt:?} {memory}");
        write(&note, "bob ").await.unwrap();
        soon("bob durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
        soon("alice in step", workspace.settled()).await.unwrap();
        write(&ours, "alice ").await.unwrap();
        soon("durable again", ours.wait_for(Milestone::RelayDurable)).await.unwrap();
        soon("bob in step again", theirs.settled()).await.unwrap();
        let both = text(&ours).await.unwrap();
        assert!(both.contains("bob ") && both.contains("alice ") && both.len() == 410, "{both}");
        assert_eq!(text(&note).await.unwrap(), both);
        assert_eq!(note.version().await.unwrap(), ours.version().await.unwrap());
    }
    assert!(theirs.sync_debt().await.unwrap().set_aside.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_never_online_keeps_few_rows_and_all_words() {
    for crdt in CRDTS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let replica = Replica::open(&path).await.unwrap();
        let workspace = replica.create_workspace("Field notes").await.unwrap();
        let note = noted(&workspace, crdt, "end").await;
        type_letters(&note, 2_100).await;
        // Those that lie singly are folded at the end, unless the document's version would tell.
        let most = if crdt == Crdt::Yrs { 4 } else { 1_100 };
        let version = note.version().await.unwrap();
        replica.close().await.unwrap();
        let rows: i64 = open_file(&path).query_row("SELECT count(*) FROM pending", [], |row| row.get(0)).unwrap();
        assert!(rows < most, "{crdt:?} {rows}");
        assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
        let replica = Replica::open(&path).await.unwrap();
        let note = replica.document(note.id());
        assert_eq!(text(&note).await.unwrap().len(), 2_103);
        assert_eq!(note.version().await.unwrap(), version);
        let first = || {
            let sql = "SELECT change_sealed FROM pending ORDER BY pending LIMIT 1";
            open_file(&path).query_row(sql, [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
        };
        replica.pause().await.unwrap();
        let lay = first();
        type_letters(&note, 40).await;
        replica.close().await.unwrap();
        assert_eq!(first(), lay, "{crdt:?}: what was folded before is left as it lies");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_that_was_not_sent_lies_in_few_rows_and_arrives() {
    for crdt in CRDTS {
        let folder = tempfile::tempdir().unwrap();
        let (address, path) = (relay(folder.path()).await, folder.path().join("alice"));
        let (alice, workspace) = founded(&path, &address).await;
        let invite = workspace.invite(Role::Writer).create().await.unwrap();
        let bob = Replica::open(folder.path().join("bob")).await.unwrap();
        let theirs = bob.join(&invite.to_string()).await.unwrap();
        soon("bob a member", theirs.ready()).await.unwrap();
        alice.close().await.unwrap();
        let alice = Replica::builder(&path).durability(Durability::Process).offline().open().await.unwrap();
        let note = noted(&alice.workspace(workspace.id()), crdt, "end").await;
        // Folded 33 times, and 32 of these once more.
        type_letters(&note, 33 * 1024).await;
        let written = text(&note).await.unwrap();
        alice.pause().await.unwrap();
        let rows: i64 = open_file(&path).query_row("SELECT count(*) FROM pending", [], |row| row.get(0)).unwrap();
        assert!(rows <= 20, "{crdt:?} {rows}");
        assert_eq!(text(&note).await.unwrap(), written);
        type_letters(&note, 3).await;
        alice.resume().await.unwrap();
        soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
        soon("bob in step", theirs.settled()).await.unwrap();
        assert_eq!(text(&bob.document(note.id())).await.unwrap(), format!("xxx{written}"), "{crdt:?}");
        assert_eq!(bob.document(note.id()).version().await.unwrap(), note.version().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_pending_changes_were_sent_folded_is_restored_and_ends_equal() {
    for crdt in CRDTS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice");
        let address = relay(folder.path()).await;
        let (alice, workspace) = founded(&path, &address).await;
        let note = noted(&workspace, crdt, "begun ").await.id();
        soon("durable", alice.document(note).wait_for(Milestone::RelayDurable)).await.unwrap();
        alice.pause().await.unwrap();
        type_letters(&alice.document(note), 50).await;
        alice.pause().await.unwrap();
        let backup = fs::read(&path).unwrap();
        type_letters(&alice.document(note), 10).await;
        alice.resume().await.unwrap();
        soon("durable", alice.document(note).wait_for(Milestone::RelayDurable)).await.unwrap();
        let written = text(&alice.document(note)).await.unwrap();
        alice.close().await.unwrap();
        for ending in ["-wal", "-shm"] {
            drop(fs::remove_file(beside(&path, ending)));
        }
        fs::write(&path, backup).unwrap();
        let alice = Replica::builder(&path).offline().open().await.unwrap();
        assert_eq!(text(&alice.document(note)).await.unwrap().len(), 56, "what the backup holds");
        alice.resume().await.unwrap();
        soon("in step", alice.workspace(workspace.id()).settled()).await.unwrap();
        assert_eq!(text(&alice.document(note)).await.unwrap(), written, "{crdt:?}");
        write(&alice.document(note), "again ").await.unwrap();
        soon("durable", alice.document(note).wait_for(Milestone::RelayDurable)).await.unwrap();
        assert_eq!(text(&alice.document(note)).await.unwrap(), format!("again {written}"));
        alice.close().await.unwrap();
    }
}

/// The log of commits has a frame for each page that a commit writes: its header, 24 bytes, and the page (SQLite's file format, section 4).
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_writes_one_page() {
    const FRAME_BYTES: u64 = 24 + 4096;
    const EDITS: u64 = 60;
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let replica = Replica::open(&path).await.unwrap();
        let workspace = replica.create_workspace("Field notes").await.unwrap();
        let note = noted(&workspace, crdt, "one").await;
        let log = || std::fs::metadata(folder.path().join("store-wal")).unwrap().len() / FRAME_BYTES;
        let before = log();
        type_letters(&note, EDITS as usize).await;
        let written = log() - before;
        // A page that is full is split now and then, which writes two more.
        assert!((EDITS..=EDITS + 20).contains(&written), "{crdt:?}: {written} pages for {EDITS} edits");
        replica.close().await.unwrap();
    }
}
