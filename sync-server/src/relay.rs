//! What all sessions of one relay share: key, log, queue, the workspaces in memory, who is here.
//!
//! Invariant: at most one live [`Workspace`] of a name is in memory; it stays while a session or a job
//! holds it, so no two judges ever give out the same position.

mod rest;
mod room;
mod sweep;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::TlsMode;
use tombolo_protocol::ids::{DeviceId, LogId, RelayId, WorkspaceTag};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::record::Levels;

use crate::access::AccessLog;
use crate::admission::Admission;
use crate::factors::Factors;
use crate::fanout::{Closing, Outbox, SessionId};
use crate::log::{Log, LogError, Row};
use crate::metrics::Metrics;
use crate::rendezvous::Meetings;
use crate::session::Guests;
use crate::workspace::{Room, Workspace};
use crate::writer::{Job, JobQueue};

/// Workspaces kept in memory though nobody has them open, so that a short absence costs nothing.
pub const WORKSPACES_IDLE_MAX: usize = 1024;
/// Workspaces of one relay: what fits above the positions in an SQLite integer.
pub const ROWS_MAX: Row = (1 << 23) - 1;

/// Bytes that the readiness check writes at most after a failure.
pub const PROBE_BYTES_MAX: u64 = 4 << 20;

/// Time and randomness, which the simulation replaces.
pub trait Surroundings: Send + Sync {
    /// Returns the clock, milliseconds since 1970.
    fn now_ms(&self) -> i64;
    /// Returns milliseconds that never go back.
    fn steady_ms(&self) -> u64;
    /// Fills with random bytes.
    ///
    /// # Errors
    /// [`NoEntropy`] if the source fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The source of randomness failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntropy;

/// What a session is allowed.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Bytes of items under way without a receipt; twice as much ends the session.
    pub credit_bytes: u32,
    /// Silence after which the relay pings; twice as long ends the session.
    pub ping_ms: u32,
    /// How sessions are tied to TLS.
    pub tls: TlsMode,
    /// Bytes one workspace may keep.
    pub quota_bytes: Option<u64>,
    /// Items a second and device, averaged over [`crate::session::RATE_WINDOW_S`].
    pub items_per_second: u32,
    /// Bytes of items a second and device, averaged likewise.
    pub bytes_per_second: u32,
}

/// One relay.
pub struct Relay {
    id: RelayId,
    key: SignKey,
    log: Box<dyn Log>,
    queue: JobQueue,
    surroundings: Box<dyn Surroundings>,
    terms: Terms,
    admission: Admission,
    minimum: Levels,
    retention: Option<Duration>,
    swept_ms: AtomicU64,
    factors: Option<Factors>,
    access: Option<AccessLog>,
    metrics: Metrics,
    guests: Guests,
    workspaces: Mutex<Registry>,
    next_row: AtomicU32,
    sessions: Mutex<Sessions>,
    meetings: Meetings,
    next_session: AtomicU64,
    failed_bytes: AtomicU64,
    room: Arc<Room>,
}

#[derive(Default)]
struct Registry {
    loaded: BTreeMap<WorkspaceTag, Arc<Workspace>>,
    sweep_at: usize,
}

/// Who is here.
#[derive(Default)]
struct Sessions {
    all: BTreeMap<SessionId, Arc<Outbox>>,
    proven: BTreeMap<DeviceId, SessionId>,
}

impl Relay {
    /// Puts a relay together.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read.
    pub fn new(
        key: SignKey,
        log: Box<dyn Log>,
        surroundings: Box<dyn Surroundings>,
        terms: Terms,
        admission: Admission,
    ) -> Result<Self, LogError> {
        let next_row = log.last_row()?.saturating_add(1);
        Ok(Self {
            id: RelayId::from_bytes(key.public()),
            key,
            log,
            queue: JobQueue::default(),
            surroundings,
            terms,
            admission,
            minimum: Levels::default(),
            retention: None,
            swept_ms: AtomicU64::new(0),
            factors: None,
            access: None,
            metrics: Metrics::default(),
            guests: Guests::default(),
            workspaces: Mutex::default(),
            next_row: AtomicU32::new(next_row),
            sessions: Mutex::default(),
            meetings: Meetings::default(),
            next_session: AtomicU64::new(1),
            failed_bytes: AtomicU64::new(0),
            room: Arc::default(),
        })
    }

    /// Asks these levels in every workspace, whatever its policy.
    #[must_use]
    pub fn asking(mut self, minimum: Levels) -> Self {
        self.minimum = minimum;
        self
    }

    /// Checks second factors.
    #[must_use]
    pub fn checking_factors(mut self, factors: Factors) -> Self {
        self.factors = Some(factors);
        self
    }

    /// Accounts for who comes and what they do.
    #[must_use]
    pub fn accounting(mut self, access: AccessLog) -> Self {
        self.access = Some(access);
        self
    }

    /// Returns the access log, if one is kept.
    #[must_use]
    pub fn access(&self) -> Option<&AccessLog> {
        self.access.as_ref()
    }

    /// Returns the second factors that it checks, if it does.
    #[must_use]
    pub fn factors(&self) -> Option<&Factors> {
        self.factors.as_ref()
    }

    /// Returns the levels that it asks in every workspace.
    #[must_use]
    pub fn minimum(&self) -> Levels {
        self.minimum
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> RelayId {
        self.id
    }

    /// Returns its key.
    #[must_use]
    pub fn key(&self) -> &SignKey {
        &self.key
    }

    /// Returns its log.
    #[must_use]
    pub fn log(&self) -> &dyn Log {
        self.log.as_ref()
    }

    /// Returns what waits to be written.
    #[must_use]
    pub fn queue(&self) -> &JobQueue {
        &self.queue
    }

    /// Returns its terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Returns whom it takes.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Returns its guests.
    #[must_use]
    pub fn guests(&self) -> &Guests {
        &self.guests
    }

    /// Returns its counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns where devices meet to be linked.
    #[must_use]
    pub fn meetings(&self) -> &Meetings {
        &self.meetings
    }

    /// Returns its clock.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.surroundings.now_ms()
    }

