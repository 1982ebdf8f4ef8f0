//! The relay inside another program, and its logic without any socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::tempdir;
use tombolo_protocol::auth::{Binding, Transcript};
use tombolo_protocol::frame::{Append, Auth, Frame, Seed, TlsMode};
use tombolo_protocol::ids::Stream;
use tombolo_protocol::keys::SignKey;
use tombolo_relay::Config;
use tombolo_relay::admission::Admission;
use tombolo_relay::fanout::Outbox;
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_relay::relay::{NoEntropy, Relay, Surroundings, Terms};
use tombolo_relay::session::{Peer, Session};
use tombolo_relay::writer;

use super::client::{Client, verified};
use super::people::{Pen, Person, found, workspace};

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

/// A clock that stands still and randomness that counts.
struct Still(AtomicU64);

impl Surroundings for Still {
    fn now_ms(&self) -> i64 {
        1_000
    }

    fn steady_ms(&self) -> u64 {
        0
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed) as u8);
        Ok(())
    }
}

fn relay_in(folder: &std::path::Path) -> Arc<Relay> {
    let log = SqliteLog::open(&folder.join("log.sqlite")).unwrap();
    let terms = Terms {
        credit_bytes: 1 << 20,
        ping_ms: 20_000,
        tls: TlsMode::Plain,
        quota_bytes: None,
        items_per_second: 100,
        bytes_per_second: 1 << 20,
    };
    let key = SignKey::from_seed(&[42; 32]);
    let still = Box::new(Still(AtomicU64::new(0)));
    Arc::new(Relay::new(key, Box::new(log), still, terms, Admission::Open).unwrap())
}

/// A session and everything that it says.
struct Wire {
    relay: Arc<Relay>,
    session: Session,
    outbox: Arc<Outbox>,
    heard: Vec<Frame>,
}

impl Wire {
    fn new(relay: &Arc<Relay>, who: &Person) -> Self {
        let outbox = relay.new_outbox();
        let peer = Peer { host: "sim".to_owned(), binding: Binding::None };
        let session = Session::new(Arc::clone(relay), Arc::clone(&outbox), peer);
        let mut wire = Self { relay: Arc::clone(relay), session, outbox, heard: Vec::new() };
        wire.say(Client::hello(who, None));
        let Some(Frame::Challenge(challenge)) = wire.heard.pop() else {
            panic!("expected Challenge");
        };
        let transcript = Transcript {
            relay: challenge.relay,
            host: "sim".to_owned(),
            device_nonce: [9; 32],
            relay_nonce: challenge.nonce,
            binding: Binding::None,
        };
        let proof = transcript.sign_as_device(&who.keys, &who.sign_key());
        wire.say(Auth { proof });
        assert!(matches!(wire.heard.pop(), Some(Frame::Welcome(_))));
        wire
    }

    /// Hands in a frame, lets everything settle, and collects what is said.
    fn say(&mut self, frame: impl Into<Frame>) {
        self.session.handle(&frame.into().encode()).unwrap();
        writer::commit(&self.relay, self.relay.queue().take());
        self.session.deliver(self.outbox.take()).unwrap();
        while self.session.wants_to_read() {
            self.session.read_on().unwrap();
        }
        let said = self.session.take_output();
        self.heard.extend(said.iter().map(|frame| Frame::decode(frame).unwrap()));
    }
}

/// A whole session, as the simulation drives it.
fn story() -> Vec<Vec<u8>> {
    let folder = tempdir().unwrap();
    let alice = Person::new(1);
    let relay = relay_in(folder.path());
    let mut wire = Wire::new(&relay, &alice);
    let ground = found(&alice, 1);
    wire.say(Seed {
        workspace: workspace(&ground),
        records: ground.iter().map(|record| record.encode().into()).collect(),
        attestations: Vec::new(),
        more: false,
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
