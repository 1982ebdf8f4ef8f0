//! The world: time, what is under way between devices and relays, and the order in which things happen.
//!
//! Frames of one connection arrive in order after a drawn latency; a cut loses what is under way, and
//! both ends notice it at moments of their own. Everything is drawn from the seed.
//!
//! Invariant: the next thing to happen is the earliest, ties go by the order in which they were planned;
//! a history that does not come to rest within [`REST_MAX`] fails.

mod devices;
mod needles;
mod plan;
mod story;
mod watch;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tempfile::TempDir;
use tombolo::engine::{Effect, Engine, Event, Input, Now};
use tombolo::protocol::ids::{DocumentId, WorkspaceId};
use tombolo::{Error, Tx};

use crate::chance::Chance;
use crate::invariant::Violation;
use crate::lies::Lie;
use crate::replica::{Device, Replica, Turn};
use crate::station::{Line, RelayNode, SharedClock, Station};
use crate::trace::Trace;
pub use needles::Needles;
use plan::{Happening, Plan};
pub use weather::DiskFault;

/// The wall clock when a net begins, milliseconds since 1970.
pub const WALL_MS: i64 = 1_700_000_000_000;
/// Simulated time within which a net must come to rest once nothing disturbs it.
pub const REST_MAX: Duration = Duration::from_secs(3600);
/// Nothing is under way if nobody wants anything within this time; longer than every retry.
const REST: Duration = Duration::from_secs(90);
/// Steps of one history, far beyond what any needs: a storm of timers ends here.
const STEPS_MAX: u64 = 3_000_000;

/// The path between a device and a relay.
#[derive(Default)]
struct Path {
    up_at: Duration,
    down_at: Duration,
}

/// The simulated world.
pub struct Net {
    seed: u64,
    chance: Chance,
    now: Duration,
    clock: SharedClock,
    plan: Plan,
    devices: Vec<Device>,
    stations: Vec<Station>,
    lies: BTreeMap<usize, Lie>,
    patches: BTreeMap<usize, Lie>,
    /// Connections that carry frames, and the relay at their other end.
    paths: BTreeMap<Line, (usize, Path)>,
    cuts: BTreeSet<(usize, usize)>,
    /// One-way cuts: device, relay, and whether it is the way up that carries nothing.
    muted: BTreeSet<(usize, usize, bool)>,
    /// Connections that stand as their devices see it.
    standing: BTreeSet<Line>,
    latency: (Duration, Duration),
    down: BTreeSet<usize>,
    watch: watch::Watch,
    found: Vec<Violation>,
    trace: Trace,
    /// From how many entries on every device publishes, and saves what it opens.
    publishes_from: Option<usize>,
    /// After which time every second device gives up what a snapshot stands for.
    compacts_after: Option<Duration>,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) documents: Vec<DocumentId>,
    /// Words that an edit was confirmed for, and words whose edit died with its device.
    pub(crate) written: BTreeSet<String>,
    pub(crate) unsure: BTreeSet<String>,
    // Last, so that stores and logs are closed before their folder goes.
    folder: TempDir,
}

