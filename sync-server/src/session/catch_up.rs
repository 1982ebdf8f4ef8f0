//! What a session is sent of an open workspace: items from its cursor, then each commit as it comes.
//!
//! Invariant: `sent` is the last position that the device has, by an items frame or because the item
//! is its own and acknowledged; frames follow each other without a gap. A receipt leaves only after
//! the items below it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Fetch, Fetched, Frame, Head, Pruned, Received, Status};
use tombolo_protocol::ids::DocumentTag;
use tombolo_protocol::limits::ITEMS_BYTES_TARGET;
use tombolo_protocol::receipt::{Receipt, Signed};
use tombolo_protocol::status::StatusRow;

use super::Session;
use super::filter::{Filter, with_gaps};
use crate::fanout::{Acknowledgement, Closing, Delivery, SessionId, items_frame};
use crate::log::{Floor, Row, expand_run};
use crate::workspace::{Proof, Published, Workspace};
use crate::writer::Job;

/// At most one status row of a device is stored in this time; later ones wait, the newest wins.
const STATUS_STORED_EVERY_MS: u64 = 10_000;

/// Items that are read in a moment; to read more a thread may be set aside, which costs ten times as much.
const FEW_ITEMS: u64 = 64;

/// How a session follows a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The writer has something to do first.
    Waiting,
    /// The cursor is of no use; the device reconciles.
    Unusable,
    /// Items are read from the log.
    Reading,
    /// Items come with each commit.
    Live,
}

/// One open workspace of a session.
pub(super) struct Channel {
    pub(super) workspace: Arc<Workspace>,
    mode: Mode,
    sent: u64,
    pub(super) last_batch: u32,
    /// What the device has shown and not made whole yet.
    pub(super) proof: Option<Box<Proof>>,
    /// When the right to it ends, by the relay's clock.
    pub(super) right_until: Option<i64>,
    /// The documents that it asks for, if not for all.
    pub(super) filter: Option<Box<Filter>>,
    /// Whether it was told that it has everything.
    is_greeted: bool,
    /// Receipts whose items the device does not have yet.
    held: VecDeque<Acknowledgement>,
    /// What the device tells of itself.
    pub(super) told: StatusMark,
}

/// Spares the log from a device that tells its status too often.
#[derive(Default)]
pub(super) struct StatusMark {
    /// When a row was last stored, by the relay's steady clock.
    stored_ms: Option<u64>,
    /// A newer row, and which of the device's it is.
    waiting: Option<(u64, Vec<u8>)>,
}

impl StatusMark {
    /// Takes a row; returns it if it is to be stored now.
    fn take(&mut self, nth: u64, bytes: Vec<u8>, now_ms: u64) -> Option<Vec<u8>> {
        let due = self.stored_ms.is_none_or(|stored| now_ms.saturating_sub(stored) >= STATUS_STORED_EVERY_MS);
        if due {
            (self.stored_ms, self.waiting) = (Some(now_ms), None);
            return Some(bytes);
        }
        self.waiting = Some((nth, bytes));
        None
    }
}

impl Channel {
    pub(super) fn new(workspace: Arc<Workspace>, mode: Mode, cursor: u64) -> Self {
        Self {
            workspace,
            mode,
            sent: cursor,
            last_batch: 0,
            proof: None,
            right_until: None,
            filter: None,
            is_greeted: false,
            held: VecDeque::new(),
            told: StatusMark::default(),
        }
    }

    /// Goes back to reading the log: the outbox had no room for all.
    pub(super) fn fall_behind(&mut self) {
        if self.mode == Mode::Live {
            self.mode = Mode::Reading;
        }
    }

    /// Takes what the device has been given; returns whether it follows what it had.
    fn advance(&mut self, first: u64, last: u64) -> bool {
        let follows = first == self.sent + 1;
        if follows {
            self.sent = last;
        }
        follows
    }

    /// Takes what a commit says; returns whether it follows what the device had.
    fn take_delivered(&mut self, first: u64, last: u64) -> bool {
        let follows = self.mode != Mode::Waiting && self.advance(first, last);
        if !self.is_greeted {
            // What it was listed is published now, and it is told that it has everything.
            self.fall_behind();
        }
        follows
    }

    fn releasable(&mut self) -> Option<Acknowledgement> {
        let next = self.held.front()?;
        if next.receipt.position > self.sent {
            return None;
        }
        let next = self.held.pop_front();
        if self.held.is_empty() {
            // Else an idle session keeps room for four.
            self.held = VecDeque::new();
        }
        next
    }
}

