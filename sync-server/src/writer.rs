//! Group commit: everything that waits, of all sessions and workspaces, in one transaction.
//!
//! Law: judge → queue → commit → publish. Nothing is acknowledged or fanned out before the commit that
//! holds it; if a commit fails, none of its workspaces says anything more and their sessions end.
//!
//! Invariant: one caller drains the queue. What waits is bounded by the sessions' credits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::ids::{ChainId, DeviceId, LogId};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::log::Frontier;
use tombolo_protocol::receipt::{LogReset, Receipt, Signed, acknowledged};

use crate::fanout::{Acknowledgement, Delivery, Outbox, SessionId, items_frames};
use crate::log::{AppendWrite, ChainRow, NewItem, Row, Write};
use crate::relay::Relay;
use crate::workspace::{Published, Verdicts, Workspace};

/// Jobs in one transaction: bounds how long the first of them waits for the last.
pub const JOBS_PER_COMMIT_MAX: usize = 8192;
/// Bytes of items in one transaction, for the same reason and for the memory of a commit.
pub const BYTES_PER_COMMIT_MAX: usize = 32 << 20;

/// Something to be written.
pub enum Job {
    /// A workspace begins; the first job of its workspace.
    Create(Arc<Workspace>),
    /// Judged items.
    Append(AppendJob),
    /// A history can not be continued.
    Reset {
        /// Which workspace.
        workspace: Arc<Workspace>,
        /// Who asked.
        outbox: Arc<Outbox>,
        /// The receipt that can not be matched.
        receipt: Box<Receipt>,
        /// A fresh name, should the present history be the one that was lost.
        new_log: LogId,
    },
    /// A status row.
    Status {
        /// Which workspace.
        workspace: Arc<Workspace>,
        /// Whose row.
        device: DeviceId,
        /// Counts the device's rows.
        nth: u64,
        /// The row.
        bytes: Vec<u8>,
    },
    /// Is a commit possible?
    Probe(SyncSender<bool>),
}

/// The judged items of one append or seed.
pub struct AppendJob {
    /// Which workspace.
    pub workspace: Arc<Workspace>,
    /// Who sent them.
    pub outbox: Arc<Outbox>,
    /// Which append of the session; none for a seed.
    pub batch: Option<u32>,
    /// Bytes of the append, for the session's credit.
    pub credit_bytes: usize,
    /// What was judged.
    pub verdicts: Verdicts,
}

/// What waits to be written.
#[derive(Default)]
pub struct JobQueue {
    inner: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl JobQueue {
    /// Adds a job.
    pub fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.arrived.notify_one();
    }

    /// Lets [`JobQueue::wait`] end once all is written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes what waits, up to the bounds of one transaction.
    pub fn take(&self) -> Vec<Job> {
        take_some(&mut self.lock().jobs)
    }

