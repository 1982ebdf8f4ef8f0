//! The relay inside another program, and its logic without any socket.

use tempfile::tempdir;
use tombolo_protocol::frame::{Append, Frame, Seed};
use tombolo_protocol::ids::Stream;
use tombolo_protocol::record::Levels;
use tombolo_relay::Config;

use super::client::{Client, verified};
use super::people::{Pen, Person, found, workspace};
use super::wire::{Clock, Wire, relay_in};

#[tokio::test]
async fn a_relay_can_be_embedded_and_ends_when_it_is_told() {
    let folder = tempdir().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let config = Config::on_loopback(folder.path()).unwrap();
    let shutdown = async move { stopped.await.unwrap() };
    let serving = tombolo_relay::serve(config, shutdown).await.unwrap();
    let alice = Person::new(1);
    let mut client = Client::dial(serving.address, &alice).await;
    assert_eq!(client.relay, Some(serving.relay));
    client.seeded(&found(&alice, 1)).await;
    stop.send(()).unwrap();
    client.closed().await;
    serving.finished().await;
}

/// A whole session, as the simulation drives it.
fn story() -> Vec<Vec<u8>> {
    let folder = tempdir().unwrap();
    let alice = Person::new(1);
    let relay = relay_in(folder.path(), &Clock::default(), Levels::default());
    let mut wire = Wire::new(&relay, &alice);
    let ground = found(&alice, 1);
    wire.say(Seed {
        workspace: workspace(&ground),
        records: ground.iter().map(|record| record.encode().into()).collect(),
        attestations: Vec::new(),
        more: false,
        documents: None,
    });
    let names: Vec<_> = wire.heard.iter().map(Frame::name).collect();
    assert_eq!(names, ["Opened", "Items", "Head"]);
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let (channel, batch) = (1, 1);
    wire.say(Append { channel, batch, items: vec![pen.item(b"no socket").into()] });
    let Some(Frame::Received(received)) = wire.heard.last() else {
        panic!("expected Received");
    };
    assert_eq!(verified(&received.receipt).1.position, 3);
    wire.heard.iter().map(Frame::encode).collect()
}

#[test]
fn the_relays_logic_runs_without_a_socket_and_twice_the_same() {
    assert_eq!(story(), story());
}
