//! One session, without a socket: frames in, frames out.
//!
//! The driver hands in what the socket and the [`Outbox`] bring, sends what [`Session::take_output`]
//! returns, and calls [`Session::read_on`] while the socket has room: so a slow reader is paused
//! simply by not being asked.
//!
//! Invariant: memory is bounded by a constant and the open workspaces; a frame before the proof is at
//! most 4 KiB and of the handshake; whatever breaks the protocol ends the session with a code.

mod account;
mod append;
mod catch_up;
mod devices;
mod filter;
mod guest;
mod handshake;
mod open;
mod right;
mod seed;
mod step_up;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tombolo_protocol::auth::{PROTOCOL_VERSION, Transcript};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Close, Frame, NotFound, NotFoundReason};
use tombolo_protocol::identity::DeviceKeys;
use tombolo_protocol::ids::{DeviceId, WorkspaceTag};

use crate::access::Denial;
use crate::fanout::{Closing, Outbox, Taken};
use crate::log::{LogError, Row};
use crate::relay::{NoEntropy, Relay};
use crate::workspace::NoRight;
use account::Account;
pub use account::NOTES_MAX;
use append::Allowance;
pub use append::RATE_WINDOW_S;
use catch_up::Channel;
use guest::Guest;
pub use guest::{GUEST_ENTERS_MAX, GUEST_ENTERS_PER_SECOND_MAX, GUESTS_MAX, Guests};
pub use handshake::Peer;
use seed::SeedBuffer;
use step_up::{SecondFactor, StepUpPending};

/// Where the session stands.
enum Stage {
    /// Nothing was heard yet.
    Fresh,
    /// The device was challenged.
    Challenged(Box<Challenged>),
    /// The device has proven its key.
    Proven(Box<Proven>),
}

/// A device that has still to prove its key.
struct Challenged {
    keys: DeviceKeys,
    token: Option<String>,
    /// Whether it wants to be linked to a user.
    links: bool,
    transcript: Transcript,
    deadline_ms: u64,
}

/// A device that has proven its key.
struct Proven {
    keys: DeviceKeys,
    device: DeviceId,
    transcript: Transcript,
    /// Whether what it showed would admit a stranger.
    token_holds: bool,
    /// Set while nothing but an invite could admit it.
    guest: Option<Guest>,
    /// What it has shown beyond its key.
    factor: SecondFactor,
    /// What it was asked to answer.
    pending: Option<StepUpPending>,
}

/// One session.
pub struct Session {
    relay: Arc<Relay>,
    outbox: Arc<Outbox>,
    peer: Peer,
    stage: Stage,
    // Boxed: a map's smallest node has room for eleven, and most sessions have one.
    channels: BTreeMap<Row, Box<Channel>>,
    /// Workspaces that were taken from it; what was on its way for them is passed over.
    ended: BTreeSet<Row>,
    seed: Option<SeedBuffer>,
    allowance: Allowance,
    /// Identity logs that were judged for it.
    claims: u32,
    account: Account,
    output: Vec<Bytes>,
}

impl Session {
    /// Starts a session with an unknown device.
    #[must_use]
    pub fn new(relay: Arc<Relay>, outbox: Arc<Outbox>, peer: Peer) -> Self {
        let allowance = Allowance::new(relay.terms(), relay.steady_ms());
        relay.metrics().session_began();
        Self {
            relay,
            outbox,
            peer,
            stage: Stage::Fresh,
            channels: BTreeMap::new(),
            ended: BTreeSet::new(),
            seed: None,
            allowance,
            claims: 0,
            account: Account::default(),
            output: Vec::new(),
        }
    }

