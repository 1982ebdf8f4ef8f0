//! A stream that counts the bytes of its peer, and reads ahead while much comes.
//!
//! Invariant: bytes come out in the order in which they came in. Nothing is held while nothing comes: a WebSocket keeps its
//! read buffer for as long as it lives and asks for no more than that at once, so the buffer is small, and what a long
//! frame needs is held here until it was asked for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Progress;

/// Bytes that are read at once while much comes: a frame of a hundred small entries.
const AHEAD_BYTES: usize = 16 << 10;

/// A stream under watch.
pub(super) struct Watched<S> {
    stream: S,
    progress: Arc<Progress>,
    /// What was read and not asked for yet.
    ahead: Bytes,
    /// Whether the last read filled all the room that it had, so that more waits most likely.
    much: bool,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, progress: Arc<Progress>) -> Self {
        Self { stream, progress, ahead: Bytes::new(), much: false }
    }

    fn give_ahead(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = buffer.remaining().min(self.ahead.len());
        buffer.put_slice(&self.ahead.split_to(count));
        if !self.ahead.has_remaining() {
            // An empty rest would hold the room still.
            self.ahead = Bytes::new();
        }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    fn read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.progress.given.fetch_add(buffer.filled().len().saturating_sub(before) as u64, Ordering::Relaxed);
        self.much = read.is_ready() && buffer.remaining() == 0;
        read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            if !self.much || buffer.remaining() >= AHEAD_BYTES {
                return self.read(context, buffer);
            }
            let mut room = vec![0; AHEAD_BYTES];
            let mut wide = ReadBuf::new(&mut room);
            ready!(self.read(context, &mut wide))?;
            let count = wide.filled().len();
            room.truncate(count);
            self.ahead = Bytes::from(room);
        }
        self.give_ahead(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.progress.taken.fetch_add(*count as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// What a peer has sent, and how often it was read.
    struct Sent {
        bytes: Bytes,
        reads: usize,
    }

    impl AsyncRead for Sent {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.reads += 1;
            if self.bytes.is_empty() {
                return Poll::Pending;
            }
            let count = buffer.remaining().min(self.bytes.len());
            buffer.put_slice(&self.bytes.split_to(count));
            Poll::Ready(Ok(()))
        }
    }

    /// Reads as a WebSocket does, a kilobyte at a time, until nothing comes.
    fn read_all(watched: &mut Watched<Sent>) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut room = [0; 1 << 10];
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut *watched).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
                Poll::Ready(read) => read.unwrap(),
                Poll::Pending => return all,
            }
            all.extend_from_slice(buffer.filled());
        }
    }

    #[test]
    fn a_long_frame_is_read_in_few_pieces_and_nothing_is_held_after_it() {
        let frame: Vec<u8> = (0..40_000_u32).map(|nth| nth as u8).collect();
        let sent = Sent { bytes: Bytes::from(frame.clone()), reads: 0 };
        let mut watched = Watched::new(sent, Arc::default());
        assert!(read_all(&mut watched) == frame);
        // A kilobyte, three pieces, the last of them not full, and the look that finds nothing.
        assert_eq!(watched.stream.reads, 5);
        assert_eq!(watched.progress.given.load(Ordering::Relaxed), 40_000);
        watched.stream.bytes = Bytes::from_static(b"a short one");
        assert_eq!(read_all(&mut watched), b"a short one");
        assert!(watched.ahead.is_empty() && !watched.much);
    }
}
