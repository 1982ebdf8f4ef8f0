//! Sync: sessions with relays, what they bring in, what goes out, and what is still owed.
//!
//! A [`Relay`] is dialled, proves itself, and then has one channel for each workspace. A channel opens
//! from its cursor (or reconciles without one), takes items until it is level with the signed head,
//! and only then sends.
//!
//! Invariant: the cursor moves in the commit of what it covers; nothing is sent before the channel is
//! level; whatever a relay says that it should not closes the session with a counted reason.

mod address;
mod admit;
mod answers;
mod backoff;
pub(crate) mod channel;
mod course;
pub(crate) mod debt;
mod floors;
pub(crate) mod fold;
mod handshake;
mod heads;
mod horizon;
mod intake;
mod join;
mod mend;
pub(crate) mod milestone;
mod outbox;
pub(crate) mod reason;
mod receipt;
mod reconcile;
mod refusal;
mod seal;
mod status;
pub(crate) mod step_up;
mod steward;
mod wanted;

use std::collections::BTreeMap;
use std::time::Duration;

use address::judge_address;
use answers::Answers;
use backoff::{Backoff, Ended};
use channel::Channel;
use handshake::Handshake;
use reason::SetAsideReason;
use tombolo_crypto::{Entropy, array};
use tombolo_protocol::auth::Transcript;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Frame;
use tombolo_protocol::ids::RelayId;

use crate::engine::{Connection, Effect, Engine, Event, Now, OfflineReason, RelayRef, RelayState, Unreached};
use crate::error::Error;
use crate::store::{RelayRow, StoreError, Tx, WorkspaceState};

/// Wait before relays are dialled again by a device whose disk is full.
const FULL_REST: Duration = Duration::from_secs(10);

/// Why a frame could not be taken.
pub(crate) enum Fault {
    /// The store failed: reload.
    Store(StoreError),
    /// The other side is at fault: close with this code, and count this.
    Session(CloseCode, SetAsideReason),
    /// The way to the other side is not safe enough for a proof.
    Way(Unreached),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What this end of a session is doing.
enum Session {
    /// Nobody is there.
    Offline,
    /// A connection is being made.
    Dialling,
    /// Both prove who they are.
    Proving(Box<Handshake>),
    /// Both have proven who they are.
    Live(Box<Live>),
}

/// A session that stands.
pub(crate) struct Live {
    pub(crate) relay: RelayId,
    pub(crate) transcript: Transcript,
    pub(crate) credit_bytes: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) channels: BTreeMap<i64, Channel>,
    pub(crate) step_ups: step_up::StepUps,
    answers: Answers,
    since: Duration,
}

/// One relay that the app dialled.
pub(crate) struct Relay {
    row: RelayRow,
    attempt: u64,
    session: Session,
    backoff: Backoff,
    /// How many sessions in a row were left because it did not answer.
    unanswered: u32,
    /// When to dial next; `None` while there is a session, or one is on its way.
    dial_at: Option<Duration>,
}

impl Relay {
    pub(crate) fn new(row: RelayRow) -> Self {
        let session = Session::Offline;
        let dial_at = Some(Duration::ZERO);
        Self { row, attempt: 0, session, backoff: Backoff::default(), unanswered: 0, dial_at }
    }

