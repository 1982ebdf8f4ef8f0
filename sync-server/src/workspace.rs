//! One workspace in memory: what its next items are judged against, and who reads along.
//!
//! Two locks, never held across a wait: `judge` (members, chain ends with the tail that is not yet
//! committed) is taken by sessions, `published` (the committed head, the readers) by the writer; who holds the first may
//! take the second.
//!
//! Invariant: jobs are queued while `judge` is held, so the writer sees a workspace's positions in
//! order. Once a commit failed the workspace is `lost`: nothing more of it is written, its sessions
//! end, and it is loaded anew.

mod attests;
mod chains;
mod judge;
mod membership;
mod right;
mod sweep;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{DeviceId, LogId, RelayId, WorkspaceId};
use tombolo_protocol::log::{Frontier, LogOrigin};
use tombolo_protocol::receipt::Receipt;

pub use judge::verify;
pub use judge::{Candidate, Judge, Proof, Room, Showing};
pub use membership::SeedError;
pub use right::{Caller, LEVEL_DEVICE_KEY, NoRight};
pub use verdicts::{Ended, Refusal, Verdicts};

use crate::fanout::{Closing, Outbox, SessionId};
use crate::log::{Log, LogError, Row, WorkspaceRow};

/// One workspace that is in memory.
pub struct Workspace {
    row: Row,
    id: WorkspaceId,
    lost: AtomicBool,
    judge: Mutex<Judge>,
    published: Mutex<Published>,
}

impl Workspace {
    /// Loads a workspace from the log.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read or a record in it is damaged.
    pub fn load(log: &dyn Log, relay: RelayId, row: WorkspaceRow) -> Result<Arc<Self>, LogError> {
        let judge = Judge::load(log, &row, false)?;
        Ok(Arc::new(Self {
            row: row.row,
            id: row.workspace,
            lost: AtomicBool::new(false),
            judge: Mutex::new(judge),
            published: Mutex::new(Published::new(relay, &row)),
        }))
    }

    /// Starts a workspace that is not in the log yet.
    #[must_use]
    pub fn begin(relay: RelayId, row: Row, workspace: WorkspaceId, log: LogId) -> Arc<Self> {
        let row = WorkspaceRow { row, workspace, log, frontier: Frontier::new(), bytes: 0, pruned: 0 };
        Arc::new(Self {
            row: row.row,
            id: workspace,
            lost: AtomicBool::new(false),
            judge: Mutex::new(Judge::begin(&row)),
            published: Mutex::new(Published::new(relay, &row)),
        })
    }

    /// Returns its number here.
    #[must_use]
    pub fn row(&self) -> Row {
        self.row
    }

    /// Returns its name.
    #[must_use]
    pub fn id(&self) -> WorkspaceId {
        self.id
    }

    /// Tells whether a commit of it failed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Gives it up after a failed commit and ends its sessions.
    pub fn lose(&self, closing: Closing) {
        self.lost.store(true, Ordering::Release);
        for reader in self.published().readers.values() {
            reader.outbox.close(closing);
        }
    }

    /// Locks what items are judged against; where the workspace was at rest, that is loaded first.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read or a record in it is damaged.
    pub fn judge(&self, log: &dyn Log) -> Result<MutexGuard<'_, Judge>, LogError> {
        let mut judge = lock(&self.judge);
        if judge.is_at_rest() {
            let row = self.published().to_row(self.row);
            judge.wake(log, &row)?;
        }
        judge.work();
        Ok(judge)
    }

    /// Lets go of what items are judged against, if nobody has asked for it since this was called last, all of it is
    /// committed, and it is quickly loaded again.
    pub fn rest(&self) {
        let mut judge = lock(&self.judge);
        if judge.may_rest() && !self.is_lost() {
            let committed = self.published().to_row(self.row);
            judge.rest(&committed);
        }
    }

    /// Locks what is committed.
    pub fn published(&self) -> MutexGuard<'_, Published> {
        lock(&self.published)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session that has the workspace open.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where its deliveries go.
    pub outbox: Arc<Outbox>,
    /// Whose session it is.
    pub device: DeviceId,
    /// Whether it has everything, and hears of each commit; else it reads the log itself.
    pub live: bool,
    /// Whether it asks for some documents only: then it reads the log, and is told when there is more.
    pub filters: bool,
}

/// The committed end of a log, and who reads it.
#[derive(Debug)]
pub struct Published {
    /// Who signs.
    pub relay: RelayId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The present history.
    pub log: LogId,
    /// Length and Merkle roots.
    pub frontier: Frontier,
    /// Bytes of all items.
    pub bytes: u64,
    /// The last position of which the bytes are gone: nobody goes on from below it.
    pub pruned: u64,
    /// The sessions that have it open; boxed, since most workspaces have one or two.
    pub readers: BTreeMap<SessionId, Box<Reader>>,
}

impl Published {
    fn new(relay: RelayId, row: &WorkspaceRow) -> Self {
        Self {
            relay,
            workspace: row.workspace,
            log: row.log,
            frontier: row.frontier.clone(),
            bytes: row.bytes,
            pruned: row.pruned,
            readers: BTreeMap::new(),
        }
    }

    /// Returns what the log says of the workspace, once nothing is under way.
    fn to_row(&self, row: Row) -> WorkspaceRow {
        let frontier = self.frontier.clone();
        WorkspaceRow { row, workspace: self.workspace, log: self.log, frontier, bytes: self.bytes, pruned: self.pruned }
    }

    /// Returns the length of the log.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.frontier.length()
    }

    /// Returns what the heads of a history of this workspace are bound to.
    #[must_use]
    pub fn origin(&self, log: &LogId) -> LogOrigin {
        LogOrigin::new(&self.relay, log, &self.workspace)
    }

    /// Returns the present head.
    #[must_use]
    pub fn head(&self) -> Digest {
        self.frontier.head(&self.origin(&self.log))
    }

    /// Returns the present head as a statement to sign.
    #[must_use]
    pub fn receipt(&self, time_ms: i64, acknowledged: Digest) -> Receipt {
        Receipt {
            relay: self.relay,
            workspace: self.workspace,
            log: self.log,
            position: self.length(),
            head: self.head(),
            time_ms,
            acknowledged,
        }
    }

    /// Notes a session that has the workspace open; it reads the log itself at first.
    pub fn enter(&mut self, outbox: &Arc<Outbox>, device: DeviceId) {
        let outbox = Arc::clone(outbox);
        let reader = Reader { outbox, device, live: false, filters: false };
        self.readers.insert(reader.outbox.id(), Box::new(reader));
    }

    /// Lets a session that has everything read along; returns whether it has.
    pub fn go_live(&mut self, session: SessionId, sent: u64) -> bool {
        let caught_up = sent >= self.length();
        if let Some(reader) = self.readers.get_mut(&session) {
            // Who filters is told whenever there is more, and hears others' status rows while it reads.
            reader.live = caught_up || reader.live && reader.filters;
        }
        caught_up
    }
}
