//! One socket: reads messages into the session, writes what it says, keeps the time.
//!
//! Invariant: nothing waits longer than its bound: the handshake, silence, and a peer that takes no
//! bytes each end the session with their own code.

mod socket;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
pub use socket::Socket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tombolo_protocol::close::CloseCode;

use crate::fanout::{Closing, Outbox};
use crate::relay::Relay;
use crate::session::{Peer, Session};

/// How long the peer may take to read the last frame and answer.
const FAREWELL: Duration = Duration::from_secs(1);
/// Messages above this are judged where blocking is allowed: their signatures take milliseconds.
const LARGE_MESSAGE_BYTES: usize = 16 << 10;
/// Messages of so many bytes are work enough for one turn.
const YIELD_BYTES: usize = 2 << 10;
/// How often in its time a peer is looked at that takes nothing: so often, and once more, is it given up.
const SLOW_LOOKS: u32 = 4;
/// Types of the frames that ask for a second factor, and show it.
const STEP_UP_TYPE: u8 = 6;
const STEP_UP_PROOF_TYPE: u8 = 8;

/// How long the parts of a session may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the connection to the admission: the proof, and for a guest its Join.
    pub handshake: Duration,
    /// Without a byte taken by the peer.
    pub slow: Duration,
}

/// Counts the bytes of a connection: a frame may take minutes on a slow line, and its peer is there all the while.
#[derive(Debug, Default)]
pub struct Progress {
    /// What the peer has taken.
    pub taken: AtomicU64,
    /// What it has given.
    pub given: AtomicU64,
}

/// Runs one session to its end; `alive` is held until then.
pub async fn drive(
    mut socket: Box<Socket>,
    relay: Arc<Relay>,
    peer: Peer,
    progress: Arc<Progress>,
    (patience, alive): (Patience, mpsc::Sender<()>),
) {
    let outbox = relay.new_outbox();
    let mut session = Session::new(Arc::clone(&relay), Arc::clone(&outbox), peer);
    let writer = Writer { progress, patience };
    let ended = converse(&mut socket, &mut session, &outbox, &relay, &writer).await;
    let rest = session.take_output();
    if let End::Closing(closing) = ended {
        tracing::debug!(session = outbox.id().0, code = closing.code.number(), "{}", closing.code.text());
        relay.metrics().closed();
        let last = session.last_frame(closing);
        session.note_closing(closing);
        drop(session);
        farewell(&mut socket, &relay, rest, last, closing).await;
    }
    drop(alive);
}

enum End {
    /// The peer is gone.
    Gone,
    /// This side ends it.
    Closing(Closing),
}

impl From<Closing> for End {
    fn from(closing: Closing) -> Self {
        Self::Closing(closing)
    }
}

struct Writer {
    progress: Arc<Progress>,
    patience: Patience,
}

async fn converse(socket: &mut Socket, session: &mut Session, outbox: &Outbox, relay: &Relay, writer: &Writer) -> End {
    let mut clock = Clock::new(relay, writer.patience);
    loop {
        let output = session.take_output();
        if !output.is_empty()
            && let Err(end) = writer.send(socket, relay, output).await
        {
            return end;
        }
        let deadline = clock.deadline(session.is_admitted());
        let step = tokio::select! {
            biased;
            () = poll_fn(|context| outbox.poll_ready(context)) => {
                session.deliver(outbox.take()).map_err(End::from)
            }
            message = socket.next() => {
                clock.heard();
                hear(session, message).await
            }
            () = tokio::time::sleep_until(deadline) => match clock.ring(session, writer.progress.given.load(Ordering::Relaxed)) {
                Some(closing) => Err(closing.into()),
                None => writer.ping(socket).await,
            },
            () = until_a_right_ends(session.right_ends_in_ms()) => session.review_due().map_err(End::from),
            () = std::future::ready(()), if session.wants_to_read() => read_on(session),
        };
        if let Err(end) = step {
            return end;
        }
    }
}

