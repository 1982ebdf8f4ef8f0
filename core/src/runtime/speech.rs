//! What goes out over one WebSocket: frames, a fragment at a time (RFC 6455 §5.4).
//!
//! Invariant: a relay never has to find room for more than a fragment at once. A frame that was given up in its midst is
//! followed by nothing but the socket's own end.

use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WsFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode as WsCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Close, Frame, fragments};

use super::websocket::Socket;

/// The end of a connection that frames are written to.
pub(super) struct Speech {
    sink: SplitSink<Socket, Message>,
    is_within_frame: bool,
}

impl Speech {
    pub(super) fn new(sink: SplitSink<Socket, Message>) -> Self {
        Self { sink, is_within_frame: false }
    }

    /// Writes a frame; if this is given up between two fragments, later frames are left out.
    pub(super) async fn feed(&mut self, frame: Vec<u8>) -> Result<(), Error> {
        if self.is_within_frame {
            return Ok(());
        }
        let frame = Bytes::from(frame);
        for fragment in fragments(frame.len()) {
            let data = if fragment.bytes.start == 0 { Data::Binary } else { Data::Continue };
            let piece = WsFrame::message(frame.slice(fragment.bytes), OpCode::Data(data), fragment.is_last);
            self.sink.feed(Message::Frame(piece)).await?;
            self.is_within_frame = !fragment.is_last;
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.sink.flush().await
    }

    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        self.sink.send(Message::Ping(Bytes::new())).await
    }

    /// Says goodbye, behind whatever was not written yet.
    pub(super) async fn close(mut self, code: CloseCode) -> Result<(), Error> {
        let frame = Frame::from(Close { code: code.number(), retry_after_ms: None, version: None });
        self.feed(frame.encode()).await?;
        let close = CloseFrame { code: WsCode::from(code.number()), reason: code.text().into() };
        self.sink.send(Message::Close(Some(close))).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use tokio::io::duplex;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
    use tombolo_protocol::limits::FRAGMENT_BYTES_MAX;

    use super::*;
    use crate::runtime::websocket::Stream;

    /// What a device says, and the other end, which takes nothing larger than a fragment; so many bytes fit between.
    async fn ends(between: usize) -> (Speech, WebSocketStream<tokio::io::DuplexStream>) {
        let (near, far) = duplex(between);
        let device = WebSocketStream::from_raw_socket(Box::new(near) as Stream, Role::Client, None).await;
        let config = WebSocketConfig::default().max_frame_size(Some(FRAGMENT_BYTES_MAX));
        let relay = WebSocketStream::from_raw_socket(far, Role::Server, Some(config)).await;
        (Speech::new(device.split().0), relay)
    }

    #[tokio::test]
    async fn a_frame_of_any_length_comes_in_small_pieces_and_whole() {
        let (mut speech, mut relay) = ends(1 << 20).await;
        for length in [1, FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MAX + 1, 12 * FRAGMENT_BYTES_MAX + 3] {
            let frame: Vec<u8> = (0..length).map(|nth| nth as u8).collect();
            speech.feed(frame.clone()).await.unwrap();
            speech.flush().await.unwrap();
            let Some(Ok(Message::Binary(heard))) = relay.next().await else { panic!("{length} bytes did not come") };
            assert!(heard == frame, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn behind_a_frame_that_was_given_up_in_its_midst_comes_the_code_and_no_frame() {
        let (mut speech, mut relay) = ends(2 * FRAGMENT_BYTES_MAX).await;
        let given_up = tokio::time::timeout(Duration::from_millis(50), speech.feed(vec![7; 40 * FRAGMENT_BYTES_MAX]));
        assert!(given_up.await.is_err());
        let (closed, heard) = tokio::join!(speech.close(CloseCode::Going), relay.next());
        closed.unwrap();
        let Some(Ok(Message::Close(Some(close)))) = heard else { panic!("the code did not come: {heard:?}") };
        assert_eq!(u16::from(close.code), CloseCode::Going.number());
    }
}
