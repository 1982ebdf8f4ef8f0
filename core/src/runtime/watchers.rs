//! Who listens to which document, and who of them is to be shown the whole.
//!
//! Invariant: a listener is shown the whole document before it is told of any change: when it begins, and after it missed
//! something. It alone is shown it then, as soon as its queue has room; a queue that is full makes nobody wait.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;
use tombolo_protocol::ids::DocumentId;

use super::events::{DOCUMENT_EVENTS_MAX, DocumentEvent};
use crate::document::Value;

/// The listeners of all documents.
#[derive(Default)]
pub(super) struct Watchers {
    listeners: BTreeMap<DocumentId, Vec<Listener>>,
    /// Documents of which some listener is behind.
    behind: BTreeSet<DocumentId>,
}

struct Listener {
    events: mpsc::Sender<DocumentEvent>,
    /// Whether it is to be shown the whole before anything else.
    behind: bool,
}

impl Watchers {
    /// Adds a listener, which has seen nothing yet.
    pub(super) fn add(&mut self, document: DocumentId) -> mpsc::Receiver<DocumentEvent> {
        let (events, receiver) = mpsc::channel(DOCUMENT_EVENTS_MAX);
        self.listeners.entry(document).or_default().push(Listener { events, behind: true });
        self.behind.insert(document);
        receiver
    }

    /// Forgets the listeners of a document that have gone, and counts them.
    pub(super) fn forget_closed(&mut self, document: &DocumentId) -> usize {
        let Some(listeners) = self.listeners.get_mut(document) else {
            return 0;
        };
        let before = listeners.len();
        listeners.retain(|listener| !listener.events.is_closed());
        let left = listeners.len();
        if left == 0 {
            self.listeners.remove(document);
            self.behind.remove(document);
        }
        before - left
    }

    /// Returns how many listen to each document.
    pub(super) fn counts(&self) -> impl Iterator<Item = (DocumentId, usize)> {
        self.listeners.iter().map(|(document, listeners)| (*document, listeners.len()))
    }

    /// Tells of a change.
    pub(super) fn tell(&mut self, document: DocumentId, changed: &DocumentEvent) {
        for listener in self.listeners.get_mut(&document).into_iter().flatten().filter(|listener| !listener.behind) {
            if matches!(listener.events.try_send(changed.clone()), Err(mpsc::error::TrySendError::Full(_))) {
                listener.behind = true;
                self.behind.insert(document);
            }
        }
    }

    /// Notes that a document has become another than the changes say: all are to be shown it.
    pub(super) fn note_rebuilt(&mut self, document: DocumentId) {
        for listener in self.listeners.get_mut(&document).into_iter().flatten() {
            listener.behind = true;
            self.behind.insert(document);
        }
    }

    /// Notes that of every document.
    pub(super) fn note_all_rebuilt(&mut self) {
        let documents: Vec<DocumentId> = self.listeners.keys().copied().collect();
        documents.into_iter().for_each(|document| self.note_rebuilt(document));
    }

    /// Returns the documents of which somebody who is behind has room for the whole.
    pub(super) fn to_show(&self) -> Vec<DocumentId> {
        let has_room = |listener: &Listener| listener.behind && listener.events.capacity() > 0;
        let waits = |document: &&DocumentId| self.listeners.get(*document).is_some_and(|all| all.iter().any(has_room));
        self.behind.iter().filter(waits).copied().collect()
    }

    /// Shows a document to those who are behind; `None` if there is nothing to be shown until it is rebuilt.
    pub(super) fn show(&mut self, document: DocumentId, value: Option<&Value>) {
        let mut all = true;
        for listener in self.listeners.get_mut(&document).into_iter().flatten().filter(|listener| listener.behind) {
            let current = value.map(|value| DocumentEvent::Current { value: value.clone() });
            let sent = current.map_or(Ok(()), |current| listener.events.try_send(current));
            listener.behind = matches!(sent, Err(mpsc::error::TrySendError::Full(_)));
            all &= !listener.behind;
        }
        if all {
            self.behind.remove(&document);
        }
    }
}
