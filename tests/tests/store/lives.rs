//! Changes that were pending in an older life of a store: put back from a copy, they reach everyone, once.

use std::fs;
use std::path::{Path, PathBuf};

use tombolo::document::Crdt;
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::record::Role;
use tombolo::{Document, Milestone, Replica, Workspace};

use crate::support::{beside, founded, noted, relay, soon, text, write};

const CRDTS: [Crdt; 2] = [Crdt::Automerge, Crdt::Yrs];

/// Puts a copy in the place of a closed store.
fn put_back(path: &Path, copy: &[u8]) {
    for ending in ["-wal", "-shm"] {
        drop(fs::remove_file(beside(path, ending)));
    }
    fs::write(path, copy).unwrap();
}

async fn member(path: &Path, workspace: &Workspace) -> (Replica, Workspace) {
    let invite = workspace.invite(Role::Writer).create().await.unwrap();
    let replica = Replica::open(path).await.unwrap();
    let joined = replica.join(&invite.to_string()).await.unwrap();
    soon("a member", joined.ready()).await.unwrap();
    (replica, joined)
}

/// Alice at a relay with a note that has begun, and Bob beside her; she is offline now.
struct Team {
    folder: tempfile::TempDir,
    alice: Replica,
    ours: Workspace,
    bob: Replica,
    theirs: Workspace,
    note: DocumentId,
}

impl Team {
    async fn new(crdt: Crdt) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = relay(folder.path()).await;
        let (alice, ours) = founded(&folder.path().join("alice"), &address).await;
        let (bob, theirs) = member(&folder.path().join("bob"), &ours).await;
        let note = noted(&ours, crdt, "begun ").await.id();
        durable(&alice.document(note)).await;
        alice.pause().await.unwrap();
        Self { folder, alice, ours, bob, theirs, note }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("alice")
    }
}

async fn durable(document: &Document) {
    soon("durable", document.wait_for(Milestone::RelayDurable)).await.unwrap();
}

fn assert_each_once(words: &str) {
    let mut sorted: Vec<&str> = words.split_whitespace().collect();
    sorted.sort_unstable();
    assert_eq!(sorted, ["begun", "four", "one", "three", "two"]);
}

