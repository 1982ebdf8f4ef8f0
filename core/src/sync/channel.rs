//! A channel: one workspace in one session, from its opening to being level with the relay's log.
//!
//! Invariant: `course` covers exactly the items this device has taken in or knows to be its own, and
//! its length is the cursor; what is in flight was sent in this session and not answered yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Frame, Head, Items, NotFoundReason, Open, Opened};
use tombolo_protocol::ids::{ChainId, LogId};
use tombolo_protocol::log::{Frontier, LogOrigin};
use tombolo_protocol::receipt::{LogReset, Signed};

use super::course::Course;
use super::floors::Floors;
use super::handshake::MALFORMED;
use super::heads::Heads;
use super::horizon::Horizons;
use super::mend::Mending;
use super::outbox::Batch;
use super::reason::SetAsideReason;
use super::wanted::Asks;
use super::{Fault, Live};
use crate::engine::{Engine, Event, Now};
use crate::store::{LogRow, StoreError, Tx, WorkspaceState};
use crate::workspace::Workspace;

/// Bytes of items that may wait until missing entries have been fetched; beyond it the session ends
/// and begins anew from the cursor.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// What a channel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be opened.
    Wanted,
    /// The relay was asked to open it.
    Opening,
    /// The relay was shown an invite, and asked for the records to join on.
    Entering,
    /// The relay was given records, and asked to open it with them.
    Seeding,
    /// The relay was asked what its log holds.
    Reconciling,
    /// Items come in.
    Filling,
    /// This device has everything that the relay has.
    Level,
    /// The relay has nothing for this device; it is asked again later.
    Dormant,
}

/// One workspace in one session.
pub(crate) struct Channel {
    pub(crate) phase: Phase,
    pub(crate) number: u32,
    pub(crate) log: LogId,
    pub(crate) origin: Option<LogOrigin>,
    pub(crate) course: Course,
    /// Which documents were asked for.
    pub(crate) asks: Asks,
    pub(crate) batches: u32,
    pub(crate) in_flight: VecDeque<Batch>,
    /// Up to which seq each chain was sent in this session.
    pub(crate) sent: BTreeMap<i64, u64>,
    /// Chains that the relay refused in this session, and why.
    pub(crate) refused: BTreeMap<i64, SetAsideReason>,
    /// Chains with entries that the log lacks.
    pub(crate) unplaced: BTreeSet<i64>,
    /// Chains of other devices with entries that the log lacks, and when to send them; when to send records.
    pub(crate) foreign: BTreeSet<i64>,
    pub(crate) foreign_at: Option<Duration>,
    pub(crate) records_at: Option<Duration>,
    pub(crate) has_changes: bool,
    pub(crate) has_records: bool,
    /// Entries that were asked for again, by chain.
    pub(crate) fetching: BTreeMap<ChainId, (u64, u64)>,
    /// For fetched chains: position and seq of the item that declares them.
    pub(crate) listed: BTreeMap<ChainId, (u64, u64)>,
    pub(crate) list_ended: bool,
    /// Snapshots that stand for what the log does not hold any more.
    pub(crate) horizons: Horizons,
    /// Snapshots that stand for what the log lacks.
    pub(crate) floors: Floors,
    pub(crate) mending: Mending,
    /// Frames that wait for a damaged entry.
    pub(crate) stalled: Vec<Frame>,
    /// Items and heads that wait for what was asked for.
    waiting: Vec<Frame>,
    waiting_bytes: usize,
    /// When to look whether members lack keys or hold roles that have ended.
    pub(crate) chores_at: Option<Duration>,
    pub(crate) status_at: Option<Duration>,
    pub(crate) status_sent: Option<Duration>,
    pub(crate) status_position: u64,
    pub(crate) heads: Heads,
    pub(crate) retry_at: Option<Duration>,
    /// What the relay wants of the session before it takes or opens the workspace.
    pub(crate) needs: Option<NotFoundReason>,
    /// How often the relay turned a join away in this session, and how often what it refused went again.
    pub(crate) turned_away: u32,
    /// When to look again at what this user's other devices should have stated.
    pub(crate) owes_at: Option<Duration>,
    pub(crate) owes_due: bool,
}

