//! From a commit to the sessions that wait for it: bounded outboxes, and who reads what live.
//!
//! Invariant: an outbox never holds more than [`OUTBOX_BYTES_MAX`] of items. What does not fit is not
//! queued; the session is marked as behind and reads the log itself once it has drained. So no item
//! is skipped, and a slow reader costs a constant.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Frame, Items, RightEnded};
use tombolo_protocol::limits::{ITEMS_BYTES_TARGET, ITEMS_PER_FRAME_MAX};
use tombolo_protocol::receipt::{LogReset, Receipt, Signed};

use crate::log::{NewItem, Row};

/// Bytes of items that wait for one session's socket: what a slow reader may cost.
pub const OUTBOX_BYTES_MAX: usize = 1 << 20;

/// Counts the sessions of this relay's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Why a session ends, as its close frame says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The reason.
    pub code: CloseCode,
    /// Do not dial again before this long.
    pub retry_after_ms: Option<u32>,
}

impl From<CloseCode> for Closing {
    fn from(code: CloseCode) -> Self {
        Self { code, retry_after_ms: None }
    }
}

/// A receipt that the session still has to sign.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The first append that it covers.
    pub first_batch: u32,
    /// The last append that it covers.
    pub last_batch: u32,
    /// Where the items stand.
    pub positions: Vec<(u64, u32)>,
    /// What is signed.
    pub receipt: Receipt,
    /// Bytes of appends that it settles.
    pub credit_bytes: usize,
}

/// What reaches a session from outside its own socket.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Items of a workspace that it reads live.
    Items {
        /// Which workspace.
        channel: Row,
        /// Position of the first.
        first: u64,
        /// Position of the last.
        last: u64,
        /// The encoded frame, shared by all readers.
        frame: Bytes,
    },
    /// Its own appends are durable.
    Received {
        /// Which workspace.
        channel: Row,
        /// Whether they were all there was in the commit, from which position to which.
        alone: Option<(u64, u64)>,
        /// What to sign.
        acknowledgement: Acknowledgement,
    },
    /// A frame that depends on no position.
    Frame(Bytes),
    /// Its device is a member no more; nothing of the workspace follows.
    Ended {
        /// Which workspace.
        channel: Row,
        /// Why.
        why: RightEnded,
    },
    /// Roles may be others now: it looks when its own ends.
    Reviewed {
        /// Which workspace.
        channel: Row,
    },
    /// The workspace it seeded is durable.
    Seeded {
        /// Which workspace.
        channel: Row,
    },
    /// The history it asked for was lost; here is the admission.
    Reset {
        /// Which workspace.
        channel: Row,
        /// What was signed.
        statement: Signed<LogReset>,
    },
}

/// What waits for one session.
#[derive(Debug)]
pub struct Outbox {
    id: SessionId,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Delivery>,
    item_bytes: usize,
    behind: BTreeSet<Row>,
    closing: Option<Closing>,
    waker: Option<Waker>,
}

/// What was taken from an outbox at once.
#[derive(Debug, Default)]
pub struct Taken {
    /// What was queued.
    pub queue: VecDeque<Delivery>,
    /// The workspaces of which items were left out.
    pub behind: BTreeSet<Row>,
    /// Set if the session must end.
    pub closing: Option<Closing>,
}

impl Outbox {
    /// Starts empty.
    #[must_use]
    pub fn new(id: SessionId) -> Arc<Self> {
        Arc::new(Self { id, inner: Mutex::default() })
    }

    /// Returns whose it is.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Queues what is small and must not be lost.
    pub fn push(&self, delivery: Delivery) {
        self.change(|inner| inner.queue.push_back(delivery));
    }

    /// Queues items, or marks the session as behind; returns whether they were queued.
    pub fn push_items(&self, channel: Row, positions: (u64, u64), frame: &Bytes) -> bool {
        self.change(|inner| {
            let fits = inner.item_bytes + frame.len() <= OUTBOX_BYTES_MAX;
            if fits && !inner.behind.contains(&channel) {
                inner.item_bytes += frame.len();
                inner.queue.push_back(Delivery::Items {
                    channel,
                    first: positions.0,
                    last: positions.1,
                    frame: frame.clone(),
                });
                true
            } else {
                inner.behind.insert(channel);
                false
            }
        })
    }

    /// Marks the session as behind: it reads the log itself.
    pub fn fall_behind(&self, channel: Row) {
        self.change(|inner| inner.behind.insert(channel));
    }

    /// Queues a frame that a later one replaces, unless the session is too slow for it.
    pub fn push_latest(&self, frame: Bytes) {
        self.change(|inner| {
            if inner.item_bytes + frame.len() <= OUTBOX_BYTES_MAX {
                inner.item_bytes += frame.len();
                inner.queue.push_back(Delivery::Frame(frame));
            }
        });
    }

    /// Ends the session; the first reason stays.
    pub fn close(&self, closing: impl Into<Closing>) {
        let closing = closing.into();
        self.change(|inner| {
            inner.closing.get_or_insert(closing);
        });
    }

    /// Takes everything.
    pub fn take(&self) -> Taken {
        let mut inner = self.lock();
        inner.item_bytes = 0;
        Taken {
            queue: std::mem::take(&mut inner.queue),
            behind: std::mem::take(&mut inner.behind),
            closing: inner.closing,
        }
    }

    /// Waits until there is something to take.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.queue.is_empty() && inner.behind.is_empty() && inner.closing.is_none() {
            inner.waker = Some(context.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn change<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = f(&mut inner);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Encodes items into as few frames as their bounds allow, each with its first and last position.
#[must_use]
pub fn items_frames(channel: Row, items: Vec<NewItem>) -> Vec<((u64, u64), Bytes)> {
    let mut frames = Vec::new();
    let (mut run, mut bytes, mut first) = (Vec::new(), 0, 0);
    for item in items {
        let full = bytes + item.bytes.len() > ITEMS_BYTES_TARGET || run.len() >= ITEMS_PER_FRAME_MAX;
        if full && !run.is_empty() {
            frames.push(items_of_all(channel, first, std::mem::take(&mut run)));
            bytes = 0;
        }
        if run.is_empty() {
            first = item.position;
        }
        bytes += item.bytes.len();
        run.push(item.bytes);
    }
    if !run.is_empty() {
        frames.push(items_of_all(channel, first, run));
    }
    frames
}

fn items_of_all(channel: Row, first: u64, items: Vec<Vec<u8>>) -> ((u64, u64), Bytes) {
    let last = first + items.len() as u64 - 1;
    ((first, last), items_frame(channel, first, items))
}

/// Encodes one run of items.
#[must_use]
pub fn items_frame(channel: Row, first_position: u64, items: Vec<Vec<u8>>) -> Bytes {
    let items = items.into_iter().map(Into::into).collect();
    Bytes::from(Frame::from(Items { channel, first_position, items }).encode())
}
