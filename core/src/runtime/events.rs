//! How an app hears of things: a stream for each watched document, and one for the whole replica.
//!
//! Invariant: the first event of a document's stream is its present state; a listener that is too slow
//! misses patches and is told to read again, it never makes the engine wait.

use tokio::sync::{broadcast, mpsc};
use tombolo_protocol::ids::{DeviceId, DocumentId};

use super::command::Command;
use crate::document::{Patch, Value};
use crate::engine::{Event, Input, Origin};

/// Events that wait for one listener of a document; beyond it patches are dropped.
pub(super) const DOCUMENT_EVENTS_MAX: usize = 1024;
/// Events that wait for one listener of the replica.
const REPLICA_EVENTS_MAX: usize = 1024;

/// What the driver shows to everybody; it ends with the driver.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) events: broadcast::Sender<Event>,
}

impl Outlets {
    pub(super) fn new() -> Self {
        Self { events: broadcast::Sender::new(REPLICA_EVENTS_MAX) }
    }

    /// Returns what a handle keeps of them: it does not hold them open once the replica is closed.
    pub(super) fn listeners(&self) -> Listeners {
        Listeners { events: self.events.downgrade() }
    }
}

/// A handle's end of the outlets.
#[derive(Clone, Debug)]
pub(super) struct Listeners {
    events: broadcast::WeakSender<Event>,
}

impl Listeners {
    pub(super) fn events(&self) -> ReplicaEvents {
        // Of a closed replica: a stream that has ended.
        let ended = || broadcast::Sender::new(1).subscribe();
        ReplicaEvents(self.events.upgrade().map_or_else(ended, |events| events.subscribe()))
    }
}

/// What happened to a watched document.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DocumentEvent {
    /// The whole document, as it is now: the first event, and the one after events were missed.
    Current {
        /// Its content.
        value: Value,
    },
    /// It changed.
    Changed {
        /// What changed, in order.
        patches: Vec<Patch>,
        /// Who wrote it, if it was one device.
        author: Option<DeviceId>,
        /// From here or from elsewhere.
        origin: Origin,
    },
}

/// The events of one document, until it is dropped.
#[derive(Debug)]
pub struct DocumentEvents {
    document: DocumentId,
    events: mpsc::Receiver<DocumentEvent>,
    commands: mpsc::Sender<Command>,
    /// Whether so much waited that the listener may have missed something.
    was_long: bool,
}

impl DocumentEvents {
    pub(super) fn new(
        document: DocumentId,
        events: mpsc::Receiver<DocumentEvent>,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        Self { document, events, commands, was_long: false }
    }

    /// Waits for the next event; `None` once the replica is closed.
    pub async fn next(&mut self) -> Option<DocumentEvent> {
        let event = self.events.recv().await;
        self.was_long |= self.events.len() >= DOCUMENT_EVENTS_MAX / 2;
        if self.was_long && self.events.is_empty() {
            self.was_long = false;
            // There is room again for what was missed; if the queue is full a turn is coming anyway.
            drop(self.commands.try_send(Command::Input(Input::Tick)));
        }
        event
    }
}

impl Drop for DocumentEvents {
    fn drop(&mut self) {
        self.events.close();
        // A full queue or a closed replica: the driver notices the closed stream by itself.
        drop(self.commands.try_send(Command::Unwatch(self.document)));
    }
}

/// The events of a replica.
#[derive(Debug)]
pub struct ReplicaEvents(broadcast::Receiver<Event>);

impl ReplicaEvents {
    /// Waits for the next event; `None` once the replica is closed. A listener that falls more than
    /// 1,024 events behind misses the oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
