//! Why a measurement could not be made.
//!
//! Invariant: only [`BenchError::NoTraces`] is a reason to go on with the next workload.

use std::fmt;

/// Why a measurement could not be made.
#[derive(Debug)]
pub(crate) enum BenchError {
    /// The recorded traces are not here.
    NoTraces,
    /// A replica failed.
    Replica(tombolo::Error),
    /// The machine refused something.
    Io(std::io::Error),
    /// The raw SQLite that stands for the limit failed.
    Sqlite(rusqlite::Error),
    /// A CRDT library failed on its own.
    Crdt(&'static str),
    /// A process of ours did not answer as it should.
    Answer(&'static str),
    /// Something did not happen in time.
    Late(&'static str),
    /// The work was done, and its result is wrong.
    Wrong(&'static str),
    /// A line of a file of figures is none.
    Figure {
        /// Which, from 1 on.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A plot could not be drawn.
    Plot(String),
}

impl BenchError {
    /// Tells whether only this workload is impossible here.
    pub(crate) fn is_skip(&self) -> bool {
        matches!(self, Self::NoTraces)
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTraces => f.write_str("no traces in ../shared/data nor in the folder TOMBOLO_TRACES names"),
            Self::Replica(error) => write!(f, "a replica failed: {error}"),
            Self::Io(error) => write!(f, "the machine refused: {error}"),
            Self::Sqlite(error) => write!(f, "raw SQLite failed: {error}"),
            Self::Crdt(what) => write!(f, "a CRDT library failed on its own: {what}"),
            Self::Answer(what) => write!(f, "another process did not answer: {what}"),
            Self::Late(what) => write!(f, "not in time: {what}"),
            Self::Wrong(what) => write!(f, "the result is wrong: {what}"),
            Self::Figure { line, error } => {
                write!(f, "line {line} is no figure ({error}); give a file of what --json printed")
            }
            Self::Plot(why) => write!(f, "a plot could not be drawn: {why}"),
        }
    }
}

impl std::error::Error for BenchError {}

impl From<tombolo::Error> for BenchError {
    fn from(error: tombolo::Error) -> Self {
        Self::Replica(error)
    }
}

impl From<std::io::Error> for BenchError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for BenchError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
