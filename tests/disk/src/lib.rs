//! A disk that fails on purpose: power cuts, torn writes, errors and no room, for every SQLite file below a folder.
//!
//! SQLite asks a VFS for its files. The one here stands in front of the system's own, becomes the default
//! when the first [`Disk`] is mounted, and hands everything through but what lies below a mounted folder;
//! so the product's code is the same with and without it. The files are real. What was written to them and
//! not synced is remembered, and a power cut takes a random part of it back.
//!
//! | module | one sentence |
//! |---|---|
//! | `media` | what of a file's changes is on the platter, and what a cut leaves of the rest |
//! | `platter` | the same for a folder, whose names are not synced either |
//! | `state` | one folder: its count of operations, its faults |
//! | `record` | everything that was asked, to cut the power at each operation of one run |
//! | `shim` | SQLite's side; the only unsafe code of the workspace |
//! | `dice` | chance that a seed decides |
//!
//! Invariant: what was synced before the cut is there after it (but under [`Fault::LyingSync`]), and the
//! same seed and the same operations leave the same bytes.

mod dice;
mod media;
mod platter;
mod record;
mod shim;
mod state;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use platter::{Files, Step};
pub use record::{Image, Recording, Walk};
use state::State;

/// What is asked of a disk, as faults tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Bytes are read.
    Read,
    /// Bytes are written, a file is made, cut or deleted.
    Write,
    /// What was written is to reach the platter.
    Sync,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The power fails in the middle of the write or sync of this number, counted as [`Disk::operations`] does.
    CutAt {
        /// The operation.
        operation: u64,
        /// Decides what is left of what was not synced.
        seed: u64,
    },
    /// There is room for this many bytes more.
    Full {
        /// How many.
        bytes: u64,
    },
    /// Operations of a kind fail with an input/output error, one in so many on average.
    ErrorRate {
        /// Of which kind.
        of: Operation,
        /// One in how many.
        one_in: u64,
        /// Decides which.
        seed: u64,
    },
    /// One operation fails: the one that comes after so many others of its kind.
    ErrorAfter {
        /// Of which kind.
        of: Operation,
        /// How many go well first.
        others: u64,
    },
    /// Syncs succeed and do nothing. No store survives this; it shows that a checker would see a loss.
    LyingSync,
}

/// What a power cut found that was not synced, and what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Changes of files that were not synced.
    pub unsynced: usize,
    /// Of these, how many are gone.
    pub dropped: usize,
    /// Of these, how many are there in part.
    pub torn: usize,
    /// Files that were made or deleted, and now were not.
    pub names: usize,
}

/// Why a disk can not start again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RebootError {
    /// SQLite still has files open: what runs has not ended yet.
    StillOpen {
        /// How many.
        files: usize,
    },
    /// The real disk below failed.
    Real {
        /// How.
        kind: std::io::ErrorKind,
    },
}

impl std::fmt::Display for RebootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::StillOpen { files } => write!(f, "{files} files are still open; drop every connection first"),
            Self::Real { kind } => write!(f, "the real disk: {kind}"),
        }
    }
}

impl std::error::Error for RebootError {}

/// A folder whose SQLite files are on a disk that can fail, until this is dropped.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let disk = tombolo_disk::Disk::mount(folder.path())?;
/// let file = rusqlite::Connection::open(folder.path().join("file"))?;
/// file.execute_batch("CREATE TABLE word (word TEXT)")?;
/// disk.power_cut(7);
/// assert!(file.execute_batch("INSERT INTO word VALUES ('lost')").is_err());
/// drop(file);
/// disk.reboot()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Disk {
    /// Puts a folder on a disk of its own; files that are opened below it from now on are on that disk.
    ///
    /// # Errors
    /// If the folder is not there.
    pub fn mount(folder: &Path) -> std::io::Result<Self> {
        let folder = folder.canonicalize()?;
        let state = Arc::new(Mutex::new(State::default()));
        shim::mount(&folder, Arc::clone(&state));
        Ok(Self { folder, state })
    }

    /// Counts the writes and syncs so far; making, cutting and deleting a file are writes.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations()
    }

    /// Lets something go wrong from now on; several faults add up.
    pub fn fail(&self, fault: Fault) {
        self.state().fail(fault);
    }

    /// Ends every fault; a cut stays until [`Disk::reboot`].
    pub fn mend(&self) {
        self.state().mend();
    }

    /// Cuts the power: every operation fails until [`Disk::reboot`], which leaves of what was not synced
    /// what this seed decides.
    pub fn power_cut(&self, seed: u64) {
        self.state().cut(seed);
    }

    /// Tells whether the power is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state().is_cut()
    }

    /// Starts again, without faults: after a cut, with what of the files is on the platter.
    ///
    /// # Errors
    /// [`RebootError::StillOpen`] while a connection lives; then nothing has changed.
    pub fn reboot(&self) -> Result<Lost, RebootError> {
        let lost = self.state().reboot()?;
        let forgotten = state::forget_memory(&self.folder);
        forgotten.map_err(|error| RebootError::Real { kind: error.kind() })?;
        Ok(lost)
    }

    /// Keeps everything that is asked from now on, until [`Recorder::end`].
    ///
    /// # Errors
    /// [`RebootError::StillOpen`] while a connection lives: a recording begins with files that are closed.
    pub fn record(&self) -> Result<Recorder<'_>, RebootError> {
        let mut state = self.state();
        state.must_be_closed()?;
        let start = files_of(&self.folder).map_err(|error| RebootError::Real { kind: error.kind() })?;
        state.record();
        Ok(Recorder { disk: self, start })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Keeps what a disk is asked.
#[derive(Debug)]
pub struct Recorder<'d> {
    disk: &'d Disk,
    start: Files,
}

impl Recorder<'_> {
    /// Ends the recording.
    #[must_use]
    pub fn end(self) -> Recording {
        let below = |path: &mut PathBuf| {
            if let Ok(name) = path.strip_prefix(&self.disk.folder) {
                *path = name.to_owned();
            }
        };
        let mut steps = self.disk.state().recorded();
        for (_, step) in &mut steps {
            match step {
                Step::Made { path }
                | Step::Deleted { path, .. }
                | Step::Changed { path, .. }
                | Step::Synced { path, .. } => below(path),
                Step::SyncedNames => {}
            }
        }
        Recording::new(self.start, steps)
    }
}

/// Reads the files of a folder, by their names.
fn files_of(folder: &Path) -> std::io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.insert(PathBuf::from(entry.file_name()), std::fs::read(entry.path())?);
        }
    }
    Ok(files)
}

impl Drop for Disk {
    fn drop(&mut self) {
        shim::unmount(&self.folder);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
