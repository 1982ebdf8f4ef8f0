//! What stands between a stream of the core and a listener of the app.
//!
//! Invariant: all listeners of a process are called from one thread, each in the order of its events, and never under
//! a lock. What a listener throws ends the call, not the subscription. The core's queues are bounded, so a listener
//! that is slow misses patches and is then shown the whole again.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::task::JoinHandle;
use tombolo::{DocumentEvents, ReplicaEvents};

use crate::error::TomboloError;
use crate::events::{DocumentEvent, DocumentListener, ReplicaEvent, ReplicaListener};
use crate::live::Live;
use crate::runtime;

/// Events in one call: enough that a storm costs few calls, few enough that a screen is drawn between them.
const BATCH_MAX: usize = 64;

/// A listener that is being told; dropping it, or `cancel`, ends that.
#[derive(Debug, uniffi::Object)]
pub struct Subscription {
    cancelled: Arc<AtomicBool>,
    task: JoinHandle<()>,
    _live: Live,
}

#[uniffi::export]
impl Subscription {
    /// Ends it. A call that is under way on the listeners' thread still returns; none begins after this.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.task.abort();
    }

    /// Tells whether nothing more will come.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) || self.task.is_finished()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Subscription {
    /// Begins to tell a listener, from an event that is known already on.
    pub(crate) fn start<S: Stream>(
        first: Option<S::Event>,
        stream: S,
        listener: impl Listener<S::Event>,
    ) -> Result<Arc<Self>, TomboloError> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let task = runtime::listen(tell(first, stream, listener, Arc::clone(&cancelled)))?;
        Ok(Arc::new(Self { cancelled, task, _live: Live::new() }))
    }
}

async fn tell<S: Stream>(
    first: Option<S::Event>,
    mut stream: S,
    listener: impl Listener<S::Event>,
    cancelled: Arc<AtomicBool>,
) {
    let guarded = |call: &dyn Fn()| {
        if !cancelled.load(Ordering::Acquire) && catch_unwind(AssertUnwindSafe(call)).is_err() {
            tracing::error!("a listener threw; what it was told is lost to it");
        }
    };
    let mut batch: Vec<S::Event> = first.into_iter().collect();
    loop {
        if batch.is_empty() {
            match stream.next().await {
                Some(event) => batch.push(event),
                None => break,
            }
        }
        while batch.len() < BATCH_MAX
            && let Some(Some(event)) = at_once(stream.next()).await
        {
            batch.push(event);
        }
        let told = std::cell::Cell::new(std::mem::take(&mut batch));
        guarded(&|| listener.events(told.take()));
        // Others have their turn between two calls.
        tokio::task::yield_now().await;
    }
    guarded(&|| listener.end());
}

/// Takes what a future has ready, without waiting for it.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A stream of the core, in the words of this crate; giving up a wait for its next event loses none.
pub(crate) trait Stream: Send + 'static {
    type Event: Send;

    fn next(&mut self) -> impl Future<Output = Option<Self::Event>> + Send;
}

impl Stream for DocumentEvents {
    type Event = DocumentEvent;

    async fn next(&mut self) -> Option<DocumentEvent> {
        loop {
            let told = DocumentEvent::of(Self::next(self).await?);
            if told.is_some() {
                return told;
            }
        }
    }
}

impl Stream for ReplicaEvents {
    type Event = ReplicaEvent;

    async fn next(&mut self) -> Option<ReplicaEvent> {
        loop {
            let told = ReplicaEvent::of(Self::next(self).await?);
            if told.is_some() {
                return told;
            }
        }
    }
}

/// A listener of either kind.
pub(crate) trait Listener<E>: Send + 'static {
    fn events(&self, events: Vec<E>);
    fn end(&self);
}

impl Listener<DocumentEvent> for Arc<dyn DocumentListener> {
    fn events(&self, events: Vec<DocumentEvent>) {
        self.on_events(events);
    }

    fn end(&self) {
        self.on_end();
    }
}

impl Listener<ReplicaEvent> for Arc<dyn ReplicaListener> {
    fn events(&self, events: Vec<ReplicaEvent>) {
        self.on_events(events);
    }

    fn end(&self) {
        self.on_end();
    }
}
