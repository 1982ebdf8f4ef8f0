//! Lost and rolled-back logs, reconciling, gaps, slow readers, status rows.

use std::path::Path;

use tempfile::tempdir;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::{Fetch, Frame, Reconcile, Status, Summary};
use tombolo_protocol::ids::Stream;
use tombolo_protocol::item::{ItemHash, LogItem};
use tombolo_protocol::log::{Frontier, LogOrigin};
use tombolo_protocol::receipt::{LogReset, Receipt, Signed};
use tombolo_protocol::record::{Record, Role};
use tombolo_protocol::status::StatusRow;

use super::client::{Client, verified};
use super::people::{EPOCH, Pen, Person, found, workspace};
use super::process::{RelayProcess, http_get};
use super::sync::island;

async fn founded(relay: &RelayProcess, alice: &Person) -> (Client, Vec<Record>, u32) {
    let ground = found(alice, 1);
    let mut client = Client::dial(relay.address, alice).await;
    let channel = client.seeded(&ground).await.channel;
    (client, ground, channel)
}

async fn write(
    client: &mut Client,
    pen: &mut Pen,
    channel: u32,
    batches: std::ops::Range<u32>,
) -> (Signed<Receipt>, Vec<Entry>) {
    let (mut last, mut entries) = (None, Vec::new());
    for batch in batches {
        let entry = pen.write(b"to be kept");
        client.append(channel, batch, vec![LogItem::encode_entry(&entry, None)]).await;
        last = Some(client.received().await.0.receipt);
        entries.push(entry);
    }
    (verified(&last.unwrap()).0, entries)
}

fn copy_log(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        let (from, to) = (from.join(name), to.join(name));
        if from.exists() {
            std::fs::copy(from, to).unwrap();
        } else if to.exists() {
            std::fs::remove_file(to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_relay_that_lost_its_log_is_healed_by_its_devices() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let (mut client, ground, channel) = founded(&relay, &alice).await;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let (receipt, entries) = write(&mut client, &mut pen, channel, 1..6).await;
    relay.kill();
    for name in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        let path = folder.path().join(name);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }

    let relay = RelayProcess::start(folder.path());
    let mut client = Client::dial(relay.address, &alice).await;
    let old = receipt.verify().unwrap().clone();
    client.open(workspace(&ground).tag(), Some(old.log), old.position, Some(&receipt)).await;
    assert!(matches!(client.frame().await, Frame::NotFound(_)));
    let opened = client.seeded(&ground).await;
    assert_ne!(opened.log, old.log);
    let items = entries.iter().map(|entry| LogItem::encode_entry(entry, None)).collect();
    client.append(opened.channel, 1, items).await;
    assert_eq!(client.received().await.0.positions, [(3, 5)]);
    // Another device that shows a receipt of the lost history is told that it was lost.
    client.open(workspace(&ground).tag(), Some(old.log), old.position, Some(&receipt)).await;
    let reset = client.opened().await.reset.unwrap();
    let reset = Signed::<LogReset>::decode(&reset).unwrap();
    assert_eq!(reset.verify().unwrap().old_log, old.log);
    assert_eq!(reset.verify().unwrap().position, 0);
}

#[tokio::test]
async fn a_relay_that_was_rolled_back_admits_it_before_it_takes_anything() {
    let folder = tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let relay = RelayProcess::start(&data);
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut client, at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;
    drop(at_bob);
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let (kept, _) = write(&mut client, &mut pen, channel, 1..4).await;
    relay.terminate();
    relay.wait();
    copy_log(&data, &backup);

    let relay = RelayProcess::start(&data);
    let mut client = Client::dial(relay.address, &alice).await;
    let tag = workspace(&ground).tag();
    client.open(tag, None, 0, None).await;
    let channel = client.opened().await.channel;
    client.caught_up().await;
    let (lost, _) = write(&mut client, &mut pen, channel, 1..4).await;
    relay.kill();
    copy_log(&backup, &data);

    let relay = RelayProcess::start(&data);
    let mut at_bob = Client::dial(relay.address, &bob).await;
    at_bob.open(tag, None, 0, None).await;
    at_bob.opened().await;
    at_bob.caught_up().await;
    let mut client = Client::dial(relay.address, &alice).await;
    let (old, below) = (lost.verify().unwrap().clone(), kept.verify().unwrap().clone());
    client.open(tag, Some(old.log), old.position, Some(&lost)).await;
    let opened = client.opened().await;
    assert!(!opened.resumed);
    let reset = Signed::<LogReset>::decode(&opened.reset.unwrap()).unwrap();
    let reset = reset.verify().unwrap().clone();
    assert_eq!((reset.old_log, reset.new_log), (old.log, opened.log));
    assert_eq!((reset.position, reset.head), (below.position, below.head));
    assert_ne!(opened.log, old.log);
    // Whoever had it open dials again, and is given the same admission.
    assert_eq!(at_bob.closed().await.0, CloseCode::Going);
    let mut at_bob = Client::dial(relay.address, &bob).await;
    at_bob.open(tag, Some(below.log), below.position, Some(&kept)).await;
    let again = at_bob.opened().await;
    assert_eq!(again.log, opened.log);
    assert_eq!(Signed::<LogReset>::decode(&again.reset.unwrap()).unwrap().verify(), Ok(&reset));
}

#[tokio::test]
async fn a_device_without_a_usable_cursor_reconciles_and_follows_from_there() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let (receipt, entries) = write(&mut at_alice, &mut pen, channel, 1..4).await;
    let head = receipt.verify().unwrap().clone();
    for _ in 0..3 {
        at_bob.items().await;
    }
    let foreign = tombolo_protocol::ids::LogId::from_bytes([3; 16]);
    at_bob.open(workspace(&ground).tag(), Some(foreign), 2, None).await;
    let opened = at_bob.opened().await;
    assert!(!opened.resumed && opened.reset.is_none());
    at_bob.send(Reconcile { channel, method: Reconcile::LIST, documents: None, held: None }).await;
    let shown = at_bob.ground().await;
    assert_eq!((shown.records.len(), shown.attestations.len()), (4, 1));
    let summary: Summary = match at_bob.frame().await {
        Frame::Summary(summary) => summary,
        other => panic!("expected Summary, got {other:?}"),
    };
    let mut frontier = Frontier::decode(&summary.frontier).unwrap();
    let origin = LogOrigin::new(&head.relay, &head.log, &head.workspace);
    assert_eq!((frontier.length(), frontier.head(&origin)), (head.position, head.head));
    let [chain] = summary.chains.as_slice() else {
        panic!("one chain was expected");
    };
    assert_eq!((chain.seq, chain.declared_at, chain.declared_seq), (3, 6, 1));
    assert_eq!(chain.hash, entries[2].hash().as_bytes()[..8]);
    assert!(at_bob.caught_up().await.0.is_empty());

    let (receipt, more) = write(&mut at_alice, &mut pen, channel, 4..5).await;
    let items = at_bob.items().await;
    assert_eq!(items.len(), 1);
    frontier.append(&ItemHash::Entry(more[0].hash()));
    assert_eq!(frontier.head(&origin), receipt.verify().unwrap().head);
}

