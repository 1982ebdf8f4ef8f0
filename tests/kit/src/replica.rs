//! One device of the harness: its store on disk, its engine in memory, and its crashes.
//!
//! A turn is the runtime's: begin → handle → settle → commit → drain. A crash may fall before the commit,
//! after it, or between turns; what was in memory is gone, what was committed stays.
//!
//! Invariant: no effect leaves before the commit of what caused it, because the engine hands out none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tombolo::crypto::{DeviceSecrets, MemoryVault};
use tombolo::engine::{Effect, Engine, EngineConfig, Event, Input, Now};
use tombolo::{Durability, Error, IntegrityReport, SetAsideReason, Store, StoreError, Tx};
use tombolo_disk::{Disk, Fault};

use crate::chance::Chance;

/// Names a replica of a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica(pub(crate) usize);

/// Where in a turn a device dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashAt {
    /// Everything is done but the commit.
    BeforeCommit,
    /// The commit was made, and nobody has heard of it.
    AfterCommit,
}

/// Told of each commit, right after it.
pub type Witness = Box<dyn FnMut() + Send>;

/// How a turn ended.
pub(crate) enum Turn<R> {
    /// It was committed, and its effects may leave.
    Done(R),
    /// The device died in it.
    Died,
}

/// One device.
pub(crate) struct Device {
    pub(crate) name: String,
    path: PathBuf,
    vault: MemoryVault,
    seed: u64,
    pub(crate) boots: u32,
    /// From how many entries behind its saved form on a document is saved anew, where a story says so.
    pub(crate) tail_entries: Option<usize>,
    /// From how many entries behind its newest snapshot on a document is published, where a story says so.
    pub(crate) snapshot_entries: Option<usize>,
    pub(crate) compact_after: Option<Duration>,
    /// How far its wall clock is off.
    pub(crate) skew_ms: i64,
    // The engine goes before the store whose transactions it saw.
    engine: Option<Engine>,
    store: Option<Store>,
    /// The disk below the store, where a story lets it fail.
    disk: Option<Disk>,
    disk_fails: bool,
    pub(crate) commits: u64,
    pub(crate) crash_at: Option<(u64, CrashAt)>,
    pub(crate) events: Vec<Event>,
    pub(crate) witness: Option<Witness>,
    counted: BTreeMap<SetAsideReason, u64>,
}

impl Device {
    pub(crate) fn new(name: &str, root: &Path, seed: u64) -> Self {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the store");
        Self {
            name: name.to_owned(),
            path: folder.join("store.sqlite"),
            vault: MemoryVault::default(),
            seed,
            boots: 0,
            tail_entries: None,
            snapshot_entries: None,
            compact_after: None,
            skew_ms: 0,
            engine: None,
            store: None,
            disk: None,
            disk_fails: false,
            commits: 0,
            crash_at: None,
            events: Vec::new(),
            witness: None,
            counted: BTreeMap::new(),
        }
    }

    /// Puts the store on a disk that can fail; the device must not have started yet.
    pub(crate) fn mount(&mut self) {
        self.disk = Some(Disk::mount(self.folder()).expect("the folder is mounted"));
    }

    /// Cuts the power now, and ends the process with it.
    pub(crate) fn power_cut(&mut self, seed: u64) {
        if let Some(disk) = &self.disk {
            disk.power_cut(seed);
        }
        self.kill();
    }

    /// Lets something of the disk fail from now on, until the device starts again.
    pub(crate) fn fail_disk(&mut self, fault: impl FnOnce(u64) -> Fault) {
        if let Some(disk) = &self.disk {
            disk.fail(fault(disk.operations()));
            self.disk_fails = true;
        }
    }

    /// Makes a device whose store is a copy of this one's files, as they are on disk now.
    pub(crate) fn copy(&self, name: &str, root: &Path) -> Self {
        self.settle_disk();
        let mut copy = Self::new(name, root, self.seed);
        crate::station::copy_all(self.folder(), copy.folder());
        copy.vault = self.vault.clone();
        copy
    }

    /// Nobody copies files of a machine without power, nor puts any back: what a cut leaves of them is decided before.
    fn settle_disk(&self) {
        if let Some(disk) = self.disk.as_ref().filter(|_| !self.is_up()) {
            disk.reboot().expect("nothing is open any more");
        }
    }

    /// Copies the store's files aside.
    pub(crate) fn back_up(&self) {
        self.settle_disk();
        let to = self.backup();
        std::fs::create_dir_all(&to).expect("a folder for the backup");
        crate::station::remove_all(&to);
        crate::station::copy_all(self.folder(), &to);
    }

    /// Puts the copied files back; with `lock` also what tells a restored store from the newest.
    pub(crate) fn restore(&mut self, lock: bool) {
        self.kill();
        self.settle_disk();
        for entry in std::fs::read_dir(self.folder()).expect("the folder is there").flatten() {
            if lock || entry.path().extension().is_none_or(|extension| extension != "lock") {
                std::fs::remove_file(entry.path()).expect("the file goes");
            }
        }
        for entry in std::fs::read_dir(self.backup()).expect("there is a backup").flatten() {
            let to = self.folder().join(entry.file_name());
            if !to.exists() {
                std::fs::copy(entry.path(), to).expect("the file is copied");
            }
        }
    }

