//! Who listens to a document is shown it as it is once, then each change; and whoever is slow costs nobody else anything.

use std::time::Duration;

use tombolo::document::{Crdt, Value};
use tombolo::{Document, DocumentEvent, DocumentEvents, Replica, Workspace};

use crate::support::soon;

/// More events than wait for one listener.
const MANY: i64 = 1_100;

async fn alone() -> (tempfile::TempDir, Replica, Workspace) {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::open(folder.path().join("alice")).await.unwrap();
    let workspace = replica.create_workspace("Field notes").await.unwrap();
    (folder, replica, workspace)
}

async fn count_to(document: &Document, n: i64) {
    document.edit(move |edit| edit.put("n", Value::I64(n))).await.unwrap();
}

async fn next(events: &mut DocumentEvents) -> DocumentEvent {
    soon("an event", events.next()).await.unwrap()
}

/// What the listener was shown as the whole document.
async fn shown(events: &mut DocumentEvents) -> Value {
    match next(events).await {
        DocumentEvent::Current { value } => value,
        other => panic!("{other:?}"),
    }
}

async fn is_told_of_changes_alone(events: &mut DocumentEvents, changes: usize) {
    for _ in 0..changes {
        let event = next(events).await;
        assert!(matches!(event, DocumentEvent::Changed { .. }), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_listen_is_shown_the_document_and_who_listens_already_is_not() {
    let (_folder, replica, workspace) = alone().await;
    let document = workspace.create_document(Crdt::Yrs).await.unwrap();
    let mut first = document.subscribe().await.unwrap();
    shown(&mut first).await;
    let mut second = document.subscribe().await.unwrap();
    shown(&mut second).await;
    count_to(&document, 1).await;
    is_told_of_changes_alone(&mut first, 1).await;
    is_told_of_changes_alone(&mut second, 1).await;
    replica.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_slow_is_shown_the_document_once_it_has_read_and_keeps_nobody_waiting() {
    let (_folder, replica, workspace) = alone().await;
    let long = workspace.create_document(Crdt::Yrs).await.unwrap();
    let other = workspace.create_document(Crdt::Yrs).await.unwrap();
    let (mut slow, mut quick) = (long.subscribe().await.unwrap(), long.subscribe().await.unwrap());
    for n in 0..MANY {
        count_to(&long, n).await;
        if n == 0 {
            shown(&mut quick).await;
        }
        is_told_of_changes_alone(&mut quick, 1).await;
    }
    let mut elsewhere = soon("an answer", other.subscribe()).await.unwrap();
    shown(&mut elsewhere).await;
    shown(&mut slow).await;
    // Nothing else happens meanwhile: reading is what brings it.
    let value = loop {
        if let DocumentEvent::Current { value } = next(&mut slow).await {
            break value;
        }
    };
    assert_eq!(value.as_map().and_then(|map| map.get("n")), Some(&Value::I64(MANY - 1)));
    count_to(&long, MANY).await;
    is_told_of_changes_alone(&mut quick, 1).await;
    is_told_of_changes_alone(&mut slow, 1).await;
    let more = tokio::time::timeout(Duration::from_millis(50), slow.next()).await;
    assert!(more.is_err(), "once is enough: {more:?}");
    replica.close().await.unwrap();
}
