//! Whether the other end of a connection is still there: when bytes last came from it.
//!
//! Invariant: a byte that comes is a sign of life, be it the middle of a frame that takes minutes on a slow line;
//! a byte that leaves is none, for it may lie in a buffer of this machine. While nobody here reads, nothing can be heard,
//! and silence means nothing.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// When the other end was last heard.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Heard>>);

#[derive(Debug)]
struct Heard {
    last: Instant,
    /// Nobody reads.
    held: bool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Heard { last: Instant::now(), held: false })))
    }

    pub(super) fn last(&self) -> Instant {
        let heard = self.lock();
        if heard.held { Instant::now() } else { heard.last }
    }

    /// Does something for as long as which nobody reads.
    pub(super) async fn while_held<T>(&self, work: impl Future<Output = T>) -> T {
        self.lock().held = true;
        let done = work.await;
        *self.lock() = Heard { last: Instant::now(), held: false };
        done
    }

    /// Waits until nothing was heard for this long.
    pub(super) async fn stops_for(&self, silence: Duration) {
        loop {
            let given_up = self.last() + silence;
            if given_up <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(given_up).await;
        }
    }

    fn beat(&self) {
        self.lock().last = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose bytes are signs of life.
pub(super) struct Watched<S> {
    stream: S,
    pulse: Pulse,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, pulse: Pulse) -> Self {
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.beat();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
