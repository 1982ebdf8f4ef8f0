//! A relay with one session; what the device says comes from the fuzzer.
//!
//! Invariant: whatever was said, the relay says only what can be read, and serves the next device.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tombolo_protocol::auth::Binding;
use tombolo_protocol::frame::{Frame, TlsMode};
use tombolo_relay::admission::Admission;
use tombolo_relay::fanout::{Closing, Outbox};
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_relay::relay::{NoEntropy, Relay, Surroundings, Terms};
use tombolo_relay::session::{Peer, Session};
use tombolo_relay::writer;

use crate::device::{HOST, relay_key};
use crate::{CONVERSATION, NOW};

/// A relay and one session.
pub struct Desk {
    relay: Arc<Relay>,
    outbox: Arc<Outbox>,
    session: Option<Session>,
    // Behind the log, which lives in it.
    _folder: tempfile::TempDir,
}

impl Desk {
    /// Starts a relay, and a session with an unknown device.
    #[must_use]
    pub fn new() -> Self {
        Self::on(|_| {})
    }

    /// Starts a relay on what is put into its folder, and a session with an unknown device.
    pub(crate) fn on(prepare: impl FnOnce(&Path)) -> Self {
        let folder = folder();
        prepare(folder.path());
        let relay = relay_in(folder.path());
        let (outbox, session) = session(&relay);
        Self { relay, outbox, session: Some(session), _folder: folder }
    }

    /// Lets an honest device say its first words: none, its proof, its workspace, its edits.
    #[must_use]
    pub fn after(words: usize) -> Self {
        let mut desk = Self::new();
        for frame in CONVERSATION.device.iter().take(words) {
            desk.take(frame);
        }
        assert!(desk.session.is_some(), "an honest device was sent away");
        desk
    }

    /// Takes one message, lets everything settle, and returns what is said; a session that has ended hears nothing.
    pub fn take(&mut self, message: &[u8]) -> Vec<Frame> {
        let Some(mut session) = self.session.take() else {
            return Vec::new();
        };
        let ended = session.handle(message).and_then(|()| {
            self.write();
            session.deliver(self.outbox.take())?;
            while session.wants_to_read() {
                session.read_on()?;
            }
            Ok::<(), Closing>(())
        });
        let mut said = session.take_output();
        match ended {
            Ok(()) => self.session = Some(session),
            Err(closing) => said.push(session.last_frame(closing)),
        }
        said.iter().map(|frame| Frame::decode(frame).expect("it says what can be read")).collect()
    }

    /// Writes all that waits; a transaction takes a share of each workspace.
    fn write(&self) {
        loop {
            let jobs = self.relay.queue().take();
            if jobs.is_empty() {
                break;
            }
            writer::commit(&self.relay, jobs);
        }
    }

    /// Serves the honest device from its first word, on a session of its own.
    ///
    /// # Panics
    /// If the device is not served.
    pub fn serve_the_next(mut self) {
        drop(self.session.take());
        self.write();
        let (outbox, session) = session(&self.relay);
        (self.outbox, self.session) = (outbox, Some(session));
        let hello = CONVERSATION.device.first().expect("a Hello");
        let said = self.take(hello);
        assert!(matches!(said.as_slice(), [Frame::Challenge(_)]), "it says {said:?}");
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

/// A folder in memory.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a folder")
}

fn relay_in(folder: &Path) -> Arc<Relay> {
    let log = SqliteLog::open(&folder.join("log.sqlite")).expect("a new log");
    let terms = Terms {
        credit_bytes: 1 << 20,
        ping_ms: 20_000,
        tls: TlsMode::Plain,
        quota_bytes: Some(4 << 20),
        items_per_second: 100,
        bytes_per_second: 1 << 20,
    };
    let still = Box::new(Still(AtomicU8::new(0)));
    let relay = Relay::new(relay_key(), Box::new(log), still, terms, Admission::Open);
    Arc::new(relay.expect("a relay"))
}

fn session(relay: &Arc<Relay>) -> (Arc<Outbox>, Session) {
    let outbox = relay.new_outbox();
    let peer = Peer { host: HOST.to_owned(), binding: Binding::None };
    let session = Session::new(Arc::clone(relay), Arc::clone(&outbox), peer);
    (outbox, session)
}

/// A clock that stands still and randomness that counts.
struct Still(AtomicU8);

impl Surroundings for Still {
    fn now_ms(&self) -> i64 {
        NOW.wall_ms
    }

    fn steady_ms(&self) -> u64 {
        0
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}
