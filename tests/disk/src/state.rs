//! One folder: its count of operations, its faults, and which of its names are not synced.
//!
//! Names are kept as file systems with a journal keep them: a power cut leaves the first so many of what
//! was made and deleted since the folder was synced, in order.
//!
//! Invariant: after a cut nothing succeeds until the reboot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::media::{Change, Media};
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
enum Name {
    Made { path: PathBuf },
    Deleted { path: PathBuf, bytes: Vec<u8>, media: Media },
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
    files: BTreeMap<PathBuf, Media>,
    names: Vec<Name>,
    open: usize,
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

    pub(crate) fn note(&mut self, path: &Path, change: Change) {
        if let Change::Cut { tail, .. } = &change {
            self.give_back(tail.len());
        }
        match self.files.get_mut(path) {
            Some(media) => media.note(change),
            None => self.files.entry(path.to_owned()).or_default().note(change),
        }
    }

    pub(crate) fn made(&mut self, path: &Path) {
        self.names.push(Name::Made { path: path.to_owned() });
    }

    pub(crate) fn deleted(&mut self, path: &Path, bytes: Vec<u8>) {
        self.give_back(bytes.len());
        let media = self.files.remove(path).unwrap_or_default();
        self.names.push(Name::Deleted { path: path.to_owned(), bytes, media });
    }

    fn give_back(&mut self, bytes: usize) {
        self.room = self.room.map(|room| room.saturating_add(bytes as u64));
    }

    /// What was written to a file reaches the platter, unless the disk lies.
    pub(crate) fn sync(&mut self, path: &Path) {
        if !self.lying
            && let Some(media) = self.files.get_mut(path)
        {
            media.sync();
        }
    }

    pub(crate) fn sync_failed(&mut self, path: &Path) {
        if let Some(media) = self.files.get_mut(path) {
            media.forget();
        }
    }

    /// What was made and deleted reaches the platter, unless the disk lies.
    pub(crate) fn sync_names(&mut self) {
        if !self.lying {
            self.names.clear();
        }
    }

    pub(crate) fn reboot(&mut self, folder: &Path) -> Result<Lost, RebootError> {
        if self.open > 0 {
            return Err(RebootError::StillOpen { files: self.open });
        }
        self.mend();
        let mut lost = Lost::default();
        if let Some(seed) = self.cut.take() {
            self.lose(folder, &mut Dice::new(seed), &mut lost)
                .map_err(|error| RebootError::Real { kind: error.kind() })?;
        }
        Ok(lost)
    }

    fn lose(&mut self, folder: &Path, dice: &mut Dice, lost: &mut Lost) -> std::io::Result<()> {
        let kept = if dice.one_in(2) { self.names.len() as u64 } else { dice.below(self.names.len() as u64 + 1) };
        while self.names.len() as u64 > kept {
            lost.names += 1;
            match self.names.pop() {
                Some(Name::Made { path }) => {
                    self.files.remove(&path);
                    std::fs::remove_file(&path)?;
                }
                Some(Name::Deleted { path, bytes, media }) => {
                    std::fs::write(&path, bytes)?;
                    self.files.insert(path, media);
                }
                None => {}
            }
        }
        self.names.clear();
        for (path, media) in std::mem::take(&mut self.files) {
            let mut bytes = std::fs::read(&path)?;
            media.cut(&mut bytes, dice, lost);
            std::fs::write(&path, bytes)?;
        }
        forget_memory(folder)
    }
}

/// Deletes what SQLite shares between connections: a file that is memory, and gone with the power.
fn forget_memory(folder: &Path) -> std::io::Result<()> {
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
