//! One folder: its count of operations, its faults, and what runs on it.
//!
//! Invariant: after a cut nothing succeeds until the reboot.

use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::media::Change;
use crate::platter::{Files, Platter, Step};
use crate::{Fault, Lost, Operation, RebootError};

/// How the disk answers an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It happens.
    Done,
    /// It happens as far as the power lasts, and nobody hears of it.
    Unheard,
    /// It does not happen.
    Error,
}

#[derive(Debug)]
enum Failing {
    Rate { of: Operation, one_in: u64, dice: Dice },
    After { of: Operation, others: u64 },
}

#[derive(Debug, Default)]
pub(crate) struct State {
    operations: u64,
    cut: Option<u64>,
    cut_at: Option<(u64, u64)>,
    room: Option<u64>,
    failing: Vec<Failing>,
    lying: bool,
    platter: Platter,
    open: usize,
    record: Option<Vec<(u64, Step)>>,
}

impl State {
    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    pub(crate) fn cut(&mut self, seed: u64) {
        self.cut.get_or_insert(seed);
    }

    pub(crate) fn fail(&mut self, fault: Fault) {
        match fault {
            Fault::CutAt { operation, seed } => self.cut_at = Some((operation, seed)),
            Fault::Full { bytes } => self.room = Some(bytes),
            Fault::ErrorRate { of, one_in, seed } => {
                self.failing.push(Failing::Rate { of, one_in, dice: Dice::new(seed) });
            }
            Fault::ErrorAfter { of, others } => self.failing.push(Failing::After { of, others }),
            Fault::LyingSync => self.lying = true,
        }
    }

    pub(crate) fn mend(&mut self) {
        self.cut_at = None;
        self.room = None;
        self.failing.clear();
        self.lying = false;
    }

    /// Counts an operation and says what becomes of it.
    pub(crate) fn ask(&mut self, of: Operation) -> Answer {
        if self.is_cut() {
            return Answer::Error;
        }
        if of != Operation::Read {
            self.operations += 1;
        }
        if let Some((_, seed)) = self.cut_at.filter(|(at, _)| of != Operation::Read && *at <= self.operations) {
            self.cut = Some(seed);
            return Answer::Unheard;
        }
        if self.fails(of) { Answer::Error } else { Answer::Done }
    }

    fn fails(&mut self, asked: Operation) -> bool {
        let mut fails = false;
        self.failing.retain_mut(|failing| match failing {
            Failing::Rate { of, one_in, dice } => {
                fails |= *of == asked && dice.one_in(*one_in);
                true
            }
            Failing::After { of, others } if *of == asked => {
                fails |= *others == 0;
                let goes_on = *others > 0;
                *others = others.saturating_sub(1);
                goes_on
            }
            Failing::After { .. } => true,
        });
        fails
    }

    /// Takes room for so many bytes more, if there is.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        match self.room {
            Some(room) if room < bytes => false,
            Some(room) => {
                self.room = Some(room - bytes);
                true
            }
            None => true,
        }
    }

    pub(crate) fn opened(&mut self) {
        self.open += 1;
    }

    pub(crate) fn closed(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Takes note of what happened to a file or its name; returns nothing, because it has happened.
    pub(crate) fn note(&mut self, step: Step) {
        let freed = match &step {
            Step::Changed { change: Change::Cut { tail, .. }, .. } => tail.len(),
            Step::Deleted { bytes, .. } => bytes.len(),
            _ => 0,
        };
        self.room = self.room.map(|room| room.saturating_add(freed as u64));
        if let Some(record) = &mut self.record {
            record.push((self.operations, step.clone()));
        }
        // A disk that lies says that it has synced, and has not.
        if !(self.lying && matches!(step, Step::Synced { .. })) {
            self.platter.take(step);
        }
    }

    pub(crate) fn sync_failed(&mut self, path: &Path) {
        self.platter.forget(path);
    }

    pub(crate) fn record(&mut self) {
        self.record = Some(Vec::new());
    }

    pub(crate) fn recorded(&mut self) -> Vec<(u64, Step)> {
        self.record.take().unwrap_or_default()
    }

    pub(crate) fn must_be_closed(&self) -> Result<(), RebootError> {
        if self.open > 0 { Err(RebootError::StillOpen { files: self.open }) } else { Ok(()) }
    }

    pub(crate) fn reboot(&mut self) -> Result<Lost, RebootError> {
        self.must_be_closed()?;
        self.mend();
        let platter = std::mem::take(&mut self.platter);
        match self.cut.take() {
            Some(seed) => lose(platter, &mut Dice::new(seed)).map_err(|error| RebootError::Real { kind: error.kind() }),
            None => Ok(Lost::default()),
        }
    }
}

fn lose(platter: Platter, dice: &mut Dice) -> std::io::Result<Lost> {
    let paths: Vec<PathBuf> = platter.paths().map(Path::to_owned).collect();
    let mut files = Files::new();
    for path in &paths {
        if path.exists() {
            files.insert(path.clone(), std::fs::read(path)?);
        }
    }
    let lost = platter.cut(&mut files, dice);
    for path in paths {
        match files.get(&path) {
            Some(bytes) => std::fs::write(&path, bytes)?,
            None if path.exists() => std::fs::remove_file(&path)?,
            None => {}
        }
    }
    Ok(lost)
}

/// Deletes what SQLite shares between connections: a file that is memory, and gone with the power.
pub(crate) fn forget_memory(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget_memory(&entry.path())?;
        } else if entry.file_name().as_encoded_bytes().ends_with(b"-shm") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
