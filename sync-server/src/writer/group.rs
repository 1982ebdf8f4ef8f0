//! What one transaction does to one workspace, and who is told of it.
//!
//! Invariant: receipts and items leave after the commit, each sender's receipt behind the items.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::RightEnded;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{ChainId, DeviceId, LogId};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::log::Frontier;
use tombolo_protocol::receipt::{LogReset, Signed, acknowledged};

use super::AppendJob;
use crate::fanout::{Acknowledgement, Delivery, Outbox, SessionId, items_frames};
use crate::log::{AppendWrite, ChainRow, NewItem, Row, SweptWrite, TakenFloor, Write};
use crate::relay::Relay;
use crate::workspace::{Ended, Published, Reader, Workspace};

/// One workspace in one transaction.
pub(super) struct Group {
    workspace: Arc<Workspace>,
    log: LogId,
    /// The end of the log as it will be.
    frontier: Frontier,
    /// Position of the first new item.
    first: u64,
    old_log_ended: bool,
    resets: Vec<(Arc<Outbox>, Signed<LogReset>)>,
    items: Vec<NewItem>,
    chains: BTreeMap<ChainId, ChainRow>,
    floors: Vec<TakenFloor>,
    floors_taken: u64,
    members: Vec<[u8; 32]>,
    ended: BTreeMap<DeviceId, Ended>,
    members_changed: bool,
    senders: BTreeMap<SessionId, Sender>,
    seeders: Vec<Arc<Outbox>>,
    /// Bytes that go, and the last position that they go of.
    freed_bytes: u64,
    pruned: u64,
}

/// A session whose appends are in the transaction.
struct Sender {
    outbox: Arc<Outbox>,
    batches: (u32, u32),
    placed: Vec<(ItemHash, u64)>,
    items: usize,
    credit_bytes: usize,
}

impl Group {
    pub(super) fn new(workspace: &Arc<Workspace>) -> Self {
        let published = workspace.published();
        let (log, frontier) = (published.log, published.frontier.clone());
        drop(published);
        Self {
            workspace: Arc::clone(workspace),
            log,
            first: frontier.length() + 1,
            frontier,
            old_log_ended: false,
            resets: Vec::new(),
            items: Vec::new(),
            chains: BTreeMap::new(),
            floors: Vec::new(),
            floors_taken: 0,
            members: Vec::new(),
            ended: BTreeMap::new(),
            members_changed: false,
            senders: BTreeMap::new(),
            seeders: Vec::new(),
            freed_bytes: 0,
            pruned: 0,
        }
    }

    /// Takes judged items in; returns whether they stand where the log ends.
    pub(super) fn append(&mut self, job: AppendJob) -> bool {
        let first = job.verdicts.items.first().map_or(u64::MAX, |item| item.position);
        self.items.extend(job.verdicts.items);
        self.chains.extend(job.verdicts.chains);
        self.floors_taken += job.verdicts.floors.len() as u64;
        self.floors.extend(job.verdicts.floors);
        for member in job.verdicts.members {
            self.ended.retain(|device, _| *device.as_bytes() != member);
            self.members.push(member);
        }
        for ended in job.verdicts.ended {
            self.members.retain(|member| member != ended.device.as_bytes());
            self.ended.insert(ended.device, ended);
        }
        self.members_changed |= job.verdicts.members_changed;
        if let Some(batch) = job.batch {
            let sender = self.senders.entry(job.outbox.id()).or_insert_with(|| Sender::new(job.outbox, batch));
            sender.batches.1 = batch;
            // What is placed on its word without being told so it reads as the others do.
            sender.items += count_from(first, job.verdicts.placed.iter().map(|(_, position)| *position));
            sender.placed.extend(job.verdicts.placed);
            sender.credit_bytes += job.credit_bytes;
        } else {
            self.seeders.push(job.outbox);
        }
        let end = self.first + self.items.len() as u64;
        let last = self.items.last();
        last.is_none_or(|item| item.position + 1 == end)
    }

    /// Takes in what goes.
    pub(super) fn sweep(&mut self, swept: &SweptWrite) {
        self.freed_bytes += swept.freed_bytes;
        self.pruned = self.pruned.max(swept.pruned);
    }

    pub(super) fn log(&self) -> LogId {
        self.log
    }

