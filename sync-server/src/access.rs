//! The access log: who came, what they opened, what they were denied; signed and chained.
//!
//! Sessions hand events to a bounded queue; one thread makes records of them, links each to the one before
//! by its hash, signs the last of each batch, and writes the batch to a file of its own folder. A record
//! names devices, users, workspaces and records by their ids, as the log does; it holds no content, no
//! token, no code and no address.
//!
//! Invariant: a session never waits for it. What the queue could not take is counted in a record; whatever
//! is changed, taken out or moved afterwards does not verify.

mod event;
mod file;
mod verify;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tombolo_protocol::keys::SignKey;

pub use event::{AccessEvent, Denial, record_name};
pub use file::{FILE_BYTES_MAX, Journal};
pub use verify::{AccessFault, Head, NoHead, Place, Verified, verify};

/// Events that wait for the thread: a storm of sessions fits, and costs less than a megabyte.
pub const EVENTS_MAX: usize = 8192;
/// How long events are gathered, so that a storm costs a few signatures and syncs a second.
const GATHER: Duration = Duration::from_millis(200);
/// The folder's name in the data folder.
pub const ACCESS_FOLDER: &str = "access";

/// What a session hands over: the relay's clock, and what happened.
type Noted = (i64, AccessEvent);

enum Message {
    Note(Noted),
    End,
}

/// The end of the access log that sessions hold.
pub struct AccessLog {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens the folder, continues its chain, and starts the thread.
    ///
    /// # Errors
    /// The system's, if the folder or its newest file can not be used, or no thread be started.
    pub fn start(folder: &Path, key: SignKey, files_max: usize, now_ms: i64) -> io::Result<Self> {
        let journal = Journal::open(folder, key, files_max, now_ms)?;
        let (sender, receiver) = sync_channel(EVENTS_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let work = move || run(journal, &receiver, &counter);
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(work)?;
        Ok(Self { sender, lost, thread: Mutex::new(Some(thread)) })
    }

    /// Notes what happened, at this time of the relay's clock; never waits.
    pub fn note(&self, now_ms: i64, event: AccessEvent) {
        if self.sender.try_send(Message::Note((now_ms, event))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, and ends the thread.
    pub fn end(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.sender.send(Message::End).is_err() {
            tracing::error!("the access log had ended before");
        }
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the access log ended badly");
        }
    }
}

/// Gathers events and writes them, until it is told to end.
fn run(mut journal: Journal, receiver: &Receiver<Message>, lost: &AtomicU64) {
    let mut ending = false;
    while !ending {
        let Ok(first) = receiver.recv() else {
            return;
        };
        let mut batch = Vec::new();
        ending = !take(first, &mut batch);
        if !ending {
            std::thread::sleep(GATHER);
        }
        while let Ok(next) = receiver.try_recv() {
            ending |= !take(next, &mut batch);
        }
        let missed = lost.swap(0, Ordering::Relaxed);
        if let Some((time_ms, _)) = batch.last().filter(|_| missed > 0) {
            batch.push((*time_ms, AccessEvent::Lost { events: missed }));
        }
        let count = batch.len() as u64;
        if let Err(error) = journal.write(batch) {
            tracing::error!(%error, "the access log can not be written");
            lost.fetch_add(count.saturating_add(missed), Ordering::Relaxed);
        }
    }
}

/// Tells whether more may come.
fn take(message: Message, batch: &mut Vec<Noted>) -> bool {
    match message {
        Message::Note(noted) => batch.push(noted),
        Message::End => return false,
    }
    true
}