    /// Waits for jobs and takes them; `None` once the queue is closed and empty.
    pub fn wait(&self) -> Option<Vec<Job>> {
        let mut inner = self.lock();
        while inner.jobs.is_empty() {
            if inner.closed {
                return None;
            }
            inner = self
                .arrived
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some(take_some(&mut inner.jobs))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_some(jobs: &mut VecDeque<Job>) -> Vec<Job> {
    let (mut count, mut bytes) = (0, 0);
    for job in jobs.iter().take(JOBS_PER_COMMIT_MAX) {
        if let Job::Append(append) = job {
            bytes += append.credit_bytes;
        }
        count += 1;
        if bytes > BYTES_PER_COMMIT_MAX {
            break;
        }
    }
    jobs.drain(..count).collect()
}

/// Writes until the queue is closed; the body of the writer thread.
pub fn run(relay: &Relay) {
    while let Some(jobs) = relay.queue().wait() {
        commit(relay, jobs);
    }
}

/// Writes jobs in one transaction, then publishes them, or gives up their workspaces.
pub fn commit(relay: &Relay, jobs: Vec<Job>) {
    let mut plan = Plan::new(relay);
    for job in jobs {
        plan.add(job);
    }
    let writes = plan.writes();
    if writes.is_empty() {
        plan.publish();
        return;
    }
    let started = Instant::now();
    match relay.log().commit(&writes) {
        Ok(()) => {
            relay.metrics().committed(started.elapsed());
            relay.note_commit(false);
            plan.hold(writes);
            plan.publish();
        }
        Err(error) => {
            relay.metrics().commit_failed();
            tracing::error!(%error, "a commit failed; nothing of it is acknowledged");
            relay.note_commit(true);
            plan.lose();
        }
    }
}

/// All that one transaction does.
struct Plan<'a> {
    relay: &'a Relay,
    groups: BTreeMap<Row, Group>,
    writes: Vec<Write>,
    probes: Vec<SyncSender<bool>>,
}

/// What one transaction does to one workspace.
struct Group {
    workspace: Arc<Workspace>,
    published: Snapshot,
    reset: bool,
    resets: Vec<(Arc<Outbox>, Signed<LogReset>)>,
    items: Vec<NewItem>,
    chains: BTreeMap<ChainId, ChainRow>,
    devices: Vec<DeviceId>,
    senders: BTreeMap<SessionId, Sender>,
    seeders: Vec<Arc<Outbox>>,
}

/// The end of a log as it will be after the transaction.
struct Snapshot {
    log: LogId,
    frontier: Frontier,
    first: u64,
}

struct Sender {
    outbox: Arc<Outbox>,
    batches: (u32, u32),
    placed: Vec<(ItemHash, u64)>,
    items: usize,
    credit_bytes: usize,
}

impl<'a> Plan<'a> {
    fn new(relay: &'a Relay) -> Self {
        Self {
            relay,
            groups: BTreeMap::new(),
            writes: Vec::new(),
            probes: Vec::new(),
        }
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Create(workspace) => {
                let (id, log) = (workspace.id(), workspace.published().log);
                let row = workspace.row();
                self.writes.push(Write::Create {
                    row,
                    workspace: id,
                    log,
                });
                self.group(&workspace);
            }
            Job::Append(append) => {
                if let Some(group) = self.group(&append.workspace) {
                    group.append(append);
                }
            }
            Job::Reset {
                workspace,
                outbox,
                receipt,
                new_log,
            } => {
                self.reset(&workspace, outbox, &receipt, new_log);
            }
            Job::Status {
                workspace,
                device,
                nth,
                bytes,
            } => {
                if !workspace.is_lost() {
                    let row = workspace.row();
                    self.writes.push(Write::Status {
                        row,
                        device,
                        nth,
                        bytes,
                    });
                }
            }
            Job::Probe(answer) => {
                self.writes.push(Write::Probe {
                    time_ms: self.relay.now_ms(),
                });
                self.probes.push(answer);
            }
        }
    }

    fn group(&mut self, workspace: &Arc<Workspace>) -> Option<&mut Group> {
        if workspace.is_lost() {
            return None;
        }
        let group = self
            .groups
            .entry(workspace.row())
            .or_insert_with(|| Group::new(workspace));
        Some(group)
    }

    /// Signs that a history was lost, and takes another if it is the present one.
    fn reset(
        &mut self,
        workspace: &Arc<Workspace>,
        outbox: Arc<Outbox>,
        receipt: &Receipt,
        new_log: LogId,
    ) {
        let relay = self.relay;
        let Some(group) = self.group(workspace) else {
            return;
        };
        let known = group.resets.iter().map(|(_, statement)| statement);
        let mut known = known.filter(|signed| {
            signed
                .verify()
                .is_ok_and(|statement| statement.old_log == receipt.log)
        });
        if let Some(statement) = known.next().cloned() {
            group.resets.push((outbox, statement));
            return;
        }
        let stale = receipt.log == group.published.log;
        let kept = if stale {
            group.published.frontier.clone()
        } else {
            Frontier::new()
        };
        if stale {
            group.published.log = new_log;
            group.reset = true;
        }
        let origin = workspace.published().origin(&receipt.log);
        let statement = LogReset {
            relay: relay.id(),
            workspace: workspace.id(),
            old_log: receipt.log,
            new_log: group.published.log,
            position: kept.length(),
            head: kept.head(&origin),
            time_ms: relay.now_ms(),
        };
        let frontier = &group.published.frontier;
        let present = workspace.published().origin(&group.published.log);
        let head = (frontier.length(), frontier.head(&present));
        let signed = Signed::sign(statement, relay.key());
        let write = Write::Reset {
            row: workspace.row(),
            old_log: receipt.log,
            new_log: group.published.log,
            head,
            statement: signed.encode(),
        };
        group.resets.push((outbox, signed));
        self.writes.push(write);
    }

    /// Returns all writes; the items are moved into them.
    fn writes(&mut self) -> Vec<Write> {
        let mut writes = std::mem::take(&mut self.writes);
        for (row, group) in &mut self.groups {
            if group.items.is_empty() && group.devices.is_empty() {
                continue;
            }
            let origin = group.workspace.published().origin(&group.published.log);
            for item in &group.items {
                group.published.frontier.append(&item.hash);
            }
            writes.push(Write::Append(AppendWrite {
                row: *row,
                items: std::mem::take(&mut group.items),
                chains: std::mem::take(&mut group.chains).into_values().collect(),
                devices: std::mem::take(&mut group.devices),
                frontier: group.published.frontier.clone(),
                head: group.published.frontier.head(&origin),
            }));
        }
        writes
    }

    /// Takes the items back from the writes.
    fn hold(&mut self, writes: Vec<Write>) {
        for write in writes {
            if let Write::Append(append) = write
                && let Some(group) = self.groups.get_mut(&append.row)
            {
                group.items = append.items;
            }
        }
    }

    fn publish(self) {
        for probe in self.probes {
            if probe.send(true).is_err() {
                tracing::debug!("nobody waits for the probe any more");
            }
        }
        for group in self.groups.into_values() {
            group.publish(self.relay);
        }
    }

    fn lose(self) {
        for probe in self.probes {
            if probe.send(false).is_err() {
                tracing::debug!("nobody waits for the probe any more");
            }
        }
        for group in self.groups.into_values() {
            group.lose(self.relay);
        }
    }
}

impl Group {
    fn new(workspace: &Arc<Workspace>) -> Self {
        let published = workspace.published();
        let snapshot = Snapshot {
            log: published.log,
            frontier: published.frontier.clone(),
            first: published.length() + 1,
        };
        drop(published);
        Self {
            workspace: Arc::clone(workspace),
            published: snapshot,
            reset: false,
            resets: Vec::new(),
            items: Vec::new(),
            chains: BTreeMap::new(),
            devices: Vec::new(),
            senders: BTreeMap::new(),
            seeders: Vec::new(),
        }
    }

