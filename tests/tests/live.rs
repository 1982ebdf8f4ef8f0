//! Stories of replicas and a real relay over loopback sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tombolo::crypto::{KeyVault, MemoryVault, Secret32, VaultError};
use tombolo::document::Crdt;
use tombolo::engine::{Event, RelayState};
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

/// A vault that counts how often it is asked for the key, as one with a passphrase is slow to answer.
#[derive(Debug, Default)]
struct Counted(MemoryVault, AtomicU32);

impl KeyVault for Counted {
    fn load(&self) -> Result<Option<Secret32>, VaultError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.load()
    }

    fn save(&self, key: &Secret32) -> Result<(), VaultError> {
        self.0.save(key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_opened_offline_dials_nobody_before_it_is_told_to_and_asks_for_its_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = tombolo_relay::Config::on_loopback(&folder.path().join("relay")).unwrap();
    let relay = tombolo_relay::serve(config, std::future::pending()).await.unwrap();
    let vault = Arc::new(Counted::default());
    let builder = || Replica::builder(folder.path().join("alice")).vault(Arc::clone(&vault) as Arc<dyn KeyVault>);
    let alice = builder().open().await.unwrap();
    let workspace = alice.create_workspace("Field notes").await.unwrap().id();
    alice.dial(&format!("ws://{}", relay.address)).await.unwrap();
    soon("alice is in step", alice.workspace(workspace).settled()).await.unwrap();
    alice.close().await.unwrap();

    vault.1.store(0, Ordering::Relaxed);
    let alice = builder().offline().open().await.unwrap();
    let mut events = alice.events();
    let document = alice.workspace(workspace).create_document(Crdt::Yrs).await.unwrap();
    document.edit(|e| e.text("body")?.splice(0, 0, "Low tide at six.")).await.unwrap();
    let waiting = RelayState::Offline { retry_in: Some(Duration::ZERO), reason: None, proven: false };
    assert_eq!(alice.relays().await.unwrap()[0].1, waiting);
    assert_eq!(vault.1.load(Ordering::Relaxed), 1, "the store was opened more than once");
    alice.resume().await.unwrap();
    soon("durable", document.wait_for(Milestone::RelayDurable)).await.unwrap();
    let first = soon("a relay is dialled", async {
        loop {
            if let Some(Event::Relay { state, .. }) = events.next().await {
                return state;
            }
        }
    });
    assert_eq!(first.await, RelayState::Dialling, "the first news of the relay comes with the resumption");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_linked_over_real_sockets_within_three_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let config = tombolo_relay::Config::on_loopback(&folder.path().join("relay")).unwrap();
    let relay = tombolo_relay::serve(config, std::future::pending()).await.unwrap();
    let address = format!("ws://{}", relay.address);
    let laptop = Replica::open(folder.path().join("laptop")).await.unwrap();
    let workspace = laptop.create_workspace("Field notes").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    document.edit(|e| e.put("tide", "low")).await.unwrap();
    laptop.dial(&address).await.unwrap();
    soon("the laptop is in step", workspace.settled()).await.unwrap();
    let phone = Replica::open(folder.path().join("phone")).await.unwrap();

    let began = std::time::Instant::now();
    let mut request = phone.request_link(&address, tombolo::LinkWay::Scan).await.unwrap();
    // waits: a person holds the camera to the screen once the phone is at its relay
    soon("the phone is at the relay", online(&phone)).await;
    let mut approval = laptop.approve_link(request.text()).await.unwrap();
    let digits = soon("digits are shown", request.digits()).await.unwrap();
    soon("digits are asked for", approval.asked()).await.unwrap();
    approval.confirm(&digits.to_string()).await.unwrap();
    let user = soon("the phone is linked", request.linked()).await.unwrap();
    let there = phone.workspace(workspace.id());
    soon("the phone is a member", there.ready()).await.unwrap();
    soon("the phone has everything", there.settled()).await.unwrap();
    let took = began.elapsed();
    println!("linked by a scanned code, everything there: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(3), "{took:?}");

    assert_eq!(laptop.identity().await.unwrap().1, user);
    let value = phone.document(document.id()).read(|view| view.get("tide")).await.unwrap();
    assert_eq!(value, Some("low".into()));
    assert_eq!(phone.devices().await.unwrap().len(), 2);
    laptop.close().await.unwrap();
    phone.close().await.unwrap();
}

async fn online(replica: &Replica) {
    loop {
        let relays = replica.relays().await.unwrap_or_default();
        if relays.iter().any(|(_, state)| matches!(state, tombolo::engine::RelayState::Online { .. })) {
            return;
        }
        tokio::task::yield_now().await;
    }
}