    /// Tells whether the device has proven its key and is admitted.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        matches!(&self.stage, Stage::Proven(proven) if proven.guest.is_none())
    }

    /// Returns why a session ends that is not admitted in time.
    #[must_use]
    pub fn overdue(&self) -> CloseCode {
        match self.stage {
            Stage::Proven(_) => CloseCode::NotAdmitted,
            _ => CloseCode::AuthTimeout,
        }
    }

    /// Takes one binary message.
    ///
    /// # Errors
    /// [`Closing`] if the session must end.
    pub fn handle(&mut self, message: &[u8]) -> Result<(), Closing> {
        self.relay.metrics().frame_in(message);
        if !self.may_be_so_long(message.len()) {
            return Err(CloseCode::NotAdmitted.into());
        }
        let frame = match &self.stage {
            Stage::Proven(_) => Frame::decode(message),
            _ => Frame::decode_unauthenticated(message),
        };
        let frame = frame.map_err(|error| {
            tracing::debug!(%error, "a frame does not follow the protocol");
            Closing::from(CloseCode::Malformed)
        })?;
        if self.seed.is_some() && !matches!(frame, Frame::Seed(_)) {
            self.seed = None;
        }
        self.review_due()?;
        let Some(frame) = self.judge_guest(frame)? else {
            return Ok(());
        };
        match frame {
            Frame::Hello(hello) => self.hello(hello),
            Frame::Auth(auth) => self.auth(&auth),
            Frame::Close(_) => Err(CloseCode::Going.into()),
            Frame::Open(open) => self.open(&open),
            Frame::Shut(shut) => self.shut(shut.channel),
            Frame::Seed(seed) => self.seed(seed),
            Frame::Enter(enter) => self.enter(&enter),
            Frame::Claim(claim) => self.claim(&claim),
            Frame::Return(back) => self.return_to(&back),
            Frame::Append(append) => self.append(&append),
            Frame::Fetch(fetch) => self.fetch(&fetch),
            Frame::Reconcile(reconcile) => self.reconcile(&reconcile),
            Frame::Status(status) => self.status(&status),
            Frame::Meet(meet) => self.meet(&meet),
            Frame::Pass(pass) => self.pass(pass),
            Frame::Part(part) => self.part(&part),
            frame => self.take_step_up(&frame),
        }
    }

    /// Takes what the outbox brought.
    ///
    /// # Errors
    /// [`Closing`] if the session must end.
    pub fn deliver(&mut self, taken: Taken) -> Result<(), Closing> {
        for channel in taken.behind {
            if let Some(channel) = self.channels.get_mut(&channel) {
                channel.fall_behind();
            }
        }
        self.review_due()?;
        for delivery in taken.queue {
            self.deliver_one(delivery)?;
        }
        taken.closing.map_or(Ok(()), Err)
    }

    /// Returns what is to be sent.
    pub fn take_output(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.output)
    }

    /// Returns the last frame of a session that ends.
    #[must_use]
    pub fn last_frame(&self, closing: Closing) -> Bytes {
        let version = (closing.code == CloseCode::UnsupportedVersion).then_some(PROTOCOL_VERSION);
        let frame = Frame::from(Close { code: closing.code.number(), retry_after_ms: closing.retry_after_ms, version });
        Bytes::from(frame.encode())
    }

    fn send(&mut self, frame: impl Into<Frame>) {
        self.output.push(Bytes::from(frame.into().encode()));
    }

    fn proven(&self) -> Result<&Proven, Closing> {
        match &self.stage {
            Stage::Proven(proven) => Ok(proven),
            _ => Err(CloseCode::Malformed.into()),
        }
    }

    fn proven_mut(&mut self) -> Result<&mut Proven, Closing> {
        match &mut self.stage {
            Stage::Proven(proven) => Ok(proven),
            _ => Err(CloseCode::Malformed.into()),
        }
    }

    fn device(&self) -> Result<DeviceId, Closing> {
        self.proven().map(|proven| proven.device)
    }

    fn not_found(&mut self, workspace: WorkspaceTag) {
        self.relay.metrics().not_found();
        self.note_denied(workspace, Denial::NotFound);
        self.send(NotFound { workspace, reason: None });
    }

    fn not_found_because(&mut self, workspace: WorkspaceTag, reason: NotFoundReason) {
        self.relay.metrics().not_found();
        self.note_denied(workspace, Denial::from(reason));
        self.send(NotFound { workspace, reason: Some(reason.number()) });
    }

    /// Tells one who was a member why it is none; to a stranger it says what it says of nothing.
    fn deny(&mut self, workspace: WorkspaceTag, no: NoRight) {
        match no.ended() {
            Some(ended) => self.not_found_because(workspace, ended.into()),
            None => self.not_found(workspace),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let channels = std::mem::take(&mut self.channels);
        for mut channel in channels.into_values() {
            self.leave(&mut channel);
        }
        self.relay.meetings().leave(&self.outbox);
        self.end_stay();
        self.note_left();
        let device = self.device().ok();
        self.relay.depart(device.as_ref(), self.outbox.id());
        self.relay.metrics().session_ended();
    }
}

impl From<LogError> for Closing {
    fn from(error: LogError) -> Self {
        tracing::error!(%error, "the log can not be read");
        CloseCode::Unavailable.into()
    }
}

impl From<NoEntropy> for Closing {
    fn from(_: NoEntropy) -> Self {
        tracing::error!("the source of randomness failed");
        CloseCode::Unavailable.into()
    }
}
