//! What a disk was asked, so that the power can be cut at each operation afterwards without doing it all again.
//!
//! Invariant: the image of a cut is what [`crate::Fault::CutAt`] with the same operation could have left.

use std::path::Path;

use crate::Lost;
use crate::dice::Dice;
use crate::platter::{Files, Platter, Step};

/// Everything that a folder's SQLite files were asked since the recording began.
#[derive(Debug)]
pub struct Recording {
    start: Files,
    steps: Vec<(u64, Step)>,
}

/// What a power cut leaves: files, by their path below the folder.
#[derive(Debug)]
pub struct Image {
    files: Files,
    lost: Lost,
}

/// Goes through a recording, operation by operation.
#[derive(Debug)]
pub struct Walk<'r> {
    files: Files,
    platter: Platter,
    steps: std::slice::Iter<'r, (u64, Step)>,
    lying: bool,
}

impl Recording {
    pub(crate) fn new(start: Files, steps: Vec<(u64, Step)>) -> Self {
        Self { start, steps }
    }

    /// Begins at the first operation.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        Walk { files: self.start.clone(), platter: Platter::default(), steps: self.steps.iter(), lying: false }
    }

    /// Counts the operations.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.steps.len()
    }

    /// As [`Recording::walk`], on a disk whose syncs do nothing: what a checker must not let pass.
    #[must_use]
    pub fn walk_lying(&self) -> Walk<'_> {
        Walk { lying: true, ..self.walk() }
    }
}

impl Walk<'_> {
    /// Takes the next operation, which is under way then; returns its number as [`crate::Disk::operations`]
    /// counted it, or nothing at the end.
    pub fn step(&mut self) -> Option<u64> {
        let (number, step) = self.steps.next()?;
        match step {
            Step::Made { path } => {
                self.files.insert(path.clone(), Vec::new());
            }
            Step::Deleted { path, .. } => {
                self.files.remove(path);
            }
            Step::Changed { path, change } => change.redo(self.files.entry(path.clone()).or_default()),
            Step::Synced { .. } | Step::SyncedNames => {}
        }
        if !(self.lying && matches!(step, Step::Synced { .. } | Step::SyncedNames)) {
            self.platter.take(step.clone());
        }
        Some(*number)
    }

    /// Returns the files as they are while the power is on.
    #[must_use]
    pub fn live(&self) -> Image {
        Image { files: self.files.clone(), lost: Lost::default() }
    }

    /// Cuts the power after the operation that was taken last and before the next one; what is left of what
    /// was not synced is up to the seed.
    #[must_use]
    pub fn cut(&self, seed: u64) -> Image {
        let mut files = self.files.clone();
        let lost = self.platter.clone().cut(&mut files, &mut Dice::new(seed));
        Image { files, lost }
    }
}

impl Image {
    /// Writes the files into an empty folder.
    ///
    /// # Errors
    /// If the folder can not be written.
    pub fn write_to(&self, folder: &Path) -> std::io::Result<()> {
        self.files.iter().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes))
    }

    /// Returns what the cut took.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.lost
    }
}