    pub(crate) fn key(&self) -> Option<RelayId> {
        match &self.session {
            Session::Live(live) => Some(live.relay),
            _ => self.row.key,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.row.address
    }

    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.session {
            Session::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.session {
            Session::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(crate) fn channel_mut(&mut self, workspace: i64) -> Option<&mut Channel> {
        self.live_mut()?.channels.get_mut(&workspace)
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection { relay: RelayRef(self.row.row), attempt: self.attempt }
    }

    /// Tells whether some level channel has something to say.
    pub(crate) fn wants_flush(&self) -> bool {
        self.live().is_some_and(|live| live.channels.values().any(Channel::wants_flush))
    }

    pub(crate) fn wake_at(&self, paused: bool) -> Option<Duration> {
        match &self.session {
            Session::Offline if !paused => self.dial_at,
            Session::Live(live) => live.channels.values().filter_map(Channel::wake_at).chain(self.answer_due()).min(),
            Session::Proving(handshake) => Some(handshake.deadline()),
            _ => None,
        }
    }

    fn state(&self, now: Now) -> RelayState {
        match &self.session {
            Session::Offline => RelayState::Offline {
                retry_in: self.dial_at.map(|at| at.saturating_sub(now.mono)),
                reason: self.backoff.last().reason,
                proven: self.backoff.last().proven,
            },
            Session::Dialling | Session::Proving(_) => RelayState::Dialling,
            Session::Live(live) => RelayState::Online { relay: live.relay },
        }
    }
}

impl Engine {
    /// Begins to reach a relay, now and whenever the session ends, until the store is forgotten.
    ///
    /// # Errors
    /// [`Error::Address`] for an address that can not be dialled safely, [`Error::Store`].
    pub fn dial(
        &mut self,
        now: Now,
        address: &str,
        allow_proxy: bool,
        token: Option<&str>,
        tx: &Tx<'_>,
    ) -> Result<RelayRef, Error> {
        judge_address(address).map_err(Error::Address)?;
        tx.room()?;
        let row = tx.insert_relay(address, allow_proxy, token, self.entropy.as_mut())?;
        let token = token.map(ToOwned::to_owned);
        let relay = self.relays.entry(row).or_insert_with(|| {
            let address = address.to_owned();
            Relay::new(RelayRow { row, address, key: None, allow_proxy, token: None })
        });
        relay.row.allow_proxy = allow_proxy;
        relay.row.token = token.or(relay.row.token.take());
        if matches!(relay.session, Session::Offline) {
            relay.backoff = Backoff::default();
            relay.dial_at = Some(now.mono);
        }
        self.dial_due(now);
        Ok(RelayRef(row))
    }

    /// Tells whether the app allowed a proxy before the relay at this address.
    pub(crate) fn allows_proxy(&self, address: &str) -> bool {
        self.relays.values().any(|relay| relay.row.address == address && relay.row.allow_proxy)
    }

    /// Returns the relays that were dialled, and how each session stands.
    #[must_use]
    pub fn relay_states(&self, now: Now) -> Vec<(String, RelayState)> {
        self.relays.values().map(|relay| (relay.row.address.clone(), relay.state(now))).collect()
    }

    /// Dials whoever is due.
    pub(crate) fn dial_due(&mut self, now: Now) {
        if self.paused {
            return;
        }
        let mut effects = Vec::new();
        for relay in self.relays.values_mut() {
            let due = relay.dial_at.is_some_and(|at| at <= now.mono);
            if due && matches!(relay.session, Session::Offline) {
                relay.attempt += 1;
                relay.dial_at = None;
                relay.session = Session::Dialling;
                let (connection, address) = (relay.connection(), relay.row.address.clone());
                let state = Event::Relay { address: address.clone(), state: RelayState::Dialling };
                effects.push(Effect::Event(state));
                effects.push(Effect::Dial { connection, address });
            }
        }
        effects.into_iter().for_each(|effect| self.push(effect));
    }

    /// Dials nobody for a while: a disk that is full takes nothing in.
    pub fn rest(&mut self, now: Now) {
        for relay in self.relays.values_mut() {
            relay.dial_at = relay.dial_at.map(|at| at.max(now.mono + FULL_REST));
        }
    }

    /// Finds the relay that an input is about, unless the connection was given up before.
    fn current(&mut self, connection: Connection) -> Option<&mut Relay> {
        self.relays.get_mut(&connection.relay.0).filter(|relay| relay.attempt == connection.attempt)
    }

    pub(crate) fn disconnected(&mut self, now: Now, connection: Connection, code: Option<CloseCode>) {
        self.attempt_ended(now, connection, code.map(OfflineReason::Ended));
    }

    pub(crate) fn unreached(&mut self, now: Now, connection: Connection, why: Unreached) {
        self.attempt_ended(now, connection, Some(OfflineReason::Unreached(why)));
    }

    fn attempt_ended(&mut self, now: Now, connection: Connection, reason: Option<OfflineReason>) {
        if self.current(connection).is_some_and(|relay| !matches!(relay.session, Session::Offline)) {
            self.go_offline(now, connection.relay.0, reason, None);
        }
    }

    /// Ends a session from this side.
    pub(crate) fn hang_up(&mut self, now: Now, connection: Connection, code: CloseCode) {
        if self.current(connection).is_some() {
            self.push(Effect::HangUp { connection, code });
            self.go_offline(now, connection.relay.0, Some(code.into()), None);
        }
    }

    pub(crate) fn go_offline(
        &mut self,
        now: Now,
        relay: i64,
        reason: Option<OfflineReason>,
        at_least: Option<Duration>,
    ) {
        let jitter = u64::from_be_bytes(array(self.entropy.as_mut()));
        let joins = self.joins_by(relay);
        let Some(relay) = self.relays.get_mut(&relay) else {
            return;
        };
        let live = relay.live().map(|live| live.since);
        if let Some(since) = live {
            relay.backoff.note_session(now.mono.saturating_sub(since));
        }
        relay.session = Session::Offline;
        let ended = Ended { reason, proven: live.is_some(), at_least, joins };
        relay.dial_at = Some(now.mono + relay.backoff.next(ended, jitter));
        let (address, state) = (relay.row.address.clone(), relay.state(now));
        self.tell(Event::Relay { address, state });
    }

    pub(crate) fn redial_now(&mut self, now: Now) {
        for relay in self.relays.values_mut() {
            if matches!(relay.session, Session::Offline) && relay.dial_at.is_some() {
                relay.backoff = Backoff::default();
                relay.dial_at = Some(now.mono);
            }
        }
        self.dial_due(now);
    }

    pub(crate) fn pause(&mut self) {
        self.paused = true;
        let mut effects = Vec::new();
        for relay in self.relays.values_mut() {
            if !matches!(relay.session, Session::Offline) {
                effects.push(Effect::HangUp { connection: relay.connection(), code: CloseCode::Going });
                relay.attempt += 1;
                relay.session = Session::Offline;
                relay.dial_at = Some(Duration::ZERO);
                let state = RelayState::Offline { retry_in: None, reason: None, proven: false };
                effects.push(Effect::Event(Event::Relay { address: relay.row.address.clone(), state }));
            }
        }
        effects.into_iter().for_each(|effect| self.push(effect));
    }

    pub(crate) fn resume(&mut self, now: Now) {
        self.paused = false;
        self.redial_now(now);
    }

    pub(crate) fn tick(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        if tx.room().is_err() {
            self.rest(now);
        }
        self.dial_due(now);
        let is_late = |proof: &Handshake| proof.deadline() <= now.mono;
        let expired =
            self.relays.values().filter(|relay| matches!(&relay.session, Session::Proving(proof) if is_late(proof)));
        for connection in expired.map(Relay::connection).collect::<Vec<_>>() {
            self.hang_up(now, connection, CloseCode::AuthTimeout);
        }
        self.leave_unanswered(now);
        self.compare_again(now, tx)?;
        self.send_statuses(now, tx)?;
        self.release_foreign(now);
        self.notice_withheld(now);
        self.look_after_members(now, tx)
    }

    pub(crate) fn send(&mut self, relay: i64, frame: impl Into<Frame>) {
        if let Some(relay) = self.relays.get_mut(&relay) {
            let (connection, bytes) = (relay.connection(), frame.into().encode());
            if let Some(live) = relay.live_mut() {
                live.answers.carry(bytes.len());
            }
            self.push(Effect::Send { connection, bytes });
        }
    }

    /// Opens a workspace on every session that stands.
    pub(crate) fn open_channels(&mut self, workspace: i64) {
        let live: Vec<i64> = self.relays.values().filter(|relay| relay.live().is_some()).map(|r| r.row.row).collect();
        for relay in live {
            self.open_channel(relay, workspace);
        }
    }

    /// Notes that a workspace has something new to send.
    pub(crate) fn work_to_send(&mut self, workspace: i64) {
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                channel.note_changes();
            }
        }
    }

    /// Notes that a workspace has new records to send.
    pub(crate) fn records_to_send(&mut self, workspace: i64) {
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                channel.note_records();
            }
        }
    }

    pub(crate) fn is_joining(&self, workspace: i64) -> bool {
        self.workspaces.get(&workspace).is_some_and(|workspace| workspace.state == WorkspaceState::Joining)
    }
}

/// Draws a wait between two bounds.
pub(crate) fn draw(entropy: &mut dyn Entropy, from: Duration, to: Duration) -> Duration {
    let span = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX).max(1);
    from + Duration::from_millis(u64::from_be_bytes(array(entropy)) % span)
}