impl Session {
    pub(super) fn deliver_one(&mut self, delivery: Delivery) -> Result<(), Closing> {
        match delivery {
            Delivery::Items { channel, first, last, frame } => {
                let open = self.channels.get_mut(&channel);
                // Whoever reads the log meets these items there.
                if open.is_some_and(|open| open.take_delivered(first, last)) {
                    self.output.push(frame);
                }
                self.release(channel);
                Ok(())
            }
            Delivery::Received { channel, alone, acknowledgement } => {
                self.settle(acknowledgement.credit_bytes);
                if let Some(open) = self.channels.get_mut(&channel) {
                    if let Some((first, last)) = alone.filter(|_| open.mode == Mode::Live) {
                        open.take_delivered(first, last);
                    }
                    open.held.push_back(acknowledgement);
                }
                self.release(channel);
                Ok(())
            }
            Delivery::Frame(frame) => {
                self.output.push(frame);
                Ok(())
            }
            Delivery::Ended { channel, why } => self.end(channel, why),
            Delivery::Reviewed { channel } => self.review(channel),
            Delivery::Seeded { channel } => self.after_seed(channel),
            Delivery::Reset { channel, statement } => self.after_reset(channel, &statement),
        }
    }

    fn release(&mut self, row: Row) {
        while let Some(next) = self.channels.get_mut(&row).and_then(|channel| channel.releasable()) {
            let receipt = Signed::sign(next.receipt, self.relay.key());
            self.send(Received {
                channel: row,
                first_batch: next.first_batch,
                last_batch: next.last_batch,
                positions: next.positions,
                receipt: receipt.encode().into(),
            });
        }
    }

    /// Tells whether [`Session::read_on`] has something to do.
    #[must_use]
    pub fn wants_to_read(&self) -> bool {
        self.channels.values().any(|channel| channel.mode == Mode::Reading)
    }

    /// Tells whether that may take milliseconds.
    #[must_use]
    pub fn reads_much(&self) -> bool {
        let behind = self.channels.values().find(|channel| channel.mode == Mode::Reading);
        behind.is_some_and(|channel| channel.workspace.published().length().saturating_sub(channel.sent) > FEW_ITEMS)
    }

    /// Reads the next items of one workspace that is behind, or lets it go live.
    ///
    /// # Errors
    /// [`Closing`] if the log can not be read.
    pub fn read_on(&mut self) -> Result<(), Closing> {
        self.review_due()?;
        let behind = self.channels.iter().find(|(_, channel)| channel.mode == Mode::Reading);
        let Some((row, channel)) = behind.map(|(row, channel)| (*row, channel)) else {
            return Ok(());
        };
        let (workspace, sent) = (Arc::clone(&channel.workspace), channel.sent);
        let mut published = workspace.published();
        let end = published.length();
        if let Some(mode) = has_to_wait(&mut published, self.outbox.id(), sent) {
            drop(published);
            self.set_mode(row, mode);
            return Ok(());
        }
        if published.go_live(self.outbox.id(), sent) {
            let receipt = published.receipt(self.relay.now_ms(), [0; 32]);
            drop(published);
            return self.caught_up(&workspace, receipt);
        }
        drop(published);
        let (last, items) = self.read_run(row, (sent + 1, end))?;
        if items.is_empty() {
            tracing::error!(position = sent + 1, "the log lacks an item below its head");
            return Err(CloseCode::Unavailable.into());
        }
        if items.iter().any(Vec::is_empty) {
            // They went while it was reading: it comes back, and compares.
            return Err(CloseCode::Going.into());
        }
        self.output.push(items_frame(row, sent + 1, items));
        if let Some(channel) = self.channels.get_mut(&row) {
            channel.advance(sent + 1, last);
        }
        self.release(row);
        Ok(())
    }

    fn set_mode(&mut self, row: Row, mode: Mode) {
        if let Some(channel) = self.channels.get_mut(&row) {
            channel.mode = mode;
        }
    }

    /// Reads what is sent next of a range of positions; returns the last position that it covers too.
    fn read_run(&self, row: Row, positions: (u64, u64)) -> Result<(u64, Vec<Vec<u8>>), Closing> {
        let (log, (first, end)) = (self.relay.log(), positions);
        // A receipt comes behind the items below it, and before those above.
        let receipt = self.channels.get(&row).and_then(|channel| channel.held.front());
        let positions = (first, receipt.map_or(end, |next| next.receipt.position.clamp(first, end)));
        if let Some(filter) = self.channels.get(&row).and_then(|channel| channel.filter.as_ref()) {
            let wants = |document: Option<&DocumentTag>| filter.wants(document);
            let run = log.items_wanted(row, positions, &wants, ITEMS_BYTES_TARGET)?;
            return Ok(with_gaps(first, run));
        }
        let items = log.items(row, positions, ITEMS_BYTES_TARGET)?;
        Ok((first + items.len() as u64 - 1, items))
    }

    /// Says that the device has everything, and what the others' devices said of themselves.
    fn caught_up(&mut self, workspace: &Workspace, receipt: Receipt) -> Result<(), Closing> {
        let row = workspace.row();
        let is_told = match self.channels.get_mut(&row) {
            Some(channel) => {
                channel.mode = Mode::Live;
                // Who asks for some documents reads the log after each commit.
                std::mem::replace(&mut channel.is_greeted, true) && channel.filter.is_some()
            }
            None => false,
        };
        self.release(row);
        if is_told {
            return Ok(());
        }
        let receipt = Signed::sign(receipt, self.relay.key()).encode().into();
        self.send(Head { channel: row, receipt });
        self.send_statuses(workspace)
    }

