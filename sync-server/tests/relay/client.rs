//! A device that speaks frames and nothing more.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tombolo_protocol::auth::{Binding, PROTOCOL_VERSION, Transcript};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{
    Append, Auth, Challenge, Close, Enter, Frame, Ground, Head, Hello, Items, Open, Opened, Received, Refused, Seed,
    Welcome,
};
use tombolo_protocol::ids::{LogId, RecordId, RelayId, WorkspaceTag};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::limits::FRAGMENT_BYTES_MAX;
use tombolo_protocol::receipt::{Receipt, Signed};
use tombolo_protocol::record::Record;

use super::people::{Person, workspace};

/// Bytes in order, in clear or through TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    socket: WebSocketStream<Box<dyn Wire>>,
    host: String,
    binding: Binding,
    transcript: Option<Transcript>,
    pub(crate) relay: Option<RelayId>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(Box::new(stream), &address.to_string(), Binding::None).await
    }

    /// Speaks over a connection that somebody else made.
    pub(crate) async fn over(stream: Box<dyn Wire>, host: &str, binding: Binding) -> Self {
        let request = format!("ws://{host}/v1");
        // A relay says nothing in larger pieces.
        let config = WebSocketConfig::default().max_frame_size(Some(FRAGMENT_BYTES_MAX));
        let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (socket, _) = upgraded.unwrap();
        Self { socket, host: host.to_owned(), binding, transcript: None, relay: None }
    }

    /// Connects and proves the device's key.
    pub(crate) async fn dial(address: SocketAddr, who: &Person) -> Self {
        let mut client = Self::connect(address).await;
        let welcome = client.prove(who, None).await;
        assert!(welcome.credit_bytes > 0);
        client
    }

    pub(crate) fn hello(who: &Person, token: Option<&str>) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            sign_public: who.keys.sign.to_bytes(),
            box_public: who.keys.box_public,
            nonce: [9; 32],
            features: Vec::new(),
            token: token.map(str::to_owned),
        }
    }

    pub(crate) async fn prove(&mut self, who: &Person, token: Option<&str>) -> Welcome {
        let challenge = self.ask_challenge(who, token).await;
        let proof = self.transcript(&challenge).sign_as_device(&who.keys, &who.sign_key());
        self.send(Auth { proof }).await;
        let welcome: Welcome = match self.frame().await {
            Frame::Welcome(welcome) => welcome,
            other => panic!("expected Welcome, got {other:?}"),
        };
        let transcript = self.transcript.as_ref().unwrap();
        transcript.verify_relay(&who.keys, &welcome.proof).unwrap();
        welcome
    }

    pub(crate) async fn ask_challenge(&mut self, who: &Person, token: Option<&str>) -> Challenge {
        self.send(Self::hello(who, token)).await;
        match self.frame().await {
            Frame::Challenge(challenge) => challenge,
            other => panic!("expected Challenge, got {other:?}"),
        }
    }

    pub(crate) fn transcript(&mut self, challenge: &Challenge) -> Transcript {
        self.relay = Some(challenge.relay);
        let transcript = Transcript {
            relay: challenge.relay,
            host: self.host.clone(),
            device_nonce: [9; 32],
            relay_nonce: challenge.nonce,
            binding: self.binding,
        };
        self.transcript = Some(transcript.clone());
        transcript
    }

    /// Sends what the relay may hang up on.
    pub(crate) async fn send_and_forget(&mut self, message: Message) {
        if let Err(error) = self.socket.send(message).await {
            println!("the relay hung up: {error}");
        }
    }

    /// Waits until the relay has hung up, in whatever way.
    pub(crate) async fn ended(&mut self) {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            if !matches!(message.expect("the relay does not hang up"), Some(Ok(_))) {
                return;
            }
        }
    }

    pub(crate) async fn send(&mut self, frame: impl Into<Frame>) {
        self.send_raw(Message::Binary(frame.into().encode().into())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next frame, whatever it is.
    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match message.expect("the relay says nothing").expect("the relay hung up").unwrap() {
                Message::Binary(bytes) => return Frame::decode(&bytes).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// The next frame within a moment, if there is one.
    pub(crate) async fn frame_soon(&mut self) -> Option<Frame> {
        tokio::time::timeout(Duration::from_millis(300), self.frame()).await.ok()
    }

    /// Reads to the end and returns the code with which the relay ended the session.
    pub(crate) async fn closed(&mut self) -> (CloseCode, Close) {
        let mut last = None;
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match message.expect("the relay does not end the session") {
                Some(Ok(Message::Binary(bytes))) => {
                    if let Ok(Frame::Close(close)) = Frame::decode(&bytes) {
                        last = Some(close);
                    }
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    let last = last.expect("a Close frame comes before the socket's");
                    assert_eq!(u16::from(frame.code), last.code);
                    return (CloseCode::from_number(last.code), last);
                }
                Some(Ok(_)) => {}
                other => panic!("the socket ended without a code: {other:?}, {last:?}"),
            }
        }
    }

    pub(crate) async fn seed(&mut self, ground: &[Record]) {
        self.send(Seed {
            workspace: workspace(ground),
            records: ground.iter().map(|record| record.encode().into()).collect(),
            attestations: Vec::new(),
            more: false,
            documents: None,
        })
        .await;
    }

    pub(crate) async fn open(
        &mut self,
        tag: WorkspaceTag,
        log: Option<LogId>,
        cursor: u64,
        receipt: Option<&Signed<Receipt>>,
    ) {
        self.send(Open {
            workspace: tag,
            log,
            cursor,
            receipt: receipt.map(|receipt| receipt.encode().into()),
            documents: None,
        })
        .await;
    }

    pub(crate) async fn opened(&mut self) -> Opened {
        match self.frame().await {
            Frame::Opened(opened) => opened,
            other => panic!("expected Opened, got {other:?}"),
        }
    }

    /// Reads items up to the head.
    pub(crate) async fn caught_up(&mut self) -> (Vec<(u64, Vec<u8>)>, Receipt) {
        let mut items = Vec::new();
        loop {
            match self.frame().await {
                Frame::Items(frame) => items.extend(positions(frame)),
                Frame::Head(Head { receipt, .. }) => return (items, verified(&receipt).1),
                other => panic!("expected Items or Head, got {other:?}"),
            }
        }
    }

    /// Seeds or opens, and reads to the head.
    pub(crate) async fn seeded(&mut self, ground: &[Record]) -> Opened {
        self.seed(ground).await;
        let opened = self.opened().await;
        assert!(opened.resumed);
        self.caught_up().await;
        opened
    }

    pub(crate) async fn append(&mut self, channel: u32, batch: u32, items: Vec<Vec<u8>>) {
        let items = items.into_iter().map(Into::into).collect();
        self.send(Append { channel, batch, items }).await;
    }

    pub(crate) async fn received(&mut self) -> (Received, Receipt) {
        match self.frame().await {
            Frame::Received(received) => {
                let receipt = verified(&received.receipt).1;
                (received, receipt)
            }
            other => panic!("expected Received, got {other:?}"),
        }
    }

    pub(crate) async fn refused(&mut self) -> Refused {
        match self.frame().await {
            Frame::Refused(refused) => refused,
            other => panic!("expected Refused, got {other:?}"),
        }
    }

    pub(crate) async fn items(&mut self) -> Vec<(u64, Vec<u8>)> {
        match self.frame().await {
            Frame::Items(items) => positions(items).collect(),
            other => panic!("expected Items, got {other:?}"),
        }
    }

    /// The next run of items, by its first and last position; `None` once the socket is cut.
    pub(crate) async fn items_until_cut(&mut self) -> Option<(u64, u64)> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let Some(Ok(message)) = message.expect("the relay does not hang up") else {
                return None;
            };
            if let Message::Binary(bytes) = message
                && let Frame::Items(items) = Frame::decode(&bytes).unwrap()
            {
                return Some((items.first_position, items.first_position + items.items.len() as u64 - 1));
            }
        }
    }

    pub(crate) async fn enter(&mut self, who: &Person, tag: WorkspaceTag, invite: RecordId, key: &SignKey) {
        let proof = self.transcript.as_ref().unwrap().sign_as_invite(&who.keys, key);
        self.send(Enter { workspace: tag, invite, proof }).await;
    }

    pub(crate) async fn ground(&mut self) -> Ground {
        match self.frame().await {
            Frame::Ground(ground) => ground,
            other => panic!("expected Ground, got {other:?}"),
        }
    }
}

pub(crate) fn verified(bytes: &[u8]) -> (Signed<Receipt>, Receipt) {
    let signed = Signed::<Receipt>::decode(bytes).unwrap();
    let receipt = signed.verify().unwrap().clone();
    (signed, receipt)
}

fn positions(frame: Items) -> impl Iterator<Item = (u64, Vec<u8>)> {
    (frame.first_position..).zip(frame.items.into_iter().map(|item| item.to_vec()))
}
