//! One WebSocket, to which frames are written a fragment at a time (RFC 6455 §5.4).
//!
//! Invariant: what the socket holds while nothing moves is no more than a fragment in each direction, whatever it has
//! carried: it never gives back the room of the largest piece. A frame that was given up in its midst is followed by
//! nothing but the socket's own end.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WsFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::fragments;
use tombolo_protocol::limits::FRAME_BYTES_MAX;

/// Bytes of a socket's read buffer, which it holds while nothing comes as well: what most frames fit. More is read ahead
/// while more comes (`Watched`).
const READ_BUFFER_BYTES: usize = 1 << 10;

/// A connection that became a WebSocket.
pub struct Socket {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    is_within_frame: bool,
}

impl Socket {
    /// Takes over a connection whose upgrade was answered.
    pub async fn new(upgraded: Upgraded) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Self { socket, is_within_frame: false }
    }

    /// Waits for the next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Error>> {
        self.socket.next().await
    }

    /// Writes a frame; if this is given up between two fragments, later frames are left out.
    pub(super) async fn feed(&mut self, frame: Bytes) -> Result<(), Error> {
        if self.is_within_frame {
            return Ok(());
        }
        for fragment in fragments(frame.len()) {
            let data = if fragment.bytes.start == 0 { Data::Binary } else { Data::Continue };
            let piece = WsFrame::message(frame.slice(fragment.bytes), OpCode::Data(data), fragment.is_last);
            self.socket.feed(Message::Frame(piece)).await?;
            self.is_within_frame = !fragment.is_last;
        }
        Ok(())
    }

    /// Waits until the kernel has all that was written.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.socket.flush().await
    }

    /// Asks whether the peer is there.
    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        self.socket.send(Message::Ping(Bytes::new())).await
    }

    /// Ends the WebSocket with a code.
    pub(super) async fn close(&mut self, code: CloseCode) -> Result<(), Error> {
        let close = CloseFrame { code: code.number().into(), reason: code.text().into() };
        self.socket.send(Message::Close(Some(close))).await
    }
}