/// Everybody holds the same words, and nobody set anything aside.
async fn same(ours: (&Workspace, &Document), theirs: (&Workspace, &Document), words: &str) {
    soon("ours in step", ours.0.settled()).await.unwrap();
    soon("theirs in step", theirs.0.settled()).await.unwrap();
    assert_eq!(text(ours.1).await.unwrap(), words);
    assert_eq!(text(theirs.1).await.unwrap(), words);
    assert_eq!(ours.1.version().await.unwrap(), theirs.1.version().await.unwrap());
    for workspace in [ours.0, theirs.0] {
        let debt = workspace.sync_debt().await.unwrap();
        assert!(debt.set_aside.is_empty(), "{:?}", debt.set_aside);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_in_a_copy_and_never_sent_reaches_everyone_from_the_next_life() {
    for crdt in CRDTS {
        let team = Team::new(crdt).await;
        let path = team.path();
        let Team { folder: _folder, alice, ours: workspace, bob, theirs, note } = team;
        write(&alice.document(note), "copied ").await.unwrap();
        alice.close().await.unwrap();
        put_back(&path, &fs::read(&path).unwrap());
        drop(fs::remove_file(beside(&path, ".lock")));
        let alice = Replica::builder(&path).offline().open().await.unwrap();
        let note = alice.document(note);
        write(&note, "typed on ").await.unwrap();
        alice.resume().await.unwrap();
        durable(&note).await;
        let ours = alice.workspace(workspace.id());
        write(&note, "and online ").await.unwrap();
        durable(&note).await;
        soon("bob in step", theirs.settled()).await.unwrap();
        same((&ours, &note), (&theirs, &bob.document(note.id())), "and online typed on copied begun ").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_original_of_a_copy_had_sent_is_not_said_twice() {
    for crdt in CRDTS {
        let team = Team::new(crdt).await;
        let path = team.path();
        let Team { folder: _folder, alice, ours: workspace, bob, theirs, note } = team;
        for word in ["one ", "two "] {
            write(&alice.document(note), word).await.unwrap();
        }
        alice.pause().await.unwrap();
        let copy = fs::read(&path).unwrap();
        write(&alice.document(note), "three ").await.unwrap();
        alice.resume().await.unwrap();
        durable(&alice.document(note)).await;
        alice.close().await.unwrap();
        put_back(&path, &copy);
        let alice = Replica::builder(&path).offline().open().await.unwrap();
        let note = alice.document(note);
        assert_eq!(text(&note).await.unwrap(), "two one begun ", "what the copy holds");
        write(&note, "four ").await.unwrap();
        alice.resume().await.unwrap();
        durable(&note).await;
        let ours = alice.workspace(workspace.id());
        soon("ours in step", ours.settled()).await.unwrap();
        let words = text(&note).await.unwrap();
        assert_each_once(&words);
        soon("bob in step", theirs.settled()).await.unwrap();
        same((&ours, &note), (&theirs, &bob.document(note.id())), &words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_runs_beside_its_original_loses_nothing_of_what_both_had_pending() {
    for crdt in CRDTS {
        let team = Team::new(crdt).await;
        let (path, copy) = (team.path(), team.folder.path().join("copy"));
        let Team { folder: _folder, alice, ours: workspace, bob, theirs, note } = team;
        write(&alice.document(note), "both ").await.unwrap();
        alice.close().await.unwrap();
        for ending in ["", ".key", ".lock"] {
            fs::copy(beside(&path, ending), beside(&copy, ending)).unwrap();
        }
        let mut texts = Vec::new();
        for (store, word) in [(&copy, "copy "), (&path, "original ")] {
            let replica = Replica::open(store).await.unwrap();
            write(&replica.document(note), word).await.unwrap();
            durable(&replica.document(note)).await;
            soon("in step", replica.workspace(workspace.id()).settled()).await.unwrap();
            write(&replica.document(note), "and on ").await.unwrap();
            durable(&replica.document(note)).await;
            texts.push(text(&replica.document(note)).await.unwrap());
            replica.close().await.unwrap();
        }
        soon("bob in step", theirs.settled()).await.unwrap();
        let words = text(&bob.document(note)).await.unwrap();
        assert_eq!(words, texts[1], "{crdt:?}");
        for (word, times) in [("begun ", 1), ("copy ", 1), ("original ", 1), ("and on ", 2), ("both ", 2)] {
            assert_eq!(words.matches(word).count(), times, "{word} in {words}");
        }
        assert!(theirs.sync_debt().await.unwrap().set_aside.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_put_back_twice_says_what_was_pending_once() {
    for crdt in CRDTS {
        let team = Team::new(crdt).await;
        let path = team.path();
        let Team { folder: _folder, mut alice, ours: workspace, bob, theirs, note } = team;
        for word in ["one ", "two "] {
            write(&alice.document(note), word).await.unwrap();
        }
        alice.close().await.unwrap();
        let copy = fs::read(&path).unwrap();
        for word in ["three ", "four "] {
            put_back(&path, &copy);
            drop(fs::remove_file(beside(&path, ".lock")));
            alice = Replica::open(&path).await.unwrap();
            write(&alice.document(note), word).await.unwrap();
            durable(&alice.document(note)).await;
            soon("in step", alice.workspace(workspace.id()).settled()).await.unwrap();
            alice.close().await.unwrap();
        }
        alice = Replica::open(&path).await.unwrap();
        let (ours, note) = (alice.workspace(workspace.id()), alice.document(note));
        soon("ours in step", ours.settled()).await.unwrap();
        let words = text(&note).await.unwrap();
        assert_each_once(&words);
        soon("bob in step", theirs.settled()).await.unwrap();
        same((&ours, &note), (&theirs, &bob.document(note.id())), &words).await;
    }
}
