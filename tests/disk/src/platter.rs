//! What of a folder is on the platter: its files' changes, and its names.
//!
//! Names are kept as file systems with a journal keep them: a power cut leaves the first so many of what
//! was made and deleted since the folder was synced, in order.
//!
//! Invariant: what a step synced is not touched by a cut after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Lost;
use crate::dice::Dice;
use crate::media::{Change, Media};

/// Files and their bytes.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What happened to a file or its name.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Made {
        path: PathBuf,
    },
    Deleted {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    Changed {
        path: PathBuf,
        change: Change,
    },
    /// A file's changes reached the platter; with `names` also what was made and deleted.
    Synced {
        path: PathBuf,
        names: bool,
    },
    /// What was made and deleted reached the platter.
    SyncedNames,
}

#[derive(Clone, Debug)]
enum Name {
    Made { path: PathBuf },
    Deleted { path: PathBuf, bytes: Vec<u8>, media: Media },
}

/// What is not on the platter yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Platter {
    files: BTreeMap<PathBuf, Media>,
    names: Vec<Name>,
}

impl Platter {
    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Made { path } => self.names.push(Name::Made { path }),
            Step::Deleted { path, bytes } => {
                let media = self.files.remove(&path).unwrap_or_default();
                self.names.push(Name::Deleted { path, bytes, media });
            }
            Step::Changed { path, change } => self.files.entry(path).or_default().note(change),
            Step::Synced { path, names } => {
                if let Some(media) = self.files.get_mut(&path) {
                    media.sync();
                }
                if names {
                    self.names.clear();
                }
            }
            Step::SyncedNames => self.names.clear(),
        }
    }

    /// A sync of a file has failed.
    pub(crate) fn forget(&mut self, path: &Path) {
        if let Some(media) = self.files.get_mut(path) {
            media.forget();
        }
    }

    /// Returns the files that a cut may change.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let names = self.names.iter().map(|(Name::Made { path } | Name::Deleted { path, .. })| path);
        self.files.keys().chain(names).map(PathBuf::as_path)
    }

    /// Makes of files what a power cut leaves of them.
    pub(crate) fn cut(mut self, files: &mut Files, dice: &mut Dice) -> Lost {
        let mut lost = Lost::default();
        let count = self.names.len();
        let kept = if dice.one_in(2) { count } else { usize::try_from(dice.below(count as u64 + 1)).unwrap_or(0) };
        for name in self.names.drain(kept..).rev() {
            lost.names += 1;
            match name {
                Name::Made { path } => {
                    self.files.remove(&path);
                    files.remove(&path);
                }
                Name::Deleted { path, bytes, media } => {
                    files.insert(path.clone(), bytes);
                    self.files.insert(path, media);
                }
            }
        }
        for (path, media) in self.files {
            if let Some(bytes) = files.get_mut(&path) {
                media.cut(bytes, dice, &mut lost);
            }
        }
        lost
    }
}
