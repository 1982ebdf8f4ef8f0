//! Stories of replicas and a real relay over loopback sockets.

use std::time::Duration;

use tombolo::document::Crdt;
use tombolo::protocol::record::Role;
use tombolo::{Milestone, Replica};

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(Duration::from_secs(20), future).await else {
        unreachable!("not within 20 s: {what}");
    };
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_that_edited_offline_end_equal_through_a_relay() {
    let folder = tempfile::tempdir().unwrap();
    let config = tombolo_relay::Config::on_loopback(&folder.path().join("relay")).unwrap();
    let relay = tombolo_relay::serve(config, std::future::pending()).await.unwrap();
    let address = format!("ws://{}", relay.address);
    let alice = Replica::open(folder.path().join("alice")).await.unwrap();
    let bob = Replica::open(folder.path().join("bob")).await.unwrap();
    let workspace = alice.create_workspace("Field notes").await.unwrap();
    alice.dial(&address).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap();
    let theirs = bob.join(&invite.to_string()).await.unwrap();
    soon("bob is a member", theirs.ready()).await.unwrap();
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let document = workspace.create_document(crdt).await.unwrap();
        document.edit(|e| e.text("body")?.splice(0, 0, "Low tide at six.")).await.unwrap();
        soon("durable", document.wait_for(Milestone::RelayDurable)).await.unwrap();
        let (bobs_device, _) = bob.identity().await.unwrap();
        soon("seen", document.seen_by(bobs_device)).await.unwrap();
        let there = bob.document(document.id());
        there.edit(|e| e.text("body")?.splice(0, 0, "Bob: ")).await.unwrap();
        soon("bob durable", there.wait_for(Milestone::RelayDurable)).await.unwrap();
        let mut events = document.subscribe().await.unwrap();
        soon("alice sees bob", async {
            loop {
                let text = document.read(|view| view.text("body")).await.unwrap();
                if text.as_deref() == Some("Bob: Low tide at six.") {
                    return;
                }
                events.next().await.unwrap();
            }
        })
        .await;
    }
    assert!(workspace.sync_debt().await.unwrap().set_aside.is_empty());
    alice.close().await.unwrap();
    bob.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_replica_ends_its_streams_and_answers_those_who_wait_though_handles_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::open(folder.path().join("alice")).await.unwrap();
    let workspace = replica.create_workspace("Field notes").await.unwrap();
    let mut events = replica.events();
    let waits = tokio::spawn(async move { workspace.settled().await });
    // The spawned call is in the queue, or before it: both must end.
    tokio::task::yield_now().await;
    replica.close().await.unwrap();
    soon("the stream ends", async { while events.next().await.is_some() {} }).await;
    assert!(soon("no event follows", replica.events().next()).await.is_none());
    let answer = soon("the one who waits is answered", waits).await.unwrap();
    assert!(matches!(answer, Err(tombolo::Error::Closed)));
}
