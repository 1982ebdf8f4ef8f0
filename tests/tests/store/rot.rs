//! Bit rot: what the disk changed is set aside, reported, and fetched again, and nobody else notices.

use std::path::Path;

use tombolo::document::Crdt;
use tombolo::engine::{Event, RelayState};
use tombolo::protocol::record::Role;
use tombolo::{DebtReason, Document, Milestone, Replica, ReplicaEvents, SetAsideReason, Workspace};

use crate::support::{
    first_entry, flip, founded, last_entry, noted, open_file, open_store, relay, relay_until, soon, text, write,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_heals_in_the_running_session_and_disturbs_nobody() {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let address = relay(folder.path()).await;
        let (replica, workspace) = founded(&path, &address).await;
        let (damaged, healthy) = (noted(&workspace, crdt, "one").await, noted(&workspace, crdt, "two").await);
        for note in [&damaged, &healthy] {
            soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
            write(note, "more ").await.unwrap();
            soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
        }
        let (replica, workspace) = flipped(&path, replica, &workspace).await;
        let (damaged, healthy) = (replica.document(damaged.id()), replica.document(healthy.id()));
        soon("level", workspace.settled()).await.unwrap();
        let mut events = replica.events();
        let (read, wrote, other) =
            tokio::join!(text(&damaged), write(&healthy, "even "), async { text(&healthy).await });
        assert!(["one", "more one"].contains(&read.unwrap().as_str()));
        wrote.unwrap();
        assert!(other.unwrap().ends_with("more two"));
        let told = until_mended(&mut events).await;
        assert!(told.iter().any(|event| is_damage(event, &damaged)), "{told:?}");
        assert!(!told.iter().any(is_offline), "the session ended: {told:?}");
        assert_eq!(text(&damaged).await.unwrap(), "more one");
        assert_eq!(text(&healthy).await.unwrap(), "even more two");
        soon("settled", workspace.settled()).await.unwrap();
        assert!(workspace.sync_debt().await.unwrap().set_aside.is_empty());
        replica.close().await.unwrap();
        assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
        let replica = Replica::open(&path).await.unwrap();
        assert_eq!(text(&replica.document(damaged.id())).await.unwrap(), "more one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_owed_while_no_relay_is_there_and_heals_in_the_next_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let address = relay_until(folder.path(), async { drop(ended.await) }).await;
    let (replica, workspace) = founded(&path, &address).await;
    let note = noted(&workspace, Crdt::Automerge, "one").await;
    soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    write(&note, "more ").await.unwrap();
    soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    replica.close().await.unwrap();
    end.send(()).unwrap();
    let (row, length) = last_entry(&path, 1);
    flip(&path, "entry", "bytes", row, length - 80);
    for _ in 0..2 {
        let replica = Replica::open(&path).await.unwrap();
        let (note, workspace) = (replica.document(note.id()), replica.workspace(workspace.id()));
        assert!(text(&note).await.unwrap().ends_with("one"));
        let debt = workspace.sync_debt().await.unwrap();
        assert_eq!(debt.held.get(&SetAsideReason::Damaged), Some(&1));
        assert_eq!(debt.set_aside.iter().map(|entry| entry.reason).collect::<Vec<_>>(), [SetAsideReason::Damaged]);
        assert_eq!(debt.set_aside[0].document, Some(note.id()));
        assert!(!debt.is_settled());
        write(&note, "still ").await.unwrap();
        replica.close().await.unwrap();
        assert_eq!(open_store(&path).unwrap().integrity().unwrap().damaged_entries.len(), 1);
    }
    let replica = Replica::open(&path).await.unwrap();
    let mut events = replica.events();
    // The relay's folder is the one it had, the address is new.
    let address = again(folder.path()).await;
    replica.dial(&address).await.unwrap();
    until_mended(&mut events).await;
    soon("settled", replica.workspace(workspace.id()).settled()).await.unwrap();
    let read = text(&replica.document(note.id())).await.unwrap();
    assert!(read.contains("more ") && read.contains("one") && read.matches("still ").count() == 2, "{read}");
    replica.close().await.unwrap();
    assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_others_refer_to_is_fetched_before_what_refers_to_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let address = relay(folder.path()).await;
    let (alice, workspace) = founded(&folder.path().join("alice"), &address).await;
    let path = folder.path().join("bob");
    let bob = Replica::open(&path).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let theirs = bob.join(&invite).await.unwrap();
    soon("a member", theirs.ready()).await.unwrap();
    let note = noted(&workspace, Crdt::Yrs, "one").await;
    soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    soon("known", bob_knows(&bob, &note)).await;
    bob.close().await.unwrap();
    let (row, length) = first_entry(&path, 1);
    flip(&path, "entry", "bytes", row, length - 80);
    let bob = Replica::open(&path).await.unwrap();
    let mut events = bob.events();
    soon("level", bob.workspace(workspace.id()).settled()).await.unwrap();
    for word in ["two ", "three ", "four "] {
        write(&note, word).await.unwrap();
        soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    }
    let told = until_mended(&mut events).await;
    assert!(!told.iter().any(|event| is_offline(event) || matches!(event, Event::RelayFork { .. })), "{told:?}");
    let copy = bob.document(note.id());
    let mut changes = copy.subscribe().await.unwrap();
    while text(&copy).await.unwrap() != "four three two one" {
        soon("all of it", changes.next()).await.unwrap();
    }
    soon("settled", bob.workspace(workspace.id()).settled()).await.unwrap();
    alice.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn own_changes_that_the_disk_changed_are_kept_and_owed_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.create_workspace("Field notes").await.unwrap();
    let (note, other) = (noted(&workspace, Crdt::Yrs, "one").await, noted(&workspace, Crdt::Yrs, "two").await);
    write(&note, "more ").await.unwrap();
    replica.close().await.unwrap();
    let query = "SELECT max(pending) FROM pending WHERE pending >> 40 = 1";
    let row: i64 = open_file(&path).query_row(query, [], |row| row.get(0)).unwrap();
    flip(&path, "pending", "change_sealed", row, 30);
    assert_eq!(open_store(&path).unwrap().integrity().unwrap().damaged_tables, ["pending"]);
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.workspace(workspace.id());
    let mut events = replica.events();
    let (note, other) = (replica.document(note.id()), replica.document(other.id()));
    assert_eq!(text(&note).await.unwrap(), "one");
    let told = soon("told", events.next()).await;
    assert!(matches!(told, Some(Event::ChangesDamaged { changes: 1, .. })), "{told:?}");
    write(&note, "once ").await.unwrap();
    replica.dial(&relay(folder.path()).await).await.unwrap();
    soon("durable", other.wait_for(Milestone::RelayDurable)).await.unwrap();
    let debt = loop {
        let debt = workspace.sync_debt().await.unwrap();
        if debt.documents.len() == 1 && debt.documents[0].pending_changes == 1 {
            break debt;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((debt.documents[0].document, debt.documents[0].reason), (Some(note.id()), DebtReason::Damaged));
    assert!(!debt.is_settled());
    assert_eq!(text(&note).await.unwrap(), "once one");
    replica.close().await.unwrap();
    let kept: i64 = open_file(&path).query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, row, "it is never deleted");
}

/// Closes a replica, flips a bit of the first document's last entry, and opens it again.
async fn flipped(path: &Path, replica: Replica, workspace: &Workspace) -> (Replica, Workspace) {
    replica.close().await.unwrap();
    let (row, length) = last_entry(path, 1);
    flip(path, "entry", "bytes", row, length - 80);
    let replica = Replica::open(path).await.unwrap();
    let workspace = replica.workspace(workspace.id());
    (replica, workspace)
}

/// Starts the relay of a folder again, as soon as the one before has let go of it.
async fn again(folder: &Path) -> String {
    let start = async {
        loop {
            let config = tombolo_relay::Config::on_loopback(&folder.join("relay")).unwrap();
            if let Ok(relay) = tombolo_relay::serve(config, std::future::pending()).await {
                return format!("ws://{}", relay.address);
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the relay starts again", start).await
}

async fn bob_knows(bob: &Replica, note: &Document) {
    let mut events = bob.events();
    while bob.document(note.id()).version().await.is_err() {
        events.next().await.unwrap();
    }
}

/// Collects events until a document was mended.
async fn until_mended(events: &mut ReplicaEvents) -> Vec<Event> {
    let collect = async {
        let mut told = Vec::new();
        loop {
            let event = events.next().await.unwrap();
            let mended = matches!(event, Event::Mended { .. });
            told.push(event);
            if mended {
                return told;
            }
        }
    };
    soon("mended", collect).await
}

fn is_damage(event: &Event, document: &Document) -> bool {
    matches!(event, Event::SetAside { entry, .. }
        if entry.reason == SetAsideReason::Damaged && entry.document == Some(document.id()))
}

fn is_offline(event: &Event) -> bool {
    matches!(event, Event::Relay { state: RelayState::Offline { .. }, .. })
}
