//! The tasks that carry frames between the engine's thread and sockets.
//!
//! Invariant: each attempt has one task, aborted when the engine gives the attempt up; what comes in
//! waits for the engine (so a flood stops at the socket), what goes out waits in a bounded queue, and a
//! connection whose queue is full is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCode;
use tombolo_protocol::close::CloseCode;

use super::command::Command;
use super::pulse::Pulse;
use super::speech::Speech;
use super::websocket::{Dialled, Dialler, Socket};
use crate::engine::{Connection, Input, Unreached};

/// Frames that wait for one socket; a round trip's worth of appends is far less.
const OUTGOING_MAX: usize = 4096;
/// Silence after which this end asks whether the other is still there.
const PING_AFTER: Duration = Duration::from_secs(12);
/// Silence after which the other end is taken to be gone.
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// How long a relay may take to accept a connection.
const DIAL_MAX: Duration = Duration::from_secs(20);
/// How long a closing handshake may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

enum Outgoing {
    Frame(Vec<u8>),
    Close(CloseCode),
}

struct Line {
    outgoing: mpsc::Sender<Outgoing>,
    task: JoinHandle<()>,
}

/// The connections of one replica.
pub(super) struct Connections {
    runtime: Handle,
    dialler: Arc<Dialler>,
    commands: mpsc::WeakSender<Command>,
    lines: BTreeMap<Connection, Line>,
}

impl Connections {
    pub(super) fn new(runtime: Handle, dialler: Dialler, commands: mpsc::WeakSender<Command>) -> Self {
        Self { runtime, dialler: Arc::new(dialler), commands, lines: BTreeMap::new() }
    }

    pub(super) fn dial(&mut self, connection: Connection, address: String) {
        self.lines.retain(|_, line| !line.task.is_finished());
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let (dialler, commands) = (Arc::clone(&self.dialler), self.commands.clone());
        let task = self.runtime.spawn(async move {
            let ended = match reach(&address, &dialler).await {
                Ok(dialled) => {
                    let code = carry(connection, dialled, &commands, queue).await;
                    Input::Disconnected { connection, code }
                }
                Err(why) => Input::Unreached { connection, why },
            };
            if let Some(commands) = commands.upgrade() {
                // A closed replica needs no news.
                drop(commands.send(Command::Input(ended)).await);
            }
        });
        self.lines.insert(connection, Line { outgoing, task });
    }

    pub(super) fn send(&mut self, connection: Connection, bytes: Vec<u8>) {
        let Some(line) = self.lines.get(&connection) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = line.outgoing.try_send(Outgoing::Frame(bytes)) {
            tracing::warn!("a relay does not take what it is sent; the connection is closed");
            line.task.abort();
            if let Some(commands) = self.commands.upgrade() {
                let lost = Input::Disconnected { connection, code: Some(CloseCode::SlowConsumer) };
                self.runtime.spawn(async move { drop(commands.send(Command::Input(lost)).await) });
            }
            self.lines.remove(&connection);
        }
    }

    pub(super) fn hang_up(&mut self, connection: Connection, code: CloseCode) {
        // Frames that wait go out first; the task ends by itself behind them.
        if let Some(line) = self.lines.remove(&connection)
            && line.outgoing.try_send(Outgoing::Close(code)).is_err()
        {
            line.task.abort();
        }
    }

    pub(super) fn close_all(&mut self) {
        for connection in self.lines.keys().copied().collect::<Vec<_>>() {
            self.hang_up(connection, CloseCode::Going);
        }
    }
}

async fn reach(address: &str, dialler: &Dialler) -> Result<Dialled, Unreached> {
    tokio::time::timeout(DIAL_MAX, dialler.dial(address)).await.unwrap_or(Err(Unreached::Silent))
}

/// How a connection comes to its end.
enum Parting {
    /// The other side said so, perhaps why, or is gone.
    Theirs(Option<CloseCode>),
    /// This side says so.
    Ours(CloseCode),
}

