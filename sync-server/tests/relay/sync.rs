//! Append, receipt, catch-up, fan-out, joining.

use tempfile::tempdir;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WsFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tombolo_protocol::frame::{Append, Frame, fragments};
use tombolo_protocol::ids::Stream;
use tombolo_protocol::item::{ItemHash, LogItem};
use tombolo_protocol::limits::FRAGMENT_BYTES_MAX;
use tombolo_protocol::receipt::acknowledged;
use tombolo_protocol::record::{Record, Role};

use super::client::{Client, verified};
use super::people::{Pen, Person, found, invite, join, workspace};
use super::process::RelayProcess;

/// A workspace of Alice's on a fresh relay, which Bob has joined with a role.
pub(crate) async fn island(
    relay: &RelayProcess,
    alice: &Person,
    bob: &Person,
    role: Role,
) -> (Client, Client, Vec<Record>, u32) {
    let mut ground = found(alice, 1);
    let mut at_alice = Client::dial(relay.address, alice).await;
    let (offer, key) = invite(&ground, alice, at_alice.relay.unwrap(), role, 1, 0);
    ground.push(offer);
    let opened = at_alice.seeded(&ground).await;
    let mut at_bob = Client::dial(relay.address, bob).await;
    let offer = ground.last().unwrap().id();
    at_bob.enter(bob, workspace(&ground).tag(), offer, &key).await;
    assert_eq!(at_bob.ground().await.records.len(), 3);
    ground.push(join(&ground, bob, offer, &key));
    let theirs = at_bob.seeded(&ground).await;
    assert_eq!(theirs.channel, opened.channel);
    // The Join and its attestation reach Alice.
    assert_eq!(at_alice.items().await.len(), 2);
    (at_alice, at_bob, ground, opened.channel)
}

#[tokio::test]
async fn a_large_entry_travels_in_small_fragments_and_is_taken_in_one_or_in_many() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let large = LogItem::encode_entry(&pen.write(&[7; 40 * FRAGMENT_BYTES_MAX]), None);
    // As another implementation may send it: one frame of the WebSocket.
    at_alice.append(channel, 1, vec![large.clone()]).await;
    assert_eq!(at_alice.received().await.0.positions, [(6, 1)]);
    // The reader's socket takes no larger frame than a fragment.
    assert!(at_bob.items().await == [(6, large)]);

    pen.declared_at(6);
    let next = pen.item(&[8; 3 * FRAGMENT_BYTES_MAX]);
    let append = Frame::from(Append { channel, batch: 2, items: vec![next.clone().into()] }).encode();
    for fragment in fragments(append.len()) {
        let data = if fragment.bytes.start == 0 { Data::Binary } else { Data::Continue };
        let piece = append.get(fragment.bytes).unwrap().to_vec();
        at_alice.send_raw(Message::Frame(WsFrame::message(piece, OpCode::Data(data), fragment.is_last))).await;
        // What comes between is answered (RFC 6455 §5.4).
        at_alice.send_raw(Message::Ping(Bytes::new())).await;
    }
    assert_eq!(at_alice.received().await.0.positions, [(7, 1)]);
    assert!(at_bob.items().await == [(7, next)]);
}

#[tokio::test]
async fn what_is_appended_is_acknowledged_and_reaches_the_other_member() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;

    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let first = pen.write(b"low tide at six");
    at_alice.append(channel, 1, vec![LogItem::encode_entry(&first, None)]).await;
    let (received, receipt) = at_alice.received().await;
    assert_eq!((received.first_batch, received.last_batch), (1, 1));
    assert_eq!(received.positions, [(6, 1)]);
    assert_eq!(receipt.position, 6);
    assert_eq!(receipt.acknowledged, acknowledged(&[ItemHash::Entry(first.hash())]));
    let items = at_bob.items().await;
    assert_eq!(items, [(6, LogItem::encode_entry(&first, None))]);

    // In short form from now on, and the same bytes for the reader.
    pen.declared_at(6);
    let second = pen.item(b"high tide at noon");
    at_alice.append(channel, 2, vec![second.clone()]).await;
    assert_eq!(at_alice.received().await.0.positions, [(7, 1)]);
    assert_eq!(at_bob.items().await, [(7, second)]);
    // The writer is not told what it wrote.
    assert!(at_alice.frame_soon().await.is_none());
}

#[tokio::test]
async fn a_device_that_was_away_catches_up_from_its_cursor_with_one_request() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Reader).await;
    drop(at_bob);

    let mut pens: Vec<Pen> = (0..50).map(|document| Pen::new(&alice, &ground, document, Stream::CONTENT)).collect();
    let items: Vec<Vec<u8>> = pens.iter_mut().map(|pen| pen.item(b"away")).collect();
    at_alice.append(channel, 1, items.clone()).await;
    let (_, receipt) = at_alice.received().await;

    let mut at_bob = Client::dial(relay.address, &bob).await;
    at_bob.open(workspace(&ground).tag(), Some(receipt.log), 5, None).await;
    assert!(at_bob.opened().await.resumed);
    let (caught, head) = at_bob.caught_up().await;
    assert_eq!(caught.into_iter().map(|(_, item)| item).collect::<Vec<_>>(), items);
    assert_eq!((head.position, head.head), (receipt.position, receipt.head));
    // Seed or join aside: one Open from Bob, and one from nobody else.
    assert!((relay.metric("tombolo_relay_frames_total{direction=\"in\",type=\"open\"}") - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn everything_acknowledged_survives_a_kill_and_can_be_resumed_with_the_receipt() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let ground = found(&alice, 1);
    let mut client = Client::dial(relay.address, &alice).await;
    let channel = client.seeded(&ground).await.channel;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let mut last = None;
    for batch in 1..=20 {
        client.append(channel, batch, vec![pen.item(b"durable")]).await;
        last = Some(client.received().await.0.receipt);
    }
    relay.kill();

    let relay = RelayProcess::start(folder.path());
    let mut client = Client::dial(relay.address, &alice).await;
    let (signed, receipt) = verified(&last.unwrap());
    let (tag, log) = (workspace(&ground).tag(), receipt.log);
    client.open(tag, Some(log), receipt.position, Some(&signed)).await;
    let opened = client.opened().await;
    assert!(opened.resumed && opened.reset.is_none());
    let (items, head) = client.caught_up().await;
    assert!(items.is_empty());
    assert_eq!(head.head, receipt.head);
}

#[tokio::test]
async fn a_batch_of_two_authors_is_shown_to_both_before_their_receipts() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;
    let mut mine = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let mut theirs = Pen::new(&bob, &ground, 1, Stream::CONTENT);
    for batch in 1..=100 {
        at_alice.append(channel, batch, vec![mine.item(b"a")]).await;
        at_bob.append(channel, batch, vec![theirs.item(b"b")]).await;
    }
    for client in [&mut at_alice, &mut at_bob] {
        let (mut have, mut acknowledged) = (5, 0);
        while acknowledged < 100 {
            match client.frame().await {
                Frame::Items(items) => {
                    assert_eq!(items.first_position, have + 1);
                    have += items.items.len() as u64;
                }
                Frame::Received(received) => {
                    let (_, receipt) = verified(&received.receipt);
                    let own: u64 = received.positions.iter().map(|(_, count)| u64::from(*count)).sum();
                    if receipt.position != have {
                        // All of the commit was this device's own.
                        assert_eq!(receipt.position, have + own);
                        have = receipt.position;
                    }
                    acknowledged = received.last_batch;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}