    fn send_statuses(&mut self, workspace: &Workspace) -> Result<(), Closing> {
        let (row, device) = (workspace.row(), self.device()?);
        for status in self.relay.log().statuses(row, &device)? {
            self.send(Status { channel: row, row: status.into() });
        }
        Ok(())
    }

    pub(super) fn fetch(&mut self, fetch: &Fetch) -> Result<(), Closing> {
        self.proven()?;
        let Some(channel) = self.open_channel(fetch.channel)? else {
            return Ok(());
        };
        let workspace = Arc::clone(&channel.workspace);
        let (log, row) = (self.relay.log(), channel.workspace.row());
        let (from, to) = (fetch.from_seq.max(1), fetch.to_seq);
        let below = log.chain_run(row, &fetch.chain, (from - 1, from - 1), ITEMS_BYTES_TARGET)?;
        let run = log.chain_run(row, &fetch.chain, (from, to), ITEMS_BYTES_TARGET)?;
        let prev = below.first().map(|item| item.hash);
        // Behind a gap a snapshot stands for what would come first.
        let run: Vec<_> = (from..).zip(run).take_while(|(seq, item)| *seq == item.seq).map(|(_, item)| item).collect();
        let entries = expand_run(log, row, prev, &run)?;
        // Asked after the log was read: a right that holds now held for all that was in it.
        if !self.holds(row)? || !self.admit(&workspace)? {
            return Ok(());
        }
        if run.first().is_none_or(|item| item.bytes.is_empty())
            && let Some(floor) = self.relay.log().floor(row, &fetch.chain)?.filter(|floor| from < floor.seq)
        {
            let Floor { snapshot, from_seq, to_seq, .. } = floor;
            self.send(Pruned { channel: fetch.channel, chain: fetch.chain, snapshot, from_seq, to_seq });
            return Ok(());
        }
        self.send(Fetched {
            channel: fetch.channel,
            chain: fetch.chain,
            entries: entries.iter().map(|entry| entry.encode().into()).collect(),
        });
        Ok(())
    }

    pub(super) fn status(&mut self, status: &Status) -> Result<(), Closing> {
        self.proven()?;
        let Some(channel) = self.open_channel(status.channel)? else {
            return Ok(());
        };
        let workspace = Arc::clone(&channel.workspace);
        if !self.holds(status.channel)? {
            return Ok(());
        }
        let proven = self.proven()?;
        let row = StatusRow::decode(&status.row).map_err(|_| Closing::from(CloseCode::Malformed))?;
        let genuine = row.workspace == workspace.id().tag()
            && row.device == proven.device
            && row.verify(&proven.keys.sign).is_ok();
        if !genuine {
            return Err(CloseCode::Misbehaved.into());
        }
        let frame = Bytes::from(Frame::from(status.clone()).encode());
        let published = workspace.published();
        for (session, reader) in &published.readers {
            if reader.live && *session != self.outbox.id() {
                reader.outbox.push_latest(frame.clone());
            }
        }
        drop(published);
        let (now_ms, bytes) = (self.relay.steady_ms(), status.row.to_vec());
        let channel = self.channels.get_mut(&status.channel);
        if let Some(bytes) = channel.and_then(|channel| channel.told.take(row.nth, bytes, now_ms)) {
            let (device, nth) = (row.device, row.nth);
            self.relay.queue().push(Job::Status { workspace, device, nth, bytes });
        }
        Ok(())
    }

    pub(super) fn shut(&mut self, row: Row) -> Result<(), Closing> {
        self.proven()?;
        if let Some(mut channel) = self.channels.remove(&row) {
            self.leave(&mut channel);
        }
        Ok(())
    }

    /// Reads a workspace no longer; a status row that still waits is stored.
    pub(super) fn leave(&self, channel: &mut Channel) {
        let workspace = &channel.workspace;
        workspace.published().readers.remove(&self.outbox.id());
        if let (Ok(device), Some((nth, bytes))) = (self.device(), channel.told.waiting.take()) {
            let workspace = Arc::clone(workspace);
            self.relay.queue().push(Job::Status { workspace, device, nth, bytes });
        }
    }
}

/// Returns how a session goes on that can neither read nor be told that it has everything.
fn has_to_wait(published: &mut Published, session: SessionId, sent: u64) -> Option<Mode> {
    if !published.readers.contains_key(&session) {
        // Its right has ended; the outbox says why.
        return Some(Mode::Waiting);
    }
    // Or it was listed what is committed and not yet published: with that it comes back.
    let is_ahead = sent > published.length() && published.go_live(session, sent);
    is_ahead.then_some(Mode::Live)
}