impl Channel {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Wanted,
            number: 0,
            log: LogId::from_bytes([0; 16]),
            origin: None,
            course: Course::default(),
            asks: Asks::default(),
            batches: 0,
            in_flight: VecDeque::new(),
            sent: BTreeMap::new(),
            refused: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            foreign: BTreeSet::new(),
            foreign_at: None,
            has_changes: true,
            has_records: true,
            records_at: None,
            fetching: BTreeMap::new(),
            listed: BTreeMap::new(),
            list_ended: false,
            horizons: Horizons::default(),
            floors: Floors::default(),
            mending: Mending::default(),
            stalled: Vec::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            chores_at: None,
            status_at: None,
            status_sent: None,
            status_position: 0,
            heads: Heads::default(),
            retry_at: None,
            needs: None,
            turned_away: 0,
            owes_at: None,
            owes_due: false,
        }
    }

    pub(crate) fn note_changes(&mut self) {
        self.has_changes = true;
    }

    pub(crate) fn note_records(&mut self) {
        self.has_records = true;
    }

    /// Tells whether it is level and has something to say.
    pub(crate) fn wants_flush(&self) -> bool {
        let has_work = self.has_changes || self.has_records || !self.unplaced.is_empty();
        self.phase == Phase::Level && (has_work || self.mending.is_due()) && !self.mending.lacking.comes_first()
    }

    pub(crate) fn wake_at(&self) -> Option<Duration> {
        // What only a level channel does wakes nobody before: a wake that changes nothing would repeat at once.
        let of_level = [self.foreign_at, self.records_at, self.chores_at, self.status_at, self.owes_at];
        let others = [self.mending.lacking.wake_at(), self.heads.wake_at()];
        let planned = of_level.into_iter().chain(others).filter(|_| self.phase == Phase::Level);
        planned.chain([self.retry_at]).flatten().min()
    }

    /// Tells whether an entry of this chain is on its way.
    pub(crate) fn is_in_flight(&self, chain: i64) -> bool {
        self.in_flight.iter().flat_map(|b| &b.items).any(|item| item.entry.is_some_and(|(sent, ..)| sent == chain))
    }

    pub(crate) fn to_row(&self, receipt: Option<Vec<u8>>) -> LogRow {
        LogRow { id: self.log, frontier: self.course.frontier().clone(), receipt, wanted: self.asks.wanted }
    }
}

impl Live {
    /// Finds the workspace that a relay's channel number stands for.
    pub(super) fn workspace_of(&self, number: u32) -> Option<i64> {
        let open = |channel: &Channel| !matches!(channel.phase, Phase::Wanted | Phase::Opening | Phase::Dormant);
        self.channels.iter().find(|(_, channel)| open(channel) && channel.number == number).map(|(row, _)| *row)
    }
}

impl Engine {
    /// Wants a workspace open on a session; the frame leaves with the next `settle`.
    pub(crate) fn open_channel(&mut self, relay: i64, workspace: i64) {
        let refused = |held: &Workspace| matches!(held.state, WorkspaceState::Refused(_));
        if self.workspaces.get(&workspace).is_none_or(refused) {
            return;
        }
        if let Some(live) = self.relays.get_mut(&relay).and_then(super::Relay::live_mut) {
            live.channels.entry(workspace).or_insert_with(Channel::new);
        }
    }

    /// Opens the channels that are wanted.
    pub(crate) fn open_wanted(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let mut wanted = Vec::new();
        for (row, relay) in &self.relays {
            let channels = relay.live().into_iter().flat_map(|live| &live.channels);
            wanted.extend(channels.filter(|(_, c)| c.phase == Phase::Wanted).map(|(workspace, _)| (*row, *workspace)));
        }
        for (relay, workspace) in wanted {
            if !self.open_as_stranger(relay, workspace)? {
                self.request_open(relay, workspace, tx)?;
            }
        }
        Ok(())
    }

