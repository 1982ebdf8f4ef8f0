//! One relay of the harness: the real sessions, judge, writer and log, without a socket.
//!
//! Frames come in from the net and go out to it; a commit is an event of its own, so that what waits of
//! several sessions shares one. Restarting drops everything in memory; wiping and rolling back change
//! the folder while the relay is down, as an operator's accident would.
//!
//! Invariant: the relay's clock and chance are the net's; its files are real.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tombolo::crypto::{Entropy as _, array};
use tombolo::engine::Connection;
use tombolo::protocol::auth::Binding;
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::frame::TlsMode;
use tombolo::protocol::keys::SignKey;
use tombolo_relay::admission::Admission;
use tombolo_relay::fanout::{Closing, Outbox};
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_relay::relay::{NoEntropy, Relay, Surroundings, Terms};
use tombolo_relay::session::{Peer, Session};
use tombolo_relay::writer;

use crate::chance::Chance;
use crate::replica::Witness;

/// Names a relay of a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayNode(pub(crate) usize);

impl RelayNode {
    /// The relay that every net begins with.
    pub const FIRST: Self = Self(0);

    /// Names a relay by its number, from 0.
    #[must_use]
    pub fn nth(number: usize) -> Self {
        Self(number)
    }
}

/// One connection: of which device, in which of its lives, and which attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) device: usize,
    pub(crate) boot: u32,
    pub(crate) connection: Connection,
}

/// What a relay sends.
pub(crate) enum Said {
    /// A frame.
    Frame(Line, Vec<u8>),
    /// The end of a connection.
    Ended(Line, CloseCode),
}

/// The net's clock, as a relay reads it.
#[derive(Clone, Default)]
pub(crate) struct SharedClock(Arc<AtomicU64>);

