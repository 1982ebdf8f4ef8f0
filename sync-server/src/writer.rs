//! Group commit: everything that waits, of all sessions and workspaces, in one transaction.
//!
//! Law: judge → queue → commit → publish. Nothing is acknowledged or fanned out before the commit that
//! holds it; if a commit fails, none of its workspaces says anything more and their sessions end.
//!
//! Invariant: one caller drains the queue. What waits is bounded by the sessions' credits and, all together, by
//! [`WAITING_BYTES_MAX`]: above it appends are turned away.

mod group;
mod plan;

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tombolo_protocol::ids::{DeviceId, LogId};
use tombolo_protocol::receipt::Receipt;

use crate::fanout::Outbox;
use crate::log::Write;
use crate::relay::Relay;
use crate::workspace::{Verdicts, Workspace};
use plan::Plan;

/// Jobs in one transaction: bounds how long the first of them waits for the last.
pub const JOBS_PER_COMMIT_MAX: usize = 8192;
/// Bytes of items in one transaction, for the same reason and for the memory of a commit.
pub const BYTES_PER_COMMIT_MAX: usize = 32 << 20;

/// Bytes of items that may wait for the writer, of all sessions together: each has a credit of its own, but the credits
/// of thousands are more than a machine's memory. A disk of 20 MB a second writes as much in six seconds.
pub const WAITING_BYTES_MAX: usize = 128 << 20;

/// Something to be written.
pub enum Job {
    /// A workspace begins; the first job of its workspace.
    Create(Arc<Workspace>),
    /// Judged items.
    Append(AppendJob),
    /// A history can not be continued.
    Reset(ResetJob),
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

/// A receipt of this relay that it can not match.
pub struct ResetJob {
    /// Which workspace.
    pub workspace: Arc<Workspace>,
    /// Who showed it.
    pub outbox: Arc<Outbox>,
    /// The receipt.
    pub receipt: Box<Receipt>,
    /// A fresh name, should the present history be the one that was lost.
    pub new_log: LogId,
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
    /// Of the items among them.
    bytes: usize,
    closed: bool,
}

impl JobQueue {
    /// Adds a job.
    pub fn push(&self, job: Job) {
        let mut inner = self.lock();
        inner.bytes += bytes_of(&job);
        inner.jobs.push_back(job);
        drop(inner);
        self.arrived.notify_one();
    }

    /// Tells whether so much waits that no more should come.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().bytes >= WAITING_BYTES_MAX
    }

    /// Lets [`JobQueue::wait`] end once all is written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes what waits, up to the bounds of one transaction.
    pub fn take(&self) -> Vec<Job> {
        self.lock().take_some()
    }

    /// Waits for jobs and takes them; `None` once the queue is closed and empty.
    pub fn wait(&self) -> Option<Vec<Job>> {
        let mut inner = self.lock();
        while inner.jobs.is_empty() {
            if inner.closed {
                return None;
            }
            inner = self.arrived.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        Some(inner.take_some())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take_some(&mut self) -> Vec<Job> {
        let (mut count, mut bytes) = (0, 0);
        for job in self.jobs.iter().take(JOBS_PER_COMMIT_MAX) {
            bytes += bytes_of(job);
            count += 1;
            if bytes > BYTES_PER_COMMIT_MAX {
                break;
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.jobs.drain(..count).collect()
    }
}

fn bytes_of(job: &Job) -> usize {
    match job {
        Job::Append(append) => append.credit_bytes,
        _ => 0,
    }
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
    let bytes = writes.iter().map(Write::bytes).sum();
    let started = Instant::now();
    match relay.log().commit(&writes) {
        Ok(()) => {
            relay.metrics().committed(started.elapsed());
            relay.note_commit(true, bytes);
            plan.take_back(writes);
            plan.publish();
        }
        Err(error) => {
            relay.metrics().commit_failed();
            tracing::error!(%error, "a commit failed; nothing of it is acknowledged");
            relay.note_commit(false, bytes);
            plan.lose();
        }
    }
}