impl Net {
    /// Begins a world with one relay.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        // All devices and relays of a net are one process, and verify the same bytes.
        tombolo_protocol::keys::memo::switch_on();
        let memory = std::path::Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let mut net = Self {
            seed,
            chance: Chance::new(seed, "net"),
            now: Duration::from_secs(1),
            clock: SharedClock::default(),
            plan: Plan::default(),
            devices: Vec::new(),
            stations: Vec::new(),
            lies: BTreeMap::new(),
            patches: BTreeMap::new(),
            paths: BTreeMap::new(),
            cuts: BTreeSet::new(),
            muted: BTreeSet::new(),
            standing: BTreeSet::new(),
            latency: weather::LATENCY,
            down: BTreeSet::new(),
            watch: watch::Watch::default(),
            found: Vec::new(),
            trace: Trace::default(),
            publishes_from: None,
            compacts_after: None,
            workspace: None,
            documents: Vec::new(),
            written: BTreeSet::new(),
            unsure: BTreeSet::new(),
            folder: made.expect("a temporary folder"),
        };
        net.add_relay();
        net
    }

    /// Adds a relay.
    pub fn add_relay(&mut self) -> RelayNode {
        let number = self.stations.len();
        self.stations.push(Station::new(number, self.folder.path(), self.seed, self.clock.clone()));
        RelayNode(number)
    }

    /// Adds a device with an empty store.
    pub fn device(&mut self, name: &str) -> Replica {
        let replica = self.push_device(Device::new(name, self.folder.path(), self.seed));
        self.start(replica);
        replica
    }

    pub(crate) fn push_device(&mut self, mut device: Device) -> Replica {
        if let Some(entries) = self.publishes_from {
            (device.snapshot_entries, device.tail_entries) = (Some(entries), Some(entries));
        }
        // The others hold everything for good.
        device.compact_after = self.compacts_after.filter(|_| self.devices.len() % 2 == 1);
        self.devices.push(device);
        Replica(self.devices.len() - 1)
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn state(&self, replica: Replica) -> &Device {
        &self.devices[replica.0]
    }

    pub(crate) fn state_mut(&mut self, replica: Replica) -> &mut Device {
        &mut self.devices[replica.0]
    }

    pub(crate) fn station(&self, relay: RelayNode) -> &Station {
        &self.stations[relay.0]
    }

    pub(crate) fn station_mut(&mut self, relay: RelayNode) -> &mut Station {
        &mut self.stations[relay.0]
    }

    /// Takes a workspace that somebody founded for the one that all share.
    pub fn share(&mut self, workspace: WorkspaceId) {
        self.workspace = Some(workspace);
    }

    /// Adds a document to those that edits and judgements go over.
    pub fn share_document(&mut self, document: DocumentId) {
        self.documents.push(document);
    }

    /// Returns the hash of everything that has happened.
    #[must_use]
    pub fn trace_hash(&self) -> String {
        self.trace.hash()
    }

    /// Returns the world's own chance, for stories that draw.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// Returns both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let ms = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        Now { mono: self.now, wall_ms: WALL_MS + ms }
    }

    fn now_of(&self, device: usize) -> Now {
        let now = self.now();
        Now { wall_ms: now.wall_ms.saturating_add(self.devices[device].skew_ms), ..now }
    }

    /// Lets a relay lie: every frame that it sends goes through the lie first.
    pub fn lie(&mut self, relay: RelayNode, lie: Lie) {
        self.lies.insert(relay.0, lie);
    }

    /// Makes a relay honest again.
    pub fn honest(&mut self, relay: RelayNode) {
        self.lies.remove(&relay.0);
    }

    /// Patches a client: every frame that it sends goes through the patch first.
    pub fn patch(&mut self, replica: Replica, patch: Lie) {
        self.patches.insert(replica.0, patch);
    }

    /// Does something with a replica's engine, in one turn; `None` if the device died in it or is down.
    ///
    /// # Errors
    /// What the work answers.
    pub fn act<R>(
        &mut self,
        replica: Replica,
        work: impl FnOnce(&mut Engine, Now, &Tx<'_>) -> Result<R, Error>,
    ) -> Result<Option<R>, Error> {
        let now = self.now_of(replica.0);
        match self.devices[replica.0].turn(now, |engine, tx| work(engine, now, tx)) {
            Turn::Done(done) => {
                self.drain(replica.0);
                done.map(Some)
            }
            Turn::Died => {
                self.disconnect_all(replica.0);
                Ok(None)
            }
        }
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.set_now(until);
    }

    /// Runs until nothing is under way and nobody who can reach a relay wants anything soon.
    pub fn run_until_quiet(&mut self) {
        let until = self.now + REST_MAX;
        while !self.is_quiet() {
            assert!(self.step(until), "no rest within {REST_MAX:?} of simulated time");
        }
    }

    fn is_quiet(&self) -> bool {
        let soon = self.now + REST;
        let reaches = |device: usize| (0..self.stations.len()).all(|relay| self.is_reachable(device, relay));
        let waits = |device: usize| self.wakes_at(device).is_some_and(|at| at < soon) && reaches(device);
        self.plan.is_empty() && !(0..self.devices.len()).any(waits)
    }

    fn wakes_at(&self, device: usize) -> Option<Duration> {
        self.devices[device].engine().and_then(Engine::poll_timeout)
    }

    /// Lets the next thing happen, if it does before `until`.
    fn step(&mut self, until: Duration) -> bool {
        assert!(self.trace.steps() < STEPS_MAX, "a storm: {STEPS_MAX} steps");
        let tick = (0..self.devices.len()).filter_map(|device| Some((self.wakes_at(device)?, device))).min();
        let planned = self.plan.next_at();
        match (planned, tick) {
            (at, Some((wake, device))) if at.is_none_or(|at| wake < at) => {
                if wake > until {
                    return false;
                }
                self.set_now(wake);
                self.trace.note(self.now, format!("{} ticks", self.devices[device].name), &[]);
                self.input(device, Input::Tick);
            }
            (Some(at), _) if at <= until => {
                self.set_now(at);
                if let Some(happening) = self.plan.take() {
                    self.happen(happening);
                }
            }
            _ => return false,
        }
        true
    }

    fn set_now(&mut self, at: Duration) {
        self.now = self.now.max(at);
        self.clock.set(self.now);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Stands { line } => {
                let Some((relay, _)) = self.paths.get(&line) else { return };
                let relay = *relay;
                self.stations[relay].accept(line);
                self.standing.insert(line);
                let (connection, host) = (line.connection, self.stations[relay].host());
                let binding = tombolo::protocol::auth::Binding::None;
                self.hear(line, Input::Connected { connection, host, binding, loopback: true });
            }
            Happening::ToRelay { line, bytes } => {
                let Some((relay, _)) = self.paths.get(&line) else { return };
                let relay = *relay;
                self.trace.note(self.now, format!("{} -> relay {relay}", self.devices[line.device].name), &bytes);
                self.stations[relay].hear(line, &bytes);
                self.after_relay(relay);
                self.plan_commit(relay);
            }
            Happening::ToDevice { line, bytes } => {
                let Some((relay, _)) = self.paths.get(&line) else { return };
                self.trace.note(self.now, format!("relay {relay} -> {}", self.devices[line.device].name), &bytes);
                self.hear(line, Input::Frame { connection: line.connection, bytes });
            }
            Happening::Breaks { line } => self.lose_paths(|lost, _| lost == line),
            Happening::DeviceLoses { line, code } => {
                self.standing.remove(&line);
                self.trace.note(self.now, format!("{} loses a connection", self.devices[line.device].name), &[]);
                self.hear(line, Input::Disconnected { connection: line.connection, code });
            }
            Happening::RelayLoses { relay, line } => {
                self.stations[relay].forget(line);
                self.after_relay(relay);
            }
            Happening::Commit { relay } => {
                self.stations[relay].commit();
                self.after_relay(relay);
            }
        }
    }

    /// Hands a device what its connection brings, unless it has died since.
    fn hear(&mut self, line: Line, input: Input) {
        if self.devices[line.device].boots == line.boot {
            self.input(line.device, input);
        }
    }

    fn input(&mut self, device: usize, input: Input) {
        if !self.devices[device].is_up() {
            return;
        }
        let now = self.now_of(device);
        match self.devices[device].hear(now, input) {
            Turn::Done(()) => self.drain(device),
            Turn::Died => {
                self.trace.note(self.now, format!("{} dies", self.devices[device].name), &[]);
                self.disconnect_all(device);
            }
        }
    }

    /// Performs what a device wants done.
    fn drain(&mut self, device: usize) {
        while let Some(effect) = self.devices[device].next_effect() {
            match effect {
                Effect::Dial { connection, address } => self.dial(device, connection, &address),
                Effect::Send { connection, bytes } => self.send_up(device, connection, bytes),
                Effect::HangUp { connection, .. } => self.hang_up(device, connection),
                Effect::Event(event) => self.note_event(device, event),
            }
        }
    }

    fn note_event(&mut self, device: usize, event: Event) {
        if !matches!(event, Event::Changed { .. }) {
            self.trace.note(self.now, format!("{}: {event:?}", self.devices[device].name), &[]);
            self.devices[device].events.push(event);
        }
    }

    fn is_reachable(&self, device: usize, relay: usize) -> bool {
        let muted = [true, false].iter().any(|up| self.muted.contains(&(device, relay, *up)));
        !muted && !self.cuts.contains(&(device, relay)) && !self.down.contains(&relay)
    }

    fn latency(&mut self) -> Duration {
        self.chance.between(self.latency.0, self.latency.1)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.watch.silent {
            #[expect(clippy::print_stderr, reason = "a failing history is told to whoever runs the test")]
            {
                self.trace.lines().for_each(|line| eprintln!("{line}"));
                eprintln!("seed {}: steps {}, trace {}", self.seed, self.trace.steps(), self.trace.hash());
            }
        }
    }
}
