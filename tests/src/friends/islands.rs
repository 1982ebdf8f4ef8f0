//! Two islands, a device each, and two relays that they reach for moments only.
//!
//! Invariant: an island looks into a log no further than it is let: the line is cut behind that item, so no state is
//! richer than it was. No socket, no thread and no real clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tombolo::crypto::{Entropy, MemoryVault};
use tombolo::document::Crdt;
use tombolo::engine::{Connection, Effect, Engine, EngineConfig, Input, Now};
use tombolo::protocol::auth::Binding;
use tombolo::protocol::frame::{Frame, Items, TlsMode};
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::keys::SignKey;
use tombolo::protocol::receipt::{Receipt, Signed};
use tombolo::protocol::record::Role;
use tombolo::{Durability, Error, InviteTerms, Store, Tx};
use tombolo_relay::admission::Admission;
use tombolo_relay::fanout::Outbox;
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_relay::relay::{NoEntropy, Relay, Surroundings, Terms};
use tombolo_relay::session::{Peer, Session};
use tombolo_relay::writer;

use crate::chance::Chance;

struct Around {
    looks: AtomicU64,
    chance: Mutex<Chance>,
}

impl Surroundings for Around {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }

    fn steady_ms(&self) -> u64 {
        // Rates are no part of this story: a second passes at each look.
        self.looks.fetch_add(1000, Ordering::Relaxed)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }
}

struct Island {
    store: Store,
    engine: Engine,
}

struct Line {
    connection: Connection,
    session: Session,
    outbox: Arc<Outbox>,
    /// The last position that may be seen; nothing may be said then.
    until: Option<u64>,
}