async fn until_a_right_ends(in_ms: Option<u64>) {
    match in_ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

/// Takes a message; behind one that was work, all others have their turn before the next.
async fn hear(session: &mut Session, message: Option<Result<Message, Error>>) -> Result<(), End> {
    let bytes = if let Some(Ok(Message::Binary(bytes))) = &message { bytes.len() } else { 0 };
    take_message(session, message)?;
    if bytes >= YIELD_BYTES {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Reads a few items at once, and more where blocking is allowed: with a thread of its own for each of thousands of
/// sessions that come together, the threads took more memory than the sessions.
fn read_on(session: &mut Session) -> Result<(), End> {
    let read = if session.reads_much() { may_block(|| session.read_on()) } else { session.read_on() };
    read.map_err(End::from)
}

fn take_message(session: &mut Session, message: Option<Result<Message, Error>>) -> Result<(), End> {
    match message {
        Some(Ok(Message::Binary(bytes))) if bytes.len() > LARGE_MESSAGE_BYTES || is_of_step_up(&bytes) => {
            may_block(|| session.handle(&bytes)).map_err(End::from)
        }
        Some(Ok(Message::Binary(bytes))) => session.handle(&bytes).map_err(End::from),
        Some(Ok(Message::Text(_))) => Err(Closing::from(CloseCode::Malformed).into()),
        // A single fragment is never handed out.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(error)) => {
            tracing::debug!(%error, "a message can not be read");
            Err(Closing::from(CloseCode::Malformed).into())
        }
    }
}

/// Tells whether a message is of a second factor: what it changes is written before it is answered.
fn is_of_step_up(message: &[u8]) -> bool {
    matches!(message.first(), Some(&STEP_UP_TYPE | &STEP_UP_PROOF_TYPE))
}

/// Runs what may take milliseconds without holding up other sessions, where the runtime can.
fn may_block<T>(f: impl FnOnce() -> T) -> T {
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    if flavor == tokio::runtime::RuntimeFlavor::MultiThread { tokio::task::block_in_place(f) } else { f() }
}

impl Writer {
    /// Sends frames; a peer that takes no byte for too long is given up.
    async fn send(&self, socket: &mut Socket, relay: &Relay, frames: Vec<Bytes>) -> Result<(), End> {
        let send = async {
            for frame in frames {
                relay.metrics().frame_out(&frame);
                socket.feed(frame).await?;
            }
            socket.flush().await
        };
        let mut send = pin!(send);
        let mut idle = 0;
        loop {
            let before = self.progress.taken.load(Ordering::Relaxed);
            match timeout(self.patience.slow / SLOW_LOOKS, &mut send).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a peer is gone");
                    return Err(End::Gone);
                }
                Err(_) if self.progress.taken.load(Ordering::Relaxed) == before => {
                    idle += 1;
                    if idle == SLOW_LOOKS {
                        return Err(Closing::from(CloseCode::SlowConsumer).into());
                    }
                }
                Err(_) => idle = 0,
            }
        }
    }

    async fn ping(&self, socket: &mut Socket) -> Result<(), End> {
        match timeout(self.patience.slow, socket.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(Closing::from(CloseCode::SlowConsumer).into()),
        }
    }
}

async fn farewell(socket: &mut Socket, relay: &Relay, rest: Vec<Bytes>, last: Bytes, closing: Closing) {
    let send = async {
        for frame in rest.into_iter().chain([last]) {
            relay.metrics().frame_out(&frame);
            socket.feed(frame).await?;
        }
        socket.close(closing.code).await?;
        // What the peer still sends is read away, so that the reason is not lost to a reset.
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<(), Error>(())
    };
    match timeout(FAREWELL, send).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the last frame was not sent"),
        Err(_) => tracing::debug!("the peer did not answer the last frame"),
    }
}

/// When to ping, and when to give up.
struct Clock {
    handshake_ends: Instant,
    ping: Duration,
    heard: Instant,
    /// When the peer was asked whether it is there, and how many bytes it had given by then.
    pinged: Option<(Instant, u64)>,
}

impl Clock {
    fn new(relay: &Relay, patience: Patience) -> Self {
        let now = Instant::now();
        Self {
            handshake_ends: now + patience.handshake,
            ping: Duration::from_millis(u64::from(relay.terms().ping_ms)),
            heard: now,
            pinged: None,
        }
    }

    fn heard(&mut self) {
        self.heard = Instant::now();
        self.pinged = None;
    }

    fn deadline(&self, admitted: bool) -> Instant {
        match (admitted, self.pinged) {
            (false, _) => self.handshake_ends,
            (true, None) => self.heard + self.ping,
            (true, Some((pinged, _))) => pinged + self.ping,
        }
    }

    /// Says what a passed deadline means; `None` is a ping.
    fn ring(&mut self, session: &Session, given: u64) -> Option<Closing> {
        if !session.is_admitted() {
            return Some(session.overdue().into());
        }
        if self.pinged.is_some_and(|(_, before)| before == given) {
            return Some(CloseCode::Silent.into());
        }
        self.pinged = Some((Instant::now(), given));
        None
    }
}
