//! A device that speaks frames and nothing more: so light that one process holds as many as a relay can.
//!
//! Invariant: it proves its key and checks the relay's, as a device does; it holds what it has been told of a log, and
//! goes on from there when it comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use minicbor::bytes::ByteVec;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WsFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tombolo_protocol::auth::{Binding, PROTOCOL_VERSION, Transcript};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Append, Auth, Frame, Hello, Open, Opened, Seed, fragments};
use tombolo_protocol::ids::{LogId, RelayId};

use super::person::{Ground, Person};

/// Bytes of a socket's read buffer: with 15,000 of them each kilobyte counts.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// How long a relay may take to accept a connection and prove itself; a device has as much patience.
const DIAL_MAX: Duration = Duration::from_secs(20);
const NONCE: [u8; 32] = [9; 32];

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nobody answers, or the connection broke.
    Gone,
    /// The relay said why.
    Closed { code: CloseCode, retry_after_ms: Option<u32> },
    /// It said something that it should not.
    Wrong(&'static str),
}

/// One device's place in a workspace: what it remembers from session to session.
pub(crate) struct Seat {
    pub(crate) device: Person,
    pub(crate) ground: Arc<Ground>,
    log: Option<LogId>,
    pub(crate) cursor: u64,
    receipt: Option<ByteVec>,
    /// Whether it brings the workspace, or waits for another to bring it.
    founds: bool,
}

/// A session that stands.
pub(crate) struct Session {
    socket: WebSocketStream<TcpStream>,
    /// Who is at the other end.
    pub(crate) relay: RelayId,
    channel: u32,
    batch: u32,
}

impl Seat {
    pub(crate) fn new(device: Person, ground: Arc<Ground>, founds: bool) -> Self {
        Self { device, ground, log: None, cursor: 0, receipt: None, founds }
    }

    /// Dials, proves, opens; what is new in the log follows as frames, and then the head.
    pub(crate) async fn enter(&self, relay: SocketAddr) -> Result<(Session, Opened), Lost> {
        self.enter_with(relay, None).await
    }

    /// As [`Seat::enter`], with so small a buffer for what comes.
    pub(crate) async fn enter_with(&self, relay: SocketAddr, buffer: Option<u32>) -> Result<(Session, Opened), Lost> {
        let dialled = timeout(DIAL_MAX, Session::dial(relay, &self.device, buffer)).await;
        let mut session = dialled.map_err(|_| Lost::Gone)??;
        if self.founds && self.log.is_none() {
            let records = self.ground.records.iter().map(|record| record.clone().into()).collect();
            session
                .say(Seed {
                    workspace: self.ground.id,
                    records,
                    attestations: Vec::new(),
                    more: false,
                    documents: None,
                })
                .await?;
        } else {
            let (log, cursor, receipt) = (self.log, self.cursor, self.receipt.clone());
            session.say(Open { workspace: self.ground.tag, log, cursor, receipt, documents: None }).await?;
        }
        match session.next().await? {
            Frame::Opened(opened) if opened.resumed => {
                session.channel = opened.channel;
                Ok((session, opened))
            }
            Frame::NotFound(_) => Err(Lost::Wrong("the workspace is not there")),
            _ => Err(Lost::Wrong("an answer to Open")),
        }
    }

    /// Takes what the relay says of the log that it follows already.
    pub(crate) fn note_same_log(&mut self, frame: &Frame) {
        if let Some(log) = self.log {
            self.note(log, frame);
        }
    }

    /// Takes what the relay says of the log; returns whether this was the head.
    pub(crate) fn note(&mut self, log: LogId, frame: &Frame) -> bool {
        self.log = Some(log);
        match frame {
            Frame::Items(items) if items.first_position == self.cursor + 1 => {
                self.cursor += items.items.len() as u64;
            }
            Frame::Received(received) => {
                for (first, count) in &received.positions {
                    if *first == self.cursor + 1 {
                        self.cursor += u64::from(*count);
                    }
                }
                self.receipt = Some(received.receipt.clone());
            }
            Frame::Head(head) => {
                self.receipt = Some(head.receipt.clone());
                return true;
            }
            _ => {}
        }
        false
    }
}

impl Session {
    async fn dial(relay: SocketAddr, device: &Person, buffer: Option<u32>) -> Result<Self, Lost> {
        let gone = |_| Lost::Gone;
        let socket = TcpSocket::new_v4().map_err(gone)?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).map_err(gone)?;
        }
        socket.bind((device.source, 0).into()).map_err(gone)?;
        let stream = socket.connect(relay).await.map_err(gone)?;
        stream.set_nodelay(true).map_err(gone)?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(0);
        let request = format!("ws://{relay}/v1");
        let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (socket, _) = upgraded.map_err(|_| Lost::Gone)?;
        let mut session = Self { socket, relay: RelayId::from_bytes([0; 32]), channel: 0, batch: 0 };
        session.relay = session.prove(&relay.to_string(), device).await?;
        Ok(session)
    }

    async fn prove(&mut self, host: &str, device: &Person) -> Result<RelayId, Lost> {
        self.say(Hello {
            version: PROTOCOL_VERSION,
            sign_public: device.keys.sign.to_bytes(),
            box_public: device.keys.box_public,
            nonce: NONCE,
            features: Vec::new(),
            token: None,
        })
        .await?;
        let Frame::Challenge(challenge) = self.next().await? else {
            return Err(Lost::Wrong("an answer to Hello"));
        };
        let transcript = Transcript {
            relay: challenge.relay,
            host: host.to_owned(),
            device_nonce: NONCE,
            relay_nonce: challenge.nonce,
            binding: Binding::None,
        };
        self.say(Auth { proof: transcript.sign_as_device(&device.keys, &device.sign_key()) }).await?;
        let Frame::Welcome(welcome) = self.next().await? else {
            return Err(Lost::Wrong("an answer to Auth"));
        };
        transcript.verify_relay(&device.keys, &welcome.proof).map_err(|_| Lost::Wrong("the relay's proof"))?;
        Ok(challenge.relay)
    }

    /// Appends items as one batch, and returns its number.
    pub(crate) async fn append(&mut self, items: Vec<ByteVec>) -> Result<u32, Lost> {
        self.batch += 1;
        self.say(Append { channel: self.channel, batch: self.batch, items }).await?;
        Ok(self.batch)
    }

    async fn say(&mut self, frame: impl Into<Frame>) -> Result<(), Lost> {
        let frame = Bytes::from(frame.into().encode());
        let said = async {
            for fragment in fragments(frame.len()) {
                let data = if fragment.bytes.start == 0 { Data::Binary } else { Data::Continue };
                let piece = WsFrame::message(frame.slice(fragment.bytes), OpCode::Data(data), fragment.is_last);
                self.socket.feed(Message::Frame(piece)).await?;
            }
            self.socket.flush().await
        };
        match said.await {
            Ok(()) => Ok(()),
            // The relay may have said why.
            Err(_) => Err(self.last_words().await),
        }
    }

    async fn last_words(&mut self) -> Lost {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(lost) => return lost,
            }
        }
    }

    /// Waits for the next frame; safe to be dropped before it comes.
    pub(crate) async fn next(&mut self) -> Result<Frame, Lost> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => match Frame::decode(&bytes) {
                    Ok(Frame::Close(close)) => {
                        let code = CloseCode::from_number(close.code);
                        return Err(Lost::Closed { code, retry_after_ms: close.retry_after_ms });
                    }
                    Ok(frame) => return Ok(frame),
                    Err(_) => return Err(Lost::Wrong("a frame that can not be read")),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err(Lost::Gone),
            }
        }
    }
}
