//! The tasks that carry frames between the engine's thread and sockets.
//!
//! Invariant: each attempt has one task, aborted when the engine gives the attempt up; what comes in
//! waits for the engine (so a flood stops at the socket), what goes out waits in a bounded queue, and a
//! connection whose queue is full is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Close, Frame};

use super::command::Command;
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

/// Carries one connection to its end; returns the close code that the other side gave.
async fn carry(
    connection: Connection,
    dialled: Dialled,
    commands: &mpsc::WeakSender<Command>,
    mut queue: mpsc::Receiver<Outgoing>,
) -> Option<CloseCode> {
    let connected =
        Input::Connected { connection, host: dialled.host, binding: dialled.binding, loopback: dialled.loopback };
    commands.upgrade()?.send(Command::Input(connected)).await.ok()?;
    let mut socket = dialled.socket;
    let mut heard = tokio::time::Instant::now();
    let mut ask_at = heard + PING_AFTER;
    loop {
        tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(Outgoing::Frame(bytes)) => {
                    if !write(&mut socket, bytes, &mut queue).await {
                        return None;
                    }
                }
                Some(Outgoing::Close(code)) => return close(socket, code).await,
                None => return close(socket, CloseCode::Going).await,
            },
            message = socket.next() => {
                heard = tokio::time::Instant::now();
                ask_at = heard + PING_AFTER;
                match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        let frame = Input::Frame { connection, bytes: bytes.into() };
                        commands.upgrade()?.send(Command::Input(frame)).await.ok()?;
                    }
                    Some(Ok(Message::Close(frame))) => return frame.and_then(|frame| own_code(frame.code)),
                    Some(Ok(Message::Text(_))) => return close(socket, CloseCode::Malformed).await,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            },
            () = tokio::time::sleep_until(ask_at) => {
                if heard.elapsed() > SILENCE_MAX || socket.send(Message::Ping(Bytes::new())).await.is_err() {
                    return Some(CloseCode::Silent);
                }
                ask_at = tokio::time::Instant::now() + PING_AFTER;
            }
        }
    }
}

/// Writes a frame and whatever waits behind it, with one flush.
async fn write(socket: &mut Socket, first: Vec<u8>, queue: &mut mpsc::Receiver<Outgoing>) -> bool {
    let mut next = Some(first);
    while let Some(bytes) = next.take() {
        if socket.feed(Message::Binary(bytes.into())).await.is_err() {
            return false;
        }
        match queue.try_recv() {
            Ok(Outgoing::Frame(bytes)) => next = Some(bytes),
            Ok(Outgoing::Close(code)) => {
                let said = Frame::from(Close { code: code.number(), retry_after_ms: None, version: None });
                let sent = socket.send(Message::Binary(said.encode().into())).await;
                let closed = socket.close(Some(close_frame(code))).await;
                tracing::trace!(?sent, ?closed, "a connection is closed behind its last frame");
                return false;
            }
            Err(_) => {}
        }
    }
    socket.flush().await.is_ok()
}

async fn close(mut socket: Socket, code: CloseCode) -> Option<CloseCode> {
    let frame = Frame::from(Close { code: code.number(), retry_after_ms: None, version: None });
    let closing = async {
        socket.send(Message::Binary(frame.encode().into())).await?;
        socket.close(Some(close_frame(code))).await
    };
    if !matches!(tokio::time::timeout(CLOSE_MAX, closing).await, Ok(Ok(()))) {
        tracing::trace!("a connection ended before it was closed");
    }
    None
}

fn close_frame(code: CloseCode) -> CloseFrame {
    CloseFrame { code: WsCode::from(code.number()), reason: code.text().into() }
}

/// Recognises the codes of the protocol; the WebSocket's own say nothing about what to do next.
fn own_code(code: WsCode) -> Option<CloseCode> {
    let number = u16::from(code);
    (4000..5000).contains(&number).then(|| CloseCode::from_number(number))
}
