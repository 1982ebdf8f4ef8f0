//! Sessions without sockets, on a clock that the test turns.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tombolo_protocol::auth::{Binding, Transcript};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Append, Auth, Frame, Open, RefusalReason, Seed, TlsMode};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::record::{Levels, Record};
use tombolo_relay::admission::Admission;
use tombolo_relay::fanout::Outbox;
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_relay::relay::{NoEntropy, Relay, Surroundings, Terms};
use tombolo_relay::session::{Peer, Session};
use tombolo_relay::writer;

use super::client::Client;
use super::people::{Person, workspace};

/// The time, as the test has it.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn now_ms(&self) -> i64 {
        1_000 + self.0.load(Ordering::Relaxed)
    }
}

/// That clock, and randomness that counts.
struct Still(Clock, AtomicU64);

impl Surroundings for Still {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn steady_ms(&self) -> u64 {
        u64::try_from(self.0.now_ms() - 1_000).unwrap()
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        bytes.fill(self.1.fetch_add(1, Ordering::Relaxed) as u8);
        Ok(())
    }
}

pub(crate) fn bare_relay(folder: &Path, clock: &Clock) -> Relay {
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
    let still = Box::new(Still(clock.clone(), AtomicU64::new(0)));
    Relay::new(key, Box::new(log), still, terms, Admission::Open).unwrap()
}

pub(crate) fn relay_in(folder: &Path, clock: &Clock, minimum: Levels) -> Arc<Relay> {
    Arc::new(bare_relay(folder, clock).asking(minimum))
}

/// A session and everything that it says.
pub(crate) struct Wire {
    relay: Arc<Relay>,
    session: Session,
    outbox: Arc<Outbox>,
    batch: u32,
    pub(crate) heard: Vec<Frame>,
}

impl Wire {
    pub(crate) fn new(relay: &Arc<Relay>, who: &Person) -> Self {
        Self::dial(relay, who).unwrap()
    }

    pub(crate) fn dial(relay: &Arc<Relay>, who: &Person) -> Result<Self, CloseCode> {
        Self::dial_over(relay, who, Binding::None)
    }

    pub(crate) fn dial_over(relay: &Arc<Relay>, who: &Person, binding: Binding) -> Result<Self, CloseCode> {
        let outbox = relay.new_outbox();
        let peer = Peer { host: "sim".to_owned(), binding };
        let session = Session::new(Arc::clone(relay), Arc::clone(&outbox), peer);
        let mut wire = Self { relay: Arc::clone(relay), session, outbox, batch: 0, heard: Vec::new() };
        wire.say(Client::hello(who, None));
        let Some(Frame::Challenge(challenge)) = wire.heard.pop() else {
            panic!("expected Challenge");
        };
        let transcript = Transcript {
            relay: challenge.relay,
            host: "sim".to_owned(),
            device_nonce: [9; 32],
            relay_nonce: challenge.nonce,
            binding,
        };
        let proof = transcript.sign_as_device(&who.keys, &who.sign_key());
        wire.try_say(Auth { proof })?;
        assert!(matches!(wire.heard.pop(), Some(Frame::Welcome(_))));
        Ok(wire)
    }

    /// Hands in a frame, lets everything settle, and collects what is said.
    pub(crate) fn say(&mut self, frame: impl Into<Frame>) {
        self.try_say(frame).unwrap();
    }

    pub(crate) fn try_say(&mut self, frame: impl Into<Frame>) -> Result<(), CloseCode> {
        self.whisper(frame)?;
        writer::commit(&self.relay, self.relay.queue().take());
        self.settle()
    }

    /// Hands in a frame, and commits nothing.
    pub(crate) fn whisper(&mut self, frame: impl Into<Frame>) -> Result<(), CloseCode> {
        let outcome = self.session.handle(&frame.into().encode());
        self.listen();
        outcome.map_err(|closing| closing.code)
    }

    /// Takes what has come from others since.
    pub(crate) fn settle(&mut self) -> Result<(), CloseCode> {
        let mut outcome = self.session.deliver(self.outbox.take());
        while outcome.is_ok() && self.session.wants_to_read() {
            outcome = self.session.read_on();
        }
        self.listen();
        outcome.map_err(|closing| closing.code)
    }

    fn listen(&mut self) {
        let said = self.session.take_output();
        self.heard.extend(said.iter().map(|frame| Frame::decode(frame).unwrap()));
    }

    /// What was heard since it was last asked.
    pub(crate) fn take_heard(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.heard)
    }

    pub(crate) fn names(&mut self) -> Vec<&'static str> {
        self.take_heard().iter().map(Frame::name).collect()
    }

    pub(crate) fn seed(&mut self, ground: &[Record]) {
        self.say(Seed {
            workspace: workspace(ground),
            records: ground.iter().map(|record| record.encode().into()).collect(),
            attestations: Vec::new(),
            more: false,
            documents: None,
        });
    }

    pub(crate) fn open(&mut self, ground: &[Record]) {
        self.say(Open { workspace: workspace(ground).tag(), log: None, cursor: 0, receipt: None, documents: None });
    }

    pub(crate) fn next_append(&mut self, items: Vec<Vec<u8>>) -> Append {
        self.batch += 1;
        Append { channel: 1, batch: self.batch, items: items.into_iter().map(Into::into).collect() }
    }

    /// Appends to the relay's only workspace; returns what was refused.
    pub(crate) fn append(&mut self, items: Vec<Vec<u8>>) -> Vec<(u32, RefusalReason)> {
        let append = self.next_append(items);
        self.say(append);
        self.refusals()
    }

    pub(crate) fn refusals(&mut self) -> Vec<(u32, RefusalReason)> {
        let refusal = |frame: &Frame| match frame {
            Frame::Refused(refused) => Some((refused.item, refused.reason)),
            _ => None,
        };
        self.take_heard().iter().filter_map(refusal).collect()
    }
}