    fn append(&mut self, job: AppendJob) {
        let items = job.verdicts.items.len();
        self.items.extend(job.verdicts.items);
        self.chains.extend(job.verdicts.chains);
        self.devices.extend(job.verdicts.devices);
        let Some(batch) = job.batch else {
            self.seeders.push(job.outbox);
            return;
        };
        let sender = self
            .senders
            .entry(job.outbox.id())
            .or_insert_with(|| Sender {
                outbox: job.outbox,
                batches: (batch, batch),
                placed: Vec::new(),
                items: 0,
                credit_bytes: 0,
            });
        sender.batches.1 = batch;
        sender.placed.extend(job.verdicts.placed);
        sender.items += items;
        sender.credit_bytes += job.credit_bytes;
    }

    fn publish(self, relay: &Relay) {
        let channel = self.workspace.row();
        let (first, count) = (self.published.first, self.items.len());
        let alone = self
            .senders
            .values()
            .find(|sender| sender.items == count && count > 0);
        let alone = alone.map(|sender| sender.outbox.id());
        relay.metrics().items_appended(&self.items);
        let mut published = self.workspace.published();
        published.log = self.published.log;
        published.frontier = self.published.frontier;
        published.bytes += self
            .items
            .iter()
            .map(|item| item.bytes.len() as u64)
            .sum::<u64>();
        let last = published.length();
        fan_out(relay, channel, &mut published, self.items, alone);
        for (session, sender) in self.senders {
            let alone = (alone == Some(session)).then_some((first, last));
            sender.acknowledge(channel, &published, alone, relay.now_ms());
        }
        for outbox in self.seeders {
            outbox.push(Delivery::Seeded { channel });
        }
        if self.reset {
            let asked: Vec<SessionId> = self.resets.iter().map(|(outbox, _)| outbox.id()).collect();
            for (session, reader) in &published.readers {
                if !asked.contains(session) {
                    reader.outbox.close(CloseCode::Going);
                }
            }
        }
        for (outbox, statement) in self.resets {
            outbox.push(Delivery::Reset { channel, statement });
        }
    }

    fn lose(self, relay: &Relay) {
        self.workspace.lose(CloseCode::Unavailable.into());
        relay.forget(&self.workspace);
        let senders = self.senders.into_values().map(|sender| sender.outbox);
        let resets = self.resets.into_iter().map(|(outbox, _)| outbox);
        for outbox in senders.chain(resets).chain(self.seeders) {
            outbox.close(CloseCode::Unavailable);
        }
    }
}

impl Sender {
    fn acknowledge(
        self,
        channel: Row,
        published: &Published,
        alone: Option<(u64, u64)>,
        now_ms: i64,
    ) {
        let hashes: Vec<ItemHash> = self.placed.iter().map(|(hash, _)| *hash).collect();
        let acknowledgement = Acknowledgement {
            first_batch: self.batches.0,
            last_batch: self.batches.1,
            positions: runs(self.placed.iter().map(|(_, position)| *position)),
            receipt: published.receipt(now_ms, acknowledged(&hashes)),
            credit_bytes: self.credit_bytes,
        };
        self.outbox.push(Delivery::Received {
            channel,
            alone,
            acknowledgement,
        });
    }
}

/// Hands new items to all who read along, but not to one who wrote them all.
fn fan_out(
    relay: &Relay,
    channel: Row,
    published: &mut Published,
    items: Vec<NewItem>,
    alone: Option<SessionId>,
) {
    let reads = |session: &SessionId| Some(*session) != alone;
    if !published
        .readers
        .iter()
        .any(|(session, reader)| reader.live && reads(session))
    {
        return;
    }
    let frames: Vec<((u64, u64), Bytes)> = items_frames(channel, items);
    for (session, reader) in &mut published.readers {
        if !reader.live || !reads(session) {
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
