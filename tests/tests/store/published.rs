//! Documents that an app lets be published: one device does, the other vouches, and nothing changes for who reads.

use std::path::{Path, PathBuf};

use tombolo::document::Crdt;
use tombolo::protocol::ids::WorkspaceId;
use tombolo::protocol::record::Role;
use tombolo::{Document, Milestone, Replica};

use crate::support::{founded, noted, open_file, open_store, relay, soon, text, write};

/// Entries from which a document is published; a note of the story has a few more.
const ENTRIES: usize = 12;

async fn publishing(path: &Path) -> Replica {
    Replica::builder(path).snapshot_entries(ENTRIES).open().await.unwrap()
}

/// Opens a store again and reads a note, until all that there is to say of it is at the relay.
async fn look_in(path: &Path, workspace: WorkspaceId, note: &Document) -> String {
    let replica = publishing(path).await;
    let read = text(&replica.document(note.id())).await.unwrap();
    soon("settled", replica.workspace(workspace).settled()).await.unwrap();
    soon("at rest", replica.sync_once(std::time::Duration::from_secs(30))).await.unwrap();
    replica.close().await.unwrap();
    read
}

fn words(path: &Path) -> i64 {
    let query = "SELECT count(*) FROM attestation WHERE substr(hash, 1, 1) = x'05'";
    open_file(path).query_row(query, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_lets_be_published_the_other_member_vouches_for() {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let folder = tempfile::tempdir().unwrap();
        let [alices, bobs]: [PathBuf; 2] = ["alice", "bob"].map(|name| folder.path().join(name));
        let address = relay(folder.path()).await;
        let (alice, workspace) = founded(&alices, &address).await;
        let bob = Replica::open(&bobs).await.unwrap();
        let invite = workspace.invite(Role::Writer).create().await.unwrap().to_string();
        let theirs = bob.join(&invite).await.unwrap();
        soon("a member", theirs.ready()).await.unwrap();
        let note = noted(&workspace, crdt, "x").await;
        for _ in 0..ENTRIES {
            write(&note, "x").await.unwrap();
            soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
        }
        soon("seen", note.seen_by(bob.identity().await.unwrap().0)).await.unwrap();
        let id = workspace.id();
        for replica in [alice, bob] {
            replica.close().await.unwrap();
        }
        assert_eq!((words(&alices), words(&bobs)), (0, 0), "nothing is published by itself");

        let whole = look_in(&alices, id, &note).await;
        assert_eq!(look_in(&bobs, id, &note).await, whole);
        assert_eq!(words(&bobs), 1, "bob has not vouched");
        assert_eq!(look_in(&alices, id, &note).await, whole);
        assert_eq!(words(&alices), 1, "alice has not heard of it");
        for path in [&alices, &bobs] {
            assert!(open_store(path).unwrap().integrity().unwrap().is_sound());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_stays_open_is_published_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let address = relay(folder.path()).await;
    let path = folder.path().join("alice");
    let alice = publishing(&path).await;
    let workspace = alice.create_workspace("Notes").await.unwrap();
    alice.dial(&address).await.unwrap();
    let note = noted(&workspace, Crdt::Yrs, "x").await;
    for _ in 0..3 * ENTRIES {
        write(&note, "x").await.unwrap();
        soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    }
    soon("settled", workspace.settled()).await.unwrap();
    alice.close().await.unwrap();
    // The last parts of snapshots, by their kind and flags.
    let query = "SELECT count(*) FROM entry WHERE substr(bytes, 6, 1) = x'01' AND substr(bytes, 8, 1) = x'00'";
    let snapshots: i64 = open_file(&path).query_row(query, [], |row| row.get(0)).unwrap();
    assert!((2..=3).contains(&snapshots), "{snapshots} of {} entries", 3 * ENTRIES);
}