impl SharedClock {
    pub(crate) fn set(&self, mono: Duration) {
        self.0.store(u64::try_from(mono.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Simulated {
    clock: SharedClock,
    chance: Mutex<Chance>,
}

impl Surroundings for Simulated {
    fn now_ms(&self) -> i64 {
        crate::net::WALL_MS + i64::try_from(self.clock.ms()).unwrap_or(0)
    }

    fn steady_ms(&self) -> u64 {
        self.clock.ms()
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }
}

/// One relay.
pub(crate) struct Station {
    pub(crate) address: String,
    pub(crate) folder: PathBuf,
    seed: u64,
    lives: u32,
    keys: u32,
    clock: SharedClock,
    pub(crate) relay: Option<Arc<Relay>>,
    sessions: BTreeMap<Line, (Session, Arc<Outbox>)>,
    said: Vec<Said>,
    /// Devices that do not read for the moment, so that what is for them waits here.
    pub(crate) stalled: BTreeSet<usize>,
    pub(crate) commit_planned: bool,
    pub(crate) witness: Option<Witness>,
    /// Deletes what a snapshot stands for after so long.
    pub(crate) retention: Option<Duration>,
}

impl Station {
    pub(crate) fn new(number: usize, root: &Path, seed: u64, clock: SharedClock) -> Self {
        let folder = root.join(format!("relay-{number}"));
        std::fs::create_dir_all(&folder).expect("a folder for the relay");
        let mut station = Self {
            address: format!("ws://127.0.0.1:{}", 4000 + number),
            folder,
            seed,
            lives: 0,
            keys: 0,
            clock,
            relay: None,
            sessions: BTreeMap::new(),
            said: Vec::new(),
            stalled: BTreeSet::new(),
            commit_planned: false,
            witness: None,
            retention: None,
        };
        station.start();
        station
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn host(&self) -> String {
        self.address.trim_start_matches("ws://").to_owned()
    }

    fn label(&self, what: &str, nth: u32) -> String {
        format!("{}/{what}/{nth}", self.address)
    }

    pub(crate) fn key(&self) -> SignKey {
        SignKey::from_seed(&array(&mut Chance::new(self.seed, &self.label("key", self.keys))))
    }

    pub(crate) fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("the relay is up")
    }

    pub(crate) fn start(&mut self) {
        if self.relay.is_some() {
            return;
        }
        self.lives += 1;
        let log = SqliteLog::open(&self.folder.join("log.sqlite")).expect("the relay's log opens");
        let chance = Mutex::new(Chance::new(self.seed, &self.label("life", self.lives)));
        let surroundings = Box::new(Simulated { clock: self.clock.clone(), chance });
        let terms = Terms {
            credit_bytes: 1 << 20,
            ping_ms: 20_000,
            tls: TlsMode::Plain,
            quota_bytes: None,
            items_per_second: 10_000,
            bytes_per_second: 8 << 20,
        };
        let relay = Relay::new(self.key(), Box::new(log), surroundings, terms, Admission::Open);
        self.relay = Some(Arc::new(relay.expect("the relay starts").pruning_after(self.retention)));
    }

    /// Stops without a word; what was not committed is lost.
    pub(crate) fn stop(&mut self) {
        self.sessions.clear();
        self.said.clear();
        self.relay = None;
    }

    /// Forgets the log, and with `key` the key too.
    pub(crate) fn wipe(&mut self, key: bool) {
        self.stop();
        remove_all(&self.folder);
        self.keys += u32::from(key);
    }

    pub(crate) fn back_up(&self) -> PathBuf {
        let to = self.folder.with_extension("backup");
        std::fs::create_dir_all(&to).expect("a folder for the backup");
        remove_all(&to);
        copy_all(&self.folder, &to);
        to
    }

    pub(crate) fn roll_back(&mut self) {
        self.stop();
        remove_all(&self.folder);
        copy_all(&self.folder.with_extension("backup"), &self.folder);
    }

    pub(crate) fn accept(&mut self, line: Line) {
        let Some(relay) = &self.relay else { return };
        let outbox = relay.new_outbox();
        let peer = Peer { host: self.host(), binding: Binding::None };
        let session = Session::new(Arc::clone(relay), Arc::clone(&outbox), peer);
        self.sessions.insert(line, (session, outbox));
    }

    pub(crate) fn forget(&mut self, line: Line) {
        self.sessions.remove(&line);
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.sessions.keys().copied().collect()
    }

    /// Takes a frame in.
    pub(crate) fn hear(&mut self, line: Line, bytes: &[u8]) {
        if let Some((session, _)) = self.sessions.get_mut(&line) {
            let heard = session.handle(bytes);
            self.after(line, heard);
        }
        self.pump();
    }

    /// Writes what waits, and lets everybody hear of it.
    pub(crate) fn commit(&mut self) {
        self.commit_planned = false;
        let Some(relay) = self.relay.clone() else { return };
        relay.sweep_if_due().expect("the log reads");
        relay.rest();
        loop {
            let jobs = relay.queue().take();
            if jobs.is_empty() {
                break;
            }
            writer::commit(&relay, jobs);
            relay.queue().note(Duration::ZERO);
            if let Some(witness) = &mut self.witness {
                witness();
            }
        }
        self.pump();
    }

    /// Returns what the relay has to say.
    pub(crate) fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    pub(crate) fn pump(&mut self) {
        loop {
            let mut moved = false;
            for line in self.lines() {
                moved |= self.pump_one(line);
            }
            if !moved {
                return;
            }
        }
    }

    fn pump_one(&mut self, line: Line) -> bool {
        if self.stalled.contains(&line.device) {
            return false;
        }
        let Some((session, outbox)) = self.sessions.get_mut(&line) else { return false };
        let taken = outbox.take();
        if !taken.queue.is_empty() || !taken.behind.is_empty() || taken.closing.is_some() {
            let delivered = session.deliver(taken);
            self.after(line, delivered);
            return true;
        }
        if session.wants_to_read() {
            let read = session.read_on();
            self.after(line, read);
            return true;
        }
        false
    }

    fn after(&mut self, line: Line, step: Result<(), Closing>) {
        let Some((session, _)) = self.sessions.get_mut(&line) else { return };
        let frames = session.take_output();
        self.said.extend(frames.into_iter().map(|frame| Said::Frame(line, frame.to_vec())));
        if let Err(closing) = step {
            let last = session.last_frame(closing).to_vec();
            self.said.push(Said::Frame(line, last));
            self.said.push(Said::Ended(line, closing.code));
            self.sessions.remove(&line);
        }
    }
}

pub(crate) fn remove_all(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        std::fs::remove_file(entry.path()).expect("the file goes");
    }
}

pub(crate) fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("the folder is there").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("the file is copied");
    }
}