    pub(super) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Returns length and head of what is committed, under the present history.
    pub(super) fn head(&self) -> (u64, Digest) {
        let origin = self.workspace.published().origin(&self.log);
        (self.frontier.length(), self.frontier.head(&origin))
    }

    /// Goes on under another name.
    pub(super) fn begin_history(&mut self, log: LogId) {
        self.log = log;
        self.old_log_ended = true;
    }

    /// Returns what was signed of a history in this transaction.
    pub(super) fn reset_of(&self, old_log: &LogId) -> Option<Signed<LogReset>> {
        let mut statements = self.resets.iter().map(|(_, statement)| statement);
        let of_log = |signed: &&Signed<LogReset>| signed.verify().is_ok_and(|statement| statement.old_log == *old_log);
        statements.find(of_log).cloned()
    }

    /// Lets a session know of a lost history, once that is committed.
    pub(super) fn admit(&mut self, outbox: Arc<Outbox>, statement: Signed<LogReset>) {
        self.resets.push((outbox, statement));
    }

    /// Moves the items into a write, if there is anything to write.
    pub(super) fn take_write(&mut self) -> Option<AppendWrite> {
        if self.items.is_empty() && self.members.is_empty() {
            return None;
        }
        for item in &self.items {
            self.frontier.append(&item.hash);
        }
        if !self.floors.is_empty() {
            self.pruned = self.pruned.max(self.frontier.length());
        }
        Some(AppendWrite {
            row: self.workspace.row(),
            items: std::mem::take(&mut self.items),
            chains: std::mem::take(&mut self.chains).into_values().collect(),
            floors: std::mem::take(&mut self.floors),
            members: std::mem::take(&mut self.members),
            frontier: self.frontier.clone(),
            head: self.head().1,
        })
    }

    /// Returns the write that notes whose rights ended, if anybody's did.
    pub(super) fn ended_write(&self) -> Option<Write> {
        let revoked = |ended: &Ended| (ended.device, ended.why == RightEnded::Revoked);
        let devices: Vec<_> = self.ended.values().map(revoked).collect();
        (!devices.is_empty()).then(|| Write::Ended { row: self.workspace.row(), devices })
    }

    /// Takes the items back from the write.
    pub(super) fn take_back(&mut self, items: Vec<NewItem>) {
        self.items = items;
    }

    pub(super) fn publish(self, relay: &Relay) {
        let channel = self.workspace.row();
        relay.metrics().items_appended(&self.items);
        relay.metrics().freed(self.freed_bytes);
        relay.metrics().floors_taken(self.floors_taken);
        let bytes = self.items.iter().map(|item| item.bytes.len() as u64);
        let bytes = bytes.sum::<u64>();
        let alone = self.written_by_one();
        let mut published = self.workspace.published();
        published.log = self.log;
        published.frontier = self.frontier;
        published.bytes = (published.bytes + bytes).saturating_sub(self.freed_bytes);
        published.pruned = published.pruned.max(self.pruned);
        let cut = cut_off(channel, &mut published, &self.ended, &self.items);
        fan_out(relay, channel, &mut published, self.items, alone);
        for (session, sender) in self.senders {
            let alone = (alone == Some(session)).then_some((self.first, published.length()));
            sender.acknowledge(channel, &published, alone, relay.now_ms());
        }
        for outbox in self.seeders {
            outbox.push(Delivery::Seeded { channel });
        }
        for (outbox, why) in cut {
            relay.metrics().cut_off();
            outbox.push(Delivery::Ended { channel, why });
        }
        if self.members_changed {
            published.readers.values().for_each(|reader| reader.outbox.push(Delivery::Reviewed { channel }));
        }
        if self.old_log_ended {
            dismiss_others(&published, &self.resets);
        }
        for (outbox, statement) in self.resets {
            outbox.push(Delivery::Reset { channel, statement });
        }
    }

    /// Returns the session that wrote every item of the transaction, if one did.
    fn written_by_one(&self) -> Option<SessionId> {
        let count = self.items.len();
        let mut senders = self.senders.iter();
        let (session, _) = senders.find(|(_, sender)| count > 0 && sender.items == count)?;
        Some(*session)
    }