/// Two islands and two relays: number 0 is the first friend's, number 1 the second's.
pub(super) struct World {
    folder: tempfile::TempDir,
    now: Duration,
    islands: Vec<Island>,
    relays: Vec<Arc<Relay>>,
    /// Which island may reach which relay now, and how far it may look.
    open: BTreeMap<(usize, usize), Option<u64>>,
    lines: BTreeMap<(usize, usize), Line>,
    /// The length of each log, by its relay's last signature.
    pub(super) length: [u64; 2],
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder for the stores");
        let (mut islands, mut relays) = (Vec::new(), Vec::new());
        for number in 0..2_u8 {
            let vault = MemoryVault::default();
            let path = folder.path().join(format!("island-{number}"));
            let mut chance = Chance::new(seed, &format!("store {number}"));
            let mut store = Store::open(&path, &vault, Durability::Process, &mut chance).expect("the store opens");
            let chance = Chance::new(seed, &format!("engine {number}"));
            let engine = Engine::load(&mut store, Box::new(chance), EngineConfig::default());
            islands.push(Island { store, engine: engine.expect("the engine loads") });
            let log = SqliteLog::open(&folder.path().join(format!("relay-{number}"))).expect("the log opens");
            let terms = Terms {
                credit_bytes: 1 << 20,
                ping_ms: 20_000,
                tls: TlsMode::Plain,
                quota_bytes: None,
                items_per_second: 1_000_000,
                bytes_per_second: 1 << 30,
            };
            let (key, around) = (
                SignKey::from_seed(&[number + 1; 32]),
                Box::new(Around {
                    looks: AtomicU64::new(0),
                    chance: Mutex::new(Chance::new(seed, &format!("relay {number}"))),
                }),
            );
            let relay = Relay::new(key, Box::new(log), around, terms, Admission::Open);
            relays.push(Arc::new(relay.expect("the relay starts")));
        }
        let (open, lines) = (BTreeMap::new(), BTreeMap::new());
        Self { folder, now: Duration::from_secs(1), islands, relays, open, lines, length: [0, 0] }
    }

    fn now(&self) -> Now {
        let wall_ms = 1_700_000_000_000 + i64::try_from(self.now.as_millis()).unwrap_or(0);
        Now { mono: self.now, wall_ms }
    }

    /// One turn of an engine: handle, settle, commit.
    pub(super) fn turn<R>(
        &mut self,
        island: usize,
        work: impl FnOnce(&mut Engine, Now, &Tx<'_>) -> Result<R, Error>,
    ) -> R {
        let now = self.now();
        let Island { store, engine } = &mut self.islands[island];
        let tx = store.begin(false).expect("the store works");
        let done = work(engine, now, &tx).expect("the engine works");
        engine.settle(now, &tx, true).expect("the engine settles");
        tx.commit().expect("the store commits");
        done
    }

    fn hear(&mut self, island: usize, input: Input) {
        self.turn(island, |engine, now, tx| engine.handle(now, input, tx).map_err(Error::Store));
    }

    /// Lets time pass, and everything happen that waits for it.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for island in 0..2 {
            self.hear(island, Input::Tick);
        }
        self.run();
    }

    /// Carries frames until nobody has anything to say.
    fn run(&mut self) {
        loop {
            let mut quiet = true;
            for island in 0..2 {
                while let Some(effect) = self.islands[island].engine.poll_effect() {
                    quiet = false;
                    self.perform(island, effect);
                }
            }
            for at in self.lines.keys().copied().collect::<Vec<_>>() {
                quiet &= !self.carry(at);
            }
            if quiet {
                return;
            }
        }
    }

    fn perform(&mut self, island: usize, effect: Effect) {
        match effect {
            Effect::Dial { connection, address } => {
                let relay = usize::from(address.ends_with('1'));
                let Some(until) = self.open.get(&(island, relay)).copied() else {
                    return self.hear(island, Input::Disconnected { connection, code: None });
                };
                let outbox = self.relays[relay].new_outbox();
                let host = address.trim_start_matches("ws://").to_owned();
                let peer = Peer { host: host.clone(), binding: Binding::None };
                let session = Session::new(Arc::clone(&self.relays[relay]), Arc::clone(&outbox), peer);
                self.lines.insert((island, relay), Line { connection, session, outbox, until });
                let connected = Input::Connected { connection, host, binding: Binding::None, loopback: true };
                self.hear(island, connected);
            }
            Effect::Send { connection, bytes } => {
                let said = |line: &&mut Line| line.connection == connection;
                if let Some((at, line)) =
                    self.lines.iter_mut().find(|(at, line)| at.0 == island && said(line)).map(|(at, line)| (*at, line))
                {
                    assert!(line.session.handle(&bytes).is_ok(), "the relay takes what it is told");
                    let relay = &self.relays[at.1];
                    writer::commit(relay, relay.queue().take());
                }
            }
            Effect::HangUp { connection, .. } => {
                self.lines.retain(|at, line| at.0 != island || line.connection != connection);
            }
            Effect::Event(_) => {}
        }
    }

    /// Carries what a relay says to an island; returns whether it said anything.
    fn carry(&mut self, at: (usize, usize)) -> bool {
        let Some(line) = self.lines.get_mut(&at) else { return false };
        assert!(line.session.deliver(line.outbox.take()).is_ok());
        while line.session.wants_to_read() {
            assert!(line.session.read_on().is_ok());
        }
        let (said, until, connection) = (line.session.take_output(), line.until, line.connection);
        for bytes in &said {
            for frame in one_item_each(Frame::decode(bytes).expect("a frame of the relay")) {
                self.note_length(at.1, &frame);
                let past = |items: &Items| until.is_some_and(|until| items.first_position > until);
                let over = until.is_some()
                    && (matches!(frame, Frame::Head(_)) || matches!(&frame, Frame::Items(items) if past(items)));
                if over {
                    self.cut(at);
                    return true;
                }
                self.hear(at.0, Input::Frame { connection, bytes: frame.encode() });
            }
        }
        !said.is_empty()
    }

    fn note_length(&mut self, relay: usize, frame: &Frame) {
        let receipt = match frame {
            Frame::Received(received) => &received.receipt,
            Frame::Head(head) => &head.receipt,
            _ => return,
        };
        let receipt = Signed::<Receipt>::decode(receipt).expect("a receipt");
        self.length[relay] = receipt.verify().expect("the relay's signature").position;
    }

    fn cut(&mut self, at: (usize, usize)) {
        self.open.remove(&at);
        if let Some(line) = self.lines.remove(&at) {
            self.hear(at.0, Input::Disconnected { connection: line.connection, code: None });
        }
    }

    /// Opens a line, lets everything happen on it, and cuts it.
    pub(super) fn visit(&mut self, at: (usize, usize), until: Option<u64>) {
        self.open.insert(at, until);
        self.hear(at.0, Input::NetworkChanged);
        self.run();
        self.cut(at);
        // Remote changes wait a moment to be applied together.
        self.pass(Duration::from_millis(300));
    }

    pub(super) fn meet(&mut self, crdt: Crdt) -> DocumentId {
        let address = |relay: usize| format!("ws://127.0.0.1:400{relay}");
        let workspace = self.turn(0, |engine, now, tx| engine.create_workspace(now, "Friends", tx));
        self.open.insert((0, 0), None);
        self.turn(0, |engine, now, tx| engine.dial(now, &address(0), false, None, tx));
        self.run();
        let terms = InviteTerms { role: Role::Writer, expires_ms: None, uses: Some(1) };
        let invite = self.turn(0, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
        self.run();
        self.open.insert((1, 0), None);
        self.turn(1, |engine, now, tx| engine.join(now, invite, tx));
        self.run();
        self.open.insert((1, 1), None);
        self.turn(1, |engine, now, tx| engine.dial(now, &address(1), false, None, tx));
        self.run();
        self.open.insert((0, 1), None);
        self.turn(0, |engine, now, tx| engine.dial(now, &address(1), false, None, tx));
        self.run();
        for at in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            self.cut(at);
        }
        self.turn(0, |engine, now, tx| engine.create_document(now, &workspace, crdt, tx))
    }

    /// Returns the bytes of the first island's store and of the first relay's log, once all is moved into their files.
    pub(super) fn bytes(&mut self) -> [u64; 2] {
        self.islands[0].store.checkpoint().expect("the store works");
        self.relays[0].log().move_backlog().expect("the log works");
        ["island-0", "relay-0"].map(|name| {
            let file = std::fs::metadata(self.folder.path().join(name));
            file.expect("the file is there").len()
        })
    }

    pub(super) fn text(&mut self, island: usize, document: DocumentId) -> String {
        self.turn(island, |engine, now, tx| engine.read(now, &document, |view| view.text("text"), tx))
            .expect("the document reads")
            .unwrap_or_default()
    }
}

/// A relay may put as few items into a frame as it likes.
fn one_item_each(frame: Frame) -> Vec<Frame> {
    let Frame::Items(items) = frame else { return vec![frame] };
    let (channel, first) = (items.channel, items.first_position);
    let single = |(position, item)| Frame::Items(Items { channel, first_position: position, items: vec![item] });
    (first..).zip(items.items).map(single).collect()
}