    /// Returns its steady clock.
    #[must_use]
    pub fn steady_ms(&self) -> u64 {
        self.surroundings.steady_ms()
    }

    /// Draws random bytes.
    ///
    /// # Errors
    /// [`NoEntropy`] if the source fails.
    pub fn draw<const N: usize>(&self) -> Result<[u8; N], NoEntropy> {
        let mut bytes = [0; N];
        self.surroundings.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Starts a session's outbox.
    #[must_use]
    pub fn new_outbox(&self) -> Arc<Outbox> {
        let outbox = Outbox::new(SessionId(self.next_session.fetch_add(1, Ordering::Relaxed)));
        lock(&self.sessions).all.insert(outbox.id(), Arc::clone(&outbox));
        outbox
    }

    /// Notes a proven session; an older one of the same device is replaced.
    pub fn arrive(&self, device: DeviceId, session: SessionId) {
        let mut sessions = lock(&self.sessions);
        let former = sessions.proven.insert(device, session);
        if let Some(former) = former.and_then(|former| sessions.all.get(&former)) {
            former.close(CloseCode::Replaced);
        }
    }

    /// Notes that a session ended.
    pub fn depart(&self, device: Option<&DeviceId>, session: SessionId) {
        let mut sessions = lock(&self.sessions);
        sessions.all.remove(&session);
        if let Some(device) = device
            && sessions.proven.get(device) == Some(&session)
        {
            sessions.proven.remove(device);
        }
    }

    /// Ends all sessions; `spread` gives each its wait, so that they do not come back at once.
    pub fn dismiss(&self, mut spread: impl FnMut() -> Closing) {
        for outbox in lock(&self.sessions).all.values() {
            outbox.close(spread());
        }
    }

    /// Returns a workspace, from memory or the log.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read.
    pub fn open(&self, tag: &WorkspaceTag) -> Result<Option<Arc<Workspace>>, LogError> {
        loop {
            if let Some(workspace) = lock(&self.workspaces).loaded.get(tag) {
                return Ok(Some(Arc::clone(workspace)));
            }
            let Some(row) = self.log.find(tag)? else {
                return Ok(None);
            };
            let (log, length) = (row.log, row.frontier.length());
            let workspace = Workspace::load(self.log.as_ref(), self.id, row)?;
            let mut registry = lock(&self.workspaces);
            if registry.loaded.contains_key(tag) {
                continue;
            }
            // Somebody may have had it, written to it and left while it was loaded.
            let now = self.log.find(tag)?;
            if now.is_some_and(|now| now.log == log && now.frontier.length() == length) {
                registry.keep(*tag, &workspace);
                return Ok(Some(workspace));
            }
        }
    }

    /// Takes in a workspace that begins; the caller queues its first job while it holds its judge.
    ///
    /// Returns whether there was none of that name.
    pub fn begin(&self, workspace: &Arc<Workspace>) -> bool {
        let tag = workspace.id().tag();
        let mut registry = lock(&self.workspaces);
        if registry.loaded.contains_key(&tag) || workspace.row() > ROWS_MAX {
            return false;
        }
        registry.keep(tag, workspace);
        self.queue.push(Job::Create(Arc::clone(workspace)));
        true
    }

    /// Returns the number of the next workspace.
    #[must_use]
    pub fn next_row(&self) -> Row {
        self.next_row.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives up a workspace whose memory is no longer what the log will be: its sessions end, and it
    /// is loaded anew.
    pub fn lose(&self, workspace: &Arc<Workspace>) {
        workspace.lose(CloseCode::Unavailable.into());
        let mut registry = lock(&self.workspaces);
        let tag = workspace.id().tag();
        if registry.loaded.get(&tag).is_some_and(|held| Arc::ptr_eq(held, workspace)) {
            registry.loaded.remove(&tag);
        }
    }

    /// Draws the name of a new history.
    ///
    /// # Errors
    /// [`NoEntropy`] if the source fails.
    pub fn new_log_id(&self) -> Result<LogId, NoEntropy> {
        self.draw().map(LogId::from_bytes)
    }

    /// Notes a commit and its size: after a failure the relay is ready again only when as much could be
    /// written.
    pub fn note_commit(&self, succeeded: bool, bytes: u64) {
        let failed = self.failed_bytes.load(Ordering::Relaxed);
        if !succeeded {
            let bytes = bytes.clamp(1, PROBE_BYTES_MAX);
            self.failed_bytes.fetch_max(bytes, Ordering::Relaxed);
        } else if failed > 0 && bytes >= failed {
            self.failed_bytes.store(0, Ordering::Relaxed);
            tracing::info!("commits succeed again");
        }
    }

    /// Returns the size of the greatest commit that failed and was not matched since; zero if none.
    #[must_use]
    pub fn failed_bytes(&self) -> u64 {
        self.failed_bytes.load(Ordering::Relaxed)
    }
}

impl Registry {
    fn keep(&mut self, tag: WorkspaceTag, workspace: &Arc<Workspace>) {
        if self.loaded.len() >= self.sweep_at.max(WORKSPACES_IDLE_MAX) {
            self.loaded.retain(|_, workspace| Arc::strong_count(workspace) > 1);
            self.sweep_at = 2 * self.loaded.len();
        }
        self.loaded.insert(tag, Arc::clone(workspace));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
