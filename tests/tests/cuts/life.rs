//! A recorded life: after each commit it is known what must be there, and each cut is judged by that.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::types::ValueRef;
use tempfile::TempDir;
use tombolo_disk::{Disk, Image, Lost, Recording};
use tombolo_tests::Witness;

/// Cuts that each life gets when nothing else is said.
const CUTS: usize = 600;
/// What a store counts anew at each opening, so that it may differ between a commit and a cut after it.
const COUNTED: [&str; 2] = ["generation", "incarnation"];

/// What a commit left, once it was told of.
#[derive(Clone, Debug)]
struct Acknowledged {
    operation: u64,
    /// What the file beside the store says, for the owner of the life to judge.
    beside: String,
}

/// Commits as they are told of.
#[derive(Clone, Default)]
pub(crate) struct Commits(Arc<Mutex<Vec<Acknowledged>>>);

impl Commits {
    /// Returns a witness that notes how far the disk was, and what stands in a file beside.
    pub(crate) fn witness(&self, disk: &Arc<Disk>, beside: Option<PathBuf>) -> Witness {
        let (commits, disk) = (self.clone(), Arc::clone(disk));
        Box::new(move || {
            let beside = beside.as_ref().map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default();
            commits.0.lock().unwrap().push(Acknowledged { operation: disk.operations(), beside });
        })
    }
}

/// A life that was recorded.
pub(crate) struct Life {
    file: &'static str,
    recording: Recording,
    commits: Vec<Acknowledged>,
    /// The content after each commit.
    contents: Vec<u64>,
}

/// One cut, as it is handed to whoever opens what it left.
pub(crate) struct Cut<'l> {
    pub(crate) path: PathBuf,
    pub(crate) seed: u64,
    /// What the file beside said at the last commit before the cut.
    pub(crate) beside: &'l str,
    /// Whether something was committed before it in the same opening: it knows itself then.
    pub(crate) is_settled: bool,
}

/// How cuts of a life went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Of the life: writes, syncs, and files that were made, cut or deleted.
    pub(crate) operations: usize,
    pub(crate) commits: usize,
    pub(crate) cuts: usize,
    pub(crate) lost: Lost,
    /// Cuts after which the commit that was under way is there, though nobody was told.
    pub(crate) unheard: usize,
    pub(crate) violations: usize,
}

impl Life {
    pub(crate) fn new(file: &'static str, recording: Recording, commits: &Commits) -> Self {
        let commits = commits.0.lock().unwrap().clone();
        let mut life = Self { file, recording, commits, contents: Vec::new() };
        let mut walk = life.recording.walk();
        let (mut next, mut last) = (walk.step(), None);
        for commit in &life.commits {
            while next.is_some_and(|operation| operation <= commit.operation) {
                next = walk.step();
                last = None;
            }
            let content = last.unwrap_or_else(|| {
                // One step too far is a write that nothing refers to yet, or a sync.
                let folder = image_folder();
                walk.live().write_to(folder.path()).unwrap();
                content(&folder.path().join(file))
            });
            last = Some(content);
            life.contents.push(content);
        }
        life
    }

