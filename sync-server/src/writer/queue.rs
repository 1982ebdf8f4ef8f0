//! What waits to be written, and how much of whose goes into the next transaction.
//!
//! Invariant: the jobs of a workspace are taken in the order in which they came; workspaces take turns, each with a
//! share of a transaction, so that none waits for another's flood. What waits is bounded by the sessions' credits and,
//! all together, by [`WAITING_BYTES_MAX`]: above it appends are turned away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Job;
use super::share::Share;
use crate::log::Row;

/// Jobs in one transaction: bounds how long the first of them waits for the last.
pub const JOBS_PER_COMMIT_MAX: usize = 8192;
/// Bytes of items in one transaction, for the same reason and for the memory of a commit.
pub const BYTES_PER_COMMIT_MAX: usize = 32 << 20;
/// Bytes of items that may wait for the writer, of all sessions together: each has a credit of its own, but the credits
/// of thousands are more than a machine's memory. A disk of 20 MB a second writes as much in six seconds.
pub const WAITING_BYTES_MAX: usize = 128 << 20;

/// What waits to be written.
#[derive(Default)]
pub struct JobQueue {
    inner: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// By workspace; under none is what belongs to the relay alone. Nobody is here who has nothing.
    jobs: BTreeMap<Option<Row>, VecDeque<Job>>,
    /// The same, each once: who has waited longest is first.
    turns: VecDeque<Option<Row>>,
    /// Of the items among them.
    bytes: usize,
    /// Of one workspace in a transaction.
    share: Share,
    closed: bool,
}

impl JobQueue {
    /// Adds a job.
    pub fn push(&self, job: Job) {
        let mut inner = self.lock();
        inner.bytes += bytes_of(&job);
        let whose = whose(&job);
        let jobs = inner.jobs.entry(whose).or_default();
        jobs.push_back(job);
        let first = jobs.len() == 1;
        if first {
            inner.turns.push_back(whose);
        }
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

    /// Takes what waits, up to the bounds of one transaction and of each workspace's share.
    pub fn take(&self) -> Vec<Job> {
        self.lock().take_some()
    }

    /// Notes how long it took to write and to publish what was taken last.
    pub fn note(&self, took: Duration) {
        self.lock().share.note(took);
    }

    /// Waits for jobs and takes them; `None` once the queue is closed and empty.
    pub fn wait(&self) -> Option<Vec<Job>> {
        let mut inner = self.lock();
        while inner.turns.is_empty() {
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
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let bounds = self.share.begin(self.turns.len());
        // Each has one turn.
        for _ in 0..self.turns.len() {
            if taken.len() >= JOBS_PER_COMMIT_MAX || bytes > BYTES_PER_COMMIT_MAX {
                break;
            }
            let Some(whose) = self.turns.pop_front() else { break };
            let Some(jobs) = self.jobs.get_mut(&whose) else { continue };
            bytes += take_share(jobs, bounds, &mut taken);
            if jobs.is_empty() {
                self.jobs.remove(&whose);
            } else {
                self.turns.push_back(whose);
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.share.end(self.turns.len());
        taken
    }
}

/// Takes jobs until a share is full, one at least; returns their bytes.
fn take_share(jobs: &mut VecDeque<Job>, (items_max, bytes_max): (usize, usize), taken: &mut Vec<Job>) -> usize {
    let (mut items, mut bytes) = (0, 0);
    while items < items_max && bytes < bytes_max && taken.len() < JOBS_PER_COMMIT_MAX {
        let Some(job) = jobs.pop_front() else { break };
        items += items_of(&job);
        bytes += bytes_of(&job);
        taken.push(job);
    }
    bytes
}

fn whose(job: &Job) -> Option<Row> {
    match job {
        Job::Create(workspace) | Job::Status { workspace, .. } | Job::Swept { workspace, .. } => Some(workspace.row()),
        Job::Append(append) => Some(append.workspace.row()),
        Job::Reset(reset) => Some(reset.workspace.row()),
        Job::Probe(_) => None,
    }
}

/// A job without items is work as well.
fn items_of(job: &Job) -> usize {
    match job {
        Job::Append(append) => append.verdicts.items.len().max(1),
        _ => 1,
    }
}

fn bytes_of(job: &Job) -> usize {
    match job {
        Job::Append(append) => append.credit_bytes,
        _ => 0,
    }
}