    /// Gives the workspace up: nothing of it was written.
    pub(super) fn lose(self, relay: &Relay) {
        relay.lose(&self.workspace);
        let senders = self.senders.into_values().map(|sender| sender.outbox);
        let resets = self.resets.into_iter().map(|(outbox, _)| outbox);
        for outbox in senders.chain(resets).chain(self.seeders) {
            outbox.close(CloseCode::Unavailable);
        }
    }
}

impl Sender {
    fn new(outbox: Arc<Outbox>, batch: u32) -> Self {
        Self { outbox, batches: (batch, batch), placed: Vec::new(), items: 0, credit_bytes: 0 }
    }

    fn acknowledge(self, channel: Row, published: &Published, alone: Option<(u64, u64)>, now_ms: i64) {
        let hashes: Vec<ItemHash> = self.placed.iter().map(|(hash, _)| *hash).collect();
        let acknowledgement = Acknowledgement {
            first_batch: self.batches.0,
            last_batch: self.batches.1,
            positions: runs(self.placed.iter().map(|(_, position)| *position)),
            receipt: published.receipt(now_ms, acknowledged(&hashes)),
            credit_bytes: self.credit_bytes,
        };
        self.outbox.push(Delivery::Received { channel, alone, acknowledgement });
    }
}

/// Lets those whose rights ended read no further than the record that ended them; returns whom to tell.
fn cut_off(
    channel: Row,
    published: &mut Published,
    ended: &BTreeMap<DeviceId, Ended>,
    items: &[NewItem],
) -> Vec<(Arc<Outbox>, RightEnded)> {
    let mut cut = Vec::new();
    published.readers.retain(|_, reader| {
        let Some(ended) = ended.get(&reader.device) else {
            return true;
        };
        // Who reads some documents is told why it ends, and gets no items of others.
        if reader.live && !reader.filters {
            let last = items.iter().filter(|item| item.position <= ended.position).cloned().collect();
            for (positions, frame) in items_frames(channel, last) {
                // One that is slow has to do without.
                reader.live &= reader.outbox.push_items(channel, positions, &frame);
            }
        }
        cut.push((Arc::clone(&reader.outbox), ended.why));
        false
    });
    cut
}

/// Hands new items to all who read along, but not to one who wrote them all.
fn fan_out(relay: &Relay, channel: Row, published: &mut Published, items: Vec<NewItem>, alone: Option<SessionId>) {
    let reads = |session: &SessionId| Some(*session) != alone;
    let live = published.readers.iter().filter(|(session, reader)| reader.live && reads(session));
    let (filtering, others): (Vec<&Reader>, Vec<&Reader>) =
        live.map(|(_, reader)| reader.as_ref()).partition(|reader| reader.filters);
    filtering.iter().for_each(|reader| reader.outbox.fall_behind(channel));
    if others.is_empty() {
        return;
    }
    let frames: Vec<((u64, u64), Bytes)> = items_frames(channel, items);
    for (session, reader) in &mut published.readers {
        if !reader.live || reader.filters || !reads(session) {
            continue;
        }
        for (positions, frame) in &frames {
            relay.metrics().fanned_out(frame.len());
            if !reader.outbox.push_items(channel, *positions, frame) {
                reader.live = false;
                break;
            }
        }
    }
}

/// Ends the sessions that read a history which is no more; they dial again and are told why.
fn dismiss_others(published: &Published, resets: &[(Arc<Outbox>, Signed<LogReset>)]) {
    for (session, reader) in &published.readers {
        if !resets.iter().any(|(outbox, _)| outbox.id() == *session) {
            reader.outbox.close(CloseCode::Going);
        }
    }
}

/// Counts the positions from one on, each once.
fn count_from(mut next: u64, positions: impl Iterator<Item = u64>) -> usize {
    let is_new = |position: &u64| {
        let is_new = *position >= next;
        next = if is_new { *position + 1 } else { next };
        is_new
    };
    positions.filter(is_new).count()
}

/// Folds consecutive positions into runs of (first, count).
fn runs(positions: impl Iterator<Item = u64>) -> Vec<(u64, u32)> {
    let mut runs: Vec<(u64, u32)> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some((first, count)) if *first + u64::from(*count) == position => *count += 1,
            _ => runs.push((position, 1)),
        }
    }
    runs
}