    /// Writes the copied files over the present ones, as a machine's snapshot would: nothing tells that they are old.
    pub(crate) fn rewind(&mut self) {
        self.kill();
        self.settle_disk();
        for entry in std::fs::read_dir(self.folder()).expect("the folder is there").flatten() {
            if !self.backup().join(entry.file_name()).exists() {
                std::fs::remove_file(entry.path()).expect("the file goes");
            }
        }
        crate::station::copy_all(&self.backup(), self.folder());
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.path.clone()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().expect("a store is in a folder")
    }

    fn backup(&self) -> PathBuf {
        self.folder().with_extension("backup")
    }

    fn label(&self, what: &str, nth: u32) -> String {
        format!("{}/{what}/{nth}", self.name)
    }

    /// Returns the secrets of the device, which are the first that its first engine drew.
    pub(crate) fn secrets(&self) -> DeviceSecrets {
        DeviceSecrets::generate(&mut Chance::new(self.seed, &self.label("engine", 1)))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    pub(crate) fn start(&mut self) {
        if self.is_up() {
            return;
        }
        self.boots += 1;
        self.settle_disk();
        self.disk_fails = false;
        let mut chance = Chance::new(self.seed, &self.label("store", self.boots));
        let opened = Store::open(&self.path, &self.vault, Durability::Power, &mut chance);
        let mut store = opened.expect("the store opens");
        let chance = Chance::new(self.seed, &self.label("engine", self.boots));
        let tail_entries = self.tail_entries.unwrap_or(EngineConfig::default().tail_entries);
        let snapshot_entries = self.snapshot_entries.unwrap_or(EngineConfig::default().snapshot_entries);
        let compact_after = self.compact_after;
        let config = EngineConfig { tail_entries, snapshot_entries, compact_after, ..EngineConfig::default() };
        let loaded = Engine::load(&mut store, Box::new(chance), config);
        self.engine = Some(loaded.expect("the engine loads"));
        self.store = Some(store);
        self.tell_witness();
    }

    fn tell_witness(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness();
        }
    }

    /// Returns the vault, which keeps the same key as long as there are copies of it.
    pub(crate) fn vault(&self) -> MemoryVault {
        self.vault.clone()
    }

    /// Ends the process, whatever it was at.
    pub(crate) fn kill(&mut self) {
        if let Some(engine) = self.engine.take() {
            for (reason, count) in engine.counters().iter() {
                *self.counted.entry(reason).or_default() += count;
            }
        }
        self.store = None;
    }

    /// Returns how often a reason was counted, in all of the device's lives.
    pub(crate) fn counted(&self, reason: SetAsideReason) -> u64 {
        let before = self.counted.get(&reason).copied().unwrap_or(0);
        before + self.engine.as_ref().map_or(0, |engine| engine.counters().of(reason))
    }

    /// Compares the store's rows with each other.
    pub(crate) fn integrity(&self) -> IntegrityReport {
        let report = self.store.as_ref().map(|store| store.integrity().expect("the store reads"));
        report.unwrap_or_default()
    }

    /// Returns all reasons that were counted.
    pub(crate) fn all_counted(&self) -> BTreeMap<SetAsideReason, u64> {
        let mut all = self.counted.clone();
        for (reason, count) in self.engine.iter().flat_map(|engine| engine.counters().iter()) {
            *all.entry(reason).or_default() += count;
        }
        all
    }

    pub(crate) fn hear(&mut self, now: Now, input: Input) -> Turn<()> {
        let heard = self.turn(now, |engine, tx| engine.handle(now, input, tx).map_err(Error::Store));
        match heard {
            Turn::Done(Ok(())) => Turn::Done(()),
            Turn::Done(Err(error)) => panic!("{}: the engine failed: {error}", self.name),
            Turn::Died => Turn::Died,
        }
    }

    /// One turn of the device.
    pub(crate) fn turn<R>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Engine, &Tx<'_>) -> Result<R, Error>,
    ) -> Turn<Result<R, Error>> {
        let (Some(engine), Some(store)) = (self.engine.as_mut(), self.store.as_mut()) else {
            return Turn::Died;
        };
        self.commits += 1;
        let crash = self.crash_at.filter(|(at, _)| *at == self.commits).map(|(_, crash)| crash);
        let step = || -> Result<Option<Result<R, Error>>, StoreError> {
            let tx = store.begin(true)?;
            let done = work(engine, &tx);
            engine.settle(now, &tx, true)?;
            if crash == Some(CrashAt::BeforeCommit) {
                return Ok(None);
            }
            tx.commit()?;
            Ok(Some(done))
        };
        let done = match step() {
            // The runtime would load the engine again; here the whole device starts anew.
            Err(_) | Ok(Some(Err(Error::Store(_)))) if self.disk_fails => {
                self.kill();
                return Turn::Died;
            }
            done => done.expect("the store works"),
        };
        if done.is_some() {
            self.tell_witness();
        }
        if crash.is_some() {
            self.kill();
            return Turn::Died;
        }
        done.map_or(Turn::Died, Turn::Done)
    }

    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.engine.as_mut().and_then(Engine::poll_effect)
    }
}