    fn request_open(&mut self, relay: i64, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(());
        };
        // What the disk took of the records, or somebody spoilt on the way, only a comparison brings back.
        let lacks_record = held.incomplete || tx.holds_for(workspace, SetAsideReason::UnknownRecord.code())?;
        // So does what was left out before it was wanted.
        let name = held.wanted_name();
        let log = if lacks_record { None } else { tx.log(relay, workspace)?.filter(|log| log.wanted == name) };
        let open = Open {
            workspace: held.tag,
            // Without a place in the log, an id that no log has asks for a comparison instead of everything.
            log: Some(log.as_ref().map_or(NO_LOG, |log| log.id)),
            cursor: log.as_ref().map_or(0, |log| log.frontier.length()),
            receipt: log.and_then(|log| log.receipt).map(Into::into),
            documents: self.wanted_of(workspace),
        };
        self.note_asked((relay, workspace));
        self.set_phase(relay, workspace, Phase::Opening);
        self.send(relay, open);
        Ok(())
    }

    pub(crate) fn set_phase(&mut self, relay: i64, workspace: i64, phase: Phase) {
        if let Some(channel) = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(workspace)) {
            channel.phase = phase;
        }
    }

    /// Takes in a frame of a session that stands.
    pub(crate) fn take_frame(&mut self, now: Now, relay: i64, frame: Frame, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(frame) = self.keep_behind(relay, frame)? else {
            return Ok(());
        };
        match frame {
            Frame::Opened(opened) => self.opened(now, relay, &opened, tx),
            Frame::NotFound(absent) => self.not_found(now, relay, &absent, tx),
            Frame::Ground(ground) => self.take_ground(now, relay, &ground, tx),
            Frame::Items(items) => {
                let workspace = self.channel_of(relay, items.channel)?;
                self.take_or_keep(now, (relay, workspace), items, tx)
            }
            Frame::Head(head) => {
                let workspace = self.channel_of(relay, head.channel)?;
                self.head_or_keep(now, (relay, workspace), head, tx)
            }
            Frame::Received(received) => {
                let workspace = self.channel_of(relay, received.channel)?;
                self.take_receipt(now, (relay, workspace), &received, tx)
            }
            Frame::Refused(refused) => {
                let workspace = self.channel_of(relay, refused.channel)?;
                self.take_refusal(now, (relay, workspace), &refused, tx)
            }
            Frame::Summary(_) | Frame::Fetched(_) | Frame::Pruned(_) => self.take_of_chains(now, relay, &frame, tx),
            Frame::Status(status) => {
                let workspace = self.channel_of(relay, status.channel)?;
                self.take_status(now, workspace, &status.row, tx)
            }
            frame => self.take_of_devices(now, relay, &frame, tx),
        }
    }

    pub(super) fn channel_of(&self, relay: i64, number: u32) -> Result<i64, Fault> {
        let live = self.relays.get(&relay).and_then(super::Relay::live);
        live.and_then(|live| live.workspace_of(number)).ok_or(MALFORMED)
    }

    fn opened(&mut self, now: Now, relay: i64, opened: &Opened, tx: &Tx<'_>) -> Result<(), Fault> {
        let found = self.workspaces.values().find(|workspace| workspace.tag == opened.workspace);
        let workspace = found.map(|workspace| workspace.row).ok_or(MALFORMED)?;
        let (_, id) = self.relay_and_workspace(relay, workspace).ok_or(MALFORMED)?;
        self.verify_receipt((relay, workspace), &opened.head, Some(opened.log))?;
        if let Some(reset) = &opened.reset {
            self.take_reset((relay, workspace), reset, tx)?;
        }
        let asked = self.relays.get(&relay).and_then(|relay| relay.live()?.channels.get(&workspace)?.asks.wanted);
        let is_place = |log: &LogRow| log.id == opened.log && log.wanted == asked && opened.resumed;
        let log = tx.log(relay, workspace)?.filter(is_place);
        let Some(live) = self.relays.get_mut(&relay).and_then(super::Relay::live_mut) else {
            return Ok(());
        };
        let origin = LogOrigin::new(&live.relay, &opened.log, &id);
        let Some(channel) = live.channels.get_mut(&workspace) else {
            return Err(MALFORMED);
        };
        channel.number = opened.channel;
        channel.log = opened.log;
        channel.origin = Some(origin);
        channel.course = Course::from_frontier(log.as_ref().map_or_else(Frontier::new, |log| log.frontier.clone()));
        if opened.resumed {
            channel.phase = Phase::Filling;
            if log.is_none() {
                let row = channel.to_row(None);
                tx.forget_log(relay, workspace)?;
                tx.set_log(relay, workspace, &row)?;
            }
            self.note_left_waiting((relay, workspace), tx)?;
            self.say_wanted((relay, workspace));
            return Ok(self.compare_opening(now, (relay, workspace), &opened.head, tx)?);
        }
        channel.phase = Phase::Reconciling;
        tx.forget_log(relay, workspace)?;
        self.request_list((relay, workspace), tx)?;
        Ok(self.compare_opening(now, (relay, workspace), &opened.head, tx)?)
    }

    fn take_reset(&mut self, at: (i64, i64), bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        const FALSE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::BadSignature);
        let (relay, workspace) = at;
        let reset = Signed::<LogReset>::decode(bytes).map_err(|_| MALFORMED)?;
        let statement = reset.verify().map_err(|_| FALSE)?;
        let known = self.relay_and_workspace(relay, workspace);
        if known != Some((statement.relay, statement.workspace)) {
            return Err(FALSE);
        }
        tx.forget_log(relay, workspace)?;
        self.counters.count(SetAsideReason::RelayRollback);
        if let Some(address) = self.relays.get(&relay).map(|relay| relay.address().to_owned()) {
            self.tell(Event::RelayRollback { address, workspace: statement.workspace });
        }
        Ok(())
    }

    pub(crate) fn relay_and_workspace(
        &self,
        relay: i64,
        workspace: i64,
    ) -> Option<(tombolo_protocol::ids::RelayId, tombolo_protocol::ids::WorkspaceId)> {
        let live = self.relays.get(&relay)?.live()?;
        Some((live.relay, self.workspaces.get(&workspace)?.id))
    }

    /// Takes items in, or keeps them until the entries they build on have been fetched.
    fn take_or_keep(&mut self, now: Now, at: (i64, i64), items: Items, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if channel.phase != Phase::Reconciling {
            return self.take_items(now, at, &items, tx);
        }
        channel.waiting_bytes += items.items.iter().map(|item| item.len()).sum::<usize>();
        channel.waiting.push(items.into());
        if channel.waiting_bytes > WAITING_BYTES_MAX {
            return Err(Fault::Session(CloseCode::SlowConsumer, SetAsideReason::TooMuchHeld));
        }
        Ok(())
    }

    fn head_or_keep(&mut self, now: Now, at: (i64, i64), head: Head, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if channel.phase == Phase::Reconciling {
            channel.waiting_bytes += head.receipt.len();
            channel.waiting.push(head.into());
            return Ok(());
        }
        self.take_head(now, at, &head.receipt, tx)
    }

    /// Takes in what was kept while a comparison was under way.
    pub(crate) fn drain_waiting(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.waiting_bytes = 0;
        // A head is that of the log behind the items before it.
        for frame in std::mem::take(&mut channel.waiting) {
            match frame {
                Frame::Items(items) => self.take_items(now, at, &items, tx)?,
                Frame::Head(head) => self.take_head(now, at, &head.receipt, tx)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// An id that no log has: logs draw theirs at random.
const NO_LOG: LogId = LogId::from_bytes([0; 16]);