    /// Cuts the power so often, spread over all operations, and has each image opened; an opener that is not content
    /// says why.
    pub(crate) fn cut(&self, lying: bool, open: impl Fn(&Cut<'_>) -> Result<(), String> + Sync) -> Tally {
        let wanted = std::env::var("TOMBOLO_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS);
        let rounds = wanted.div_ceil(self.recording.operations());
        let share = (wanted, self.recording.operations() * rounds);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let tallies: Vec<Tally> = std::thread::scope(|scope| {
            let open = &open;
            let work =
                move |worker: usize| scope.spawn(move || self.work(lying, (worker, workers), (rounds, share), open));
            let working: Vec<_> = (0..workers).map(work).collect();
            working.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let all = Tally { operations: self.recording.operations(), commits: self.commits.len(), ..Tally::default() };
        tallies.into_iter().fold(all, Tally::and)
    }

    fn work(
        &self,
        lying: bool,
        (worker, workers): (usize, usize),
        (rounds, (wanted, all)): (usize, (usize, usize)),
        open: &impl Fn(&Cut<'_>) -> Result<(), String>,
    ) -> Tally {
        let mut walk = if lying { self.recording.walk_lying() } else { self.recording.walk() };
        let (mut tally, mut nth) = (Tally::default(), 0);
        while let Some(operation) = walk.step() {
            for round in 0..rounds {
                nth += 1;
                let (before, after) = ((nth - 1) * wanted / all, nth * wanted / all);
                if after > before && after % workers == worker {
                    let seed = operation << 16 | round as u64;
                    self.judge(operation, seed, &walk.cut(seed), lying, open, &mut tally);
                }
            }
        }
        tally
    }

    fn judge(
        &self,
        operation: u64,
        seed: u64,
        image: &Image,
        lying: bool,
        open: &impl Fn(&Cut<'_>) -> Result<(), String>,
        tally: &mut Tally,
    ) {
        let folder = image_folder();
        image.write_to(folder.path()).unwrap();
        tally.cuts += 1;
        tally.lost = add(tally.lost, image.lost());
        let path = folder.path().join(self.file);
        let safe = self.commits.iter().filter(|commit| commit.operation <= operation).count();
        let last = safe.checked_sub(1).map(|last| (&self.commits[last], self.contents[last]));
        let cut = Cut {
            path: path.clone(),
            seed,
            beside: last.map_or("", |(commit, _)| commit.beside.as_str()),
            is_settled: self.is_settled(safe),
        };
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            open(&cut)?;
            Ok(content(&path))
        }));
        let opened = opened.unwrap_or_else(|_| Err("it panics".to_owned()));
        let fault = match (opened, last) {
            (Err(why), _) => Some(why),
            (Ok(_), None) => None,
            (Ok(found), Some((_, before))) if found == before => None,
            (Ok(found), Some(_)) if self.contents.get(safe) == Some(&found) => {
                tally.unheard += 1;
                None
            }
            (Ok(_), Some(_)) => Some(format!("neither commit {safe} nor the next one is there")),
        };
        if let Some(why) = fault {
            tally.violations += 1;
            assert!(lying, "operation {operation}, seed {seed}: {why}");
        }
    }
}

impl Life {
    /// Tells whether the commits on both sides of a cut are of one opening.
    fn is_settled(&self, safe: usize) -> bool {
        let before = safe.checked_sub(1).and_then(|last| self.commits.get(last));
        before.is_some_and(|before| self.commits.get(safe).is_some_and(|after| after.beside == before.beside))
    }
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            cuts: self.cuts + other.cuts,
            lost: add(self.lost, other.lost),
            unheard: self.unheard + other.unheard,
            violations: self.violations + other.violations,
            ..self
        }
    }

    /// Says how it went, and fails if nothing worth a cut was cut.
    pub(crate) fn tell(self, life: &str) {
        let Self { operations, commits, cuts, lost, unheard, violations } = self;
        println!(
            "{life}: {operations} operations, {commits} commits; {cuts} cuts took {} of {} un-synced writes",
            lost.dropped, lost.unsynced
        );
        println!(
            "{life}: {} writes torn, {} names taken back, {unheard} commits unheard of; {violations} violations",
            lost.torn, lost.names
        );
        assert!(lost.dropped > 0 && lost.torn > 0, "{life}: {self:?}");
    }
}

fn add(left: Lost, right: Lost) -> Lost {
    Lost {
        unsynced: left.unsynced + right.unsynced,
        dropped: left.dropped + right.dropped,
        torn: left.torn + right.torn,
        names: left.names + right.names,
    }
}

/// A folder in memory, for there are many of them.
pub(crate) fn image_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Hashes every row of every table, but what is counted anew at each opening.
fn content(path: &Path) -> u64 {
    let file = rusqlite::Connection::open(path).unwrap();
    let mut names = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut hasher = DefaultHasher::new();
    for name in names {
        name.hash(&mut hasher);
        let mut rows = Vec::new();
        let mut statement = file.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<_> = (0..columns).map(|column| row.get_ref(column).unwrap()).collect();
            if !matches!(values[0], ValueRef::Text(key) if COUNTED.iter().any(|name| name.as_bytes() == key)) {
                rows.push(hash(&values));
            }
        }
        rows.sort_unstable();
        rows.hash(&mut hasher);
    }
    hasher.finish()
}

fn hash(values: &[ValueRef<'_>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for value in values {
        match value {
            ValueRef::Null => 0_u8.hash(&mut hasher),
            ValueRef::Integer(number) => (1_u8, number).hash(&mut hasher),
            ValueRef::Real(number) => (2_u8, number.to_bits()).hash(&mut hasher),
            ValueRef::Text(bytes) => (3_u8, bytes).hash(&mut hasher),
            ValueRef::Blob(bytes) => (4_u8, bytes).hash(&mut hasher),
        }
    }
    hasher.finish()
}