/// Carries one connection to its end; returns the close code that the other side gave.
///
/// It reads while it writes: a relay that takes nothing must not keep this end from noticing it.
async fn carry(
    connection: Connection,
    dialled: Dialled,
    commands: &mpsc::WeakSender<Command>,
    mut queue: mpsc::Receiver<Outgoing>,
) -> Option<CloseCode> {
    let connected =
        Input::Connected { connection, host: dialled.host, binding: dialled.binding, loopback: dialled.loopback };
    commands.upgrade()?.send(Command::Input(connected)).await.ok()?;
    let (sink, stream) = dialled.socket.split();
    let mut speech = Speech::new(sink);
    let parting = tokio::select! {
        parting = listen(connection, stream, commands, &dialled.pulse) => parting,
        parting = speak(&mut speech, &mut queue, &dialled.pulse) => parting,
        () = dialled.pulse.stops_for(SILENCE_MAX) => return Some(CloseCode::Silent),
    };
    match parting {
        Parting::Theirs(code) => code,
        Parting::Ours(code) => {
            close(speech, code).await;
            None
        }
    }
}

/// Hands frames to the engine, until there are no more.
async fn listen(
    connection: Connection,
    mut stream: SplitStream<Socket>,
    commands: &mpsc::WeakSender<Command>,
    pulse: &Pulse,
) -> Parting {
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                let frame = Command::Input(Input::Frame { connection, bytes: bytes.into() });
                let Some(commands) = commands.upgrade() else { return Parting::Theirs(None) };
                if pulse.while_held(commands.send(frame)).await.is_err() {
                    return Parting::Theirs(None);
                }
            }
            Some(Ok(Message::Close(frame))) => return Parting::Theirs(frame.and_then(|frame| own_code(frame.code))),
            Some(Ok(Message::Text(_))) => return Parting::Ours(CloseCode::Malformed),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Parting::Theirs(None),
        }
    }
}

/// Writes what the engine says, and asks whether the other end is still there when that is silent.
async fn speak(speech: &mut Speech, queue: &mut mpsc::Receiver<Outgoing>, pulse: &Pulse) -> Parting {
    let gone = |_| Parting::Theirs(None);
    let mut ask_at = pulse.last() + PING_AFTER;
    loop {
        let spoken = tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(Outgoing::Frame(bytes)) => write(speech, bytes, queue).await,
                Some(Outgoing::Close(code)) => Err(Parting::Ours(code)),
                None => Err(Parting::Ours(CloseCode::Going)),
            },
            () = tokio::time::sleep_until(ask_at) => {
                let (now, due) = (Instant::now(), pulse.last() + PING_AFTER);
                ask_at = if due <= now { now + PING_AFTER } else { due };
                let asks = due <= now;
                if asks { speech.ping().await.map_err(gone) } else { Ok(()) }
            }
        };
        if let Err(parting) = spoken {
            return parting;
        }
    }
}

/// Writes a frame and whatever waits behind it, with one flush.
async fn write(speech: &mut Speech, first: Vec<u8>, queue: &mut mpsc::Receiver<Outgoing>) -> Result<(), Parting> {
    let gone = |_| Parting::Theirs(None);
    let mut next = Some(first);
    while let Some(bytes) = next.take() {
        speech.feed(bytes).await.map_err(gone)?;
        match queue.try_recv() {
            Ok(Outgoing::Frame(bytes)) => next = Some(bytes),
            Ok(Outgoing::Close(code)) => return Err(Parting::Ours(code)),
            Err(_) => {}
        }
    }
    speech.flush().await.map_err(gone)
}

async fn close(speech: Speech, code: CloseCode) {
    if !matches!(tokio::time::timeout(CLOSE_MAX, speech.close(code)).await, Ok(Ok(()))) {
        tracing::trace!("a connection ended before it was closed");
    }
}

/// Recognises the codes of the protocol; the WebSocket's own say nothing about what to do next.
fn own_code(code: WsCode) -> Option<CloseCode> {
    let number = u16::from(code);
    (4000..5000).contains(&number).then(|| CloseCode::from_number(number))
}
