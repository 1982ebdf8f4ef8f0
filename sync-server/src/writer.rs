//! Group commit: everything that waits, of all sessions and workspaces, in one transaction.
//!
//! Law: judge → queue → commit → publish. Nothing is acknowledged or fanned out before the commit that
//! holds it; if a commit fails, none of its workspaces says anything more and their sessions end.
//!
//! Invariant: one caller drains the queue, in which no workspace waits for another's flood ([`JobQueue`]).

mod group;
mod plan;
mod queue;
mod share;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use tombolo_protocol::ids::{DeviceId, LogId};
use tombolo_protocol::receipt::Receipt;

use crate::fanout::Outbox;
use crate::log::{Backlog, SweptWrite, Write};
use crate::relay::Relay;
use crate::workspace::{Verdicts, Workspace};
use plan::Plan;
pub use queue::{BYTES_PER_COMMIT_MAX, JOBS_PER_COMMIT_MAX, JobQueue, WAITING_BYTES_MAX};
pub use share::{SHARE_BYTES_MAX, SHARE_ITEMS_MAX};

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
    /// What was found of a workspace's snapshots, and what goes because of it.
    Swept {
        /// Which workspace.
        workspace: Arc<Workspace>,
        /// What is to be written.
        swept: SweptWrite,
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

/// Writes until the queue is closed; the body of the writer thread.
pub fn run(relay: &Relay) {
    let (much, wait_for_much) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || wait_for_much.iter().for_each(|()| move_backlog(relay)));
        while let Some(jobs) = relay.queue().wait() {
            let begun = Instant::now();
            commit(relay, jobs);
            relay.queue().note(begun.elapsed());
            tidy(relay, &much);
        }
        drop(much);
    });
}

/// Has what was committed moved to where it stays: much of it by another thread, and what came meanwhile here, between
/// two commits. Left to the database, a commit in a hundred took ten times as long as the others, for all of it.
fn tidy(relay: &Relay, much: &SyncSender<()>) {
    match relay.log().backlog() {
        Ok(Backlog::Little) => {}
        Ok(Backlog::Rest) => move_backlog(relay),
        Ok(Backlog::Much) => match much.try_send(()) {
            // It is at work, and looks again.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => move_backlog(relay),
        },
        Err(error) => tracing::warn!(%error, "it can not be told what is still to be moved in the log"),
    }
}

fn move_backlog(relay: &Relay) {
    if let Err(error) = relay.log().move_backlog() {
        tracing::warn!(%error, "what is committed could not be moved to where it stays; it is as durable as before");
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