#[tokio::test]
async fn entries_of_a_chain_can_be_fetched_again_with_full_headers() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let (mut client, ground, channel) = founded(&relay, &alice).await;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let (_, entries) = write(&mut client, &mut pen, channel, 1..8).await;
    let chain = entries[0].header().chain.id();
    for (from_seq, to_seq, expected) in [(1, 7, 0..7), (3, 5, 2..5), (7, 99, 6..7), (8, 9, 0..0)] {
        client.send(Fetch { channel, chain, from_seq, to_seq }).await;
        let Frame::Fetched(fetched) = client.frame().await else {
            panic!("expected Fetched");
        };
        let fetched: Vec<Entry> = fetched.entries.iter().map(|bytes| Entry::decode(bytes).unwrap()).collect();
        assert_eq!(fetched, entries[expected]);
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_dropped_and_resumes_where_it_was() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start_with(folder.path(), &["--slow-ms", "500"]);
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Reader).await;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let mut head = 0;
    for batch in 1..=60 {
        at_alice.append(channel, batch, vec![pen.item(&[7; 500_000])]).await;
        head = at_alice.received().await.1.position;
    }
    relay.wait_for_sessions(1).await;
    let mut have = 5;
    while let Some((first, last)) = at_bob.items_until_cut().await {
        assert_eq!(first, have + 1);
        have = last;
    }
    assert!(have < head, "the reader was not slow enough for this story");
    let mut at_bob = Client::dial(relay.address, &bob).await;
    at_bob.open(workspace(&ground).tag(), None, 0, None).await;
    let log = at_bob.opened().await.log;
    let mut at_bob = Client::dial(relay.address, &bob).await;
    at_bob.open(workspace(&ground).tag(), Some(log), have, None).await;
    assert!(at_bob.opened().await.resumed);
    let (items, receipt) = at_bob.caught_up().await;
    assert_eq!(items.len() as u64, head - have);
    assert_eq!(receipt.position, head);
}

#[tokio::test]
async fn a_reader_that_pauses_for_a_moment_loses_nothing_and_is_not_dropped() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Reader).await;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let mut head = 0;
    for batch in 1..=60 {
        at_alice.append(channel, batch, vec![pen.item(&[7; 300_000])]).await;
        head = at_alice.received().await.1.position;
    }
    let mut have = 5;
    while have < head {
        if let Frame::Items(items) = at_bob.frame().await {
            assert_eq!(items.first_position, have + 1);
            have += items.items.len() as u64;
        }
    }
}

#[tokio::test]
async fn status_rows_reach_who_is_there_and_who_comes_later() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Reader).await;
    let tag = workspace(&ground).tag();
    let row = |nth| StatusRow::sign(tag, bob.id(), nth, EPOCH, vec![4; 40], &bob.sign_key()).encode();
    for nth in [1, 2] {
        at_bob.send(Status { channel, row: row(nth).into() }).await;
        let Frame::Status(status) = at_alice.frame().await else {
            panic!("expected Status");
        };
        assert_eq!(status.row.to_vec(), row(nth));
    }
    // The second waits for its turn to be stored; leaving stores it.
    drop(at_bob);
    relay.wait_for_sessions(1).await;
    assert_eq!(http_get(relay.address, "/readyz").0, 200);
    at_alice.open(tag, None, 0, None).await;
    at_alice.opened().await;
    at_alice.caught_up().await;
    let Frame::Status(status) = at_alice.frame().await else {
        panic!("expected Status");
    };
    assert_eq!(status.row.to_vec(), row(2));
    // A row in another's name is no mistake.
    let forged = StatusRow::sign(tag, bob.id(), 3, EPOCH, vec![4; 40], &alice.sign_key());
    at_alice.send(Status { channel, row: forged.encode().into() }).await;
    assert_eq!(at_alice.closed().await.0, CloseCode::Misbehaved);
}
