//! What happened, as one hash and as the last lines that a failing test prints.
//!
//! Invariant: everything that a seed decides goes into the hash, with its time.

use std::collections::VecDeque;
use std::time::Duration;

use ring::digest::{Context, SHA256};

/// Lines kept for a failing test.
const LINES_MAX: usize = 80;

/// The record of one history.
pub struct Trace {
    context: Context,
    lines: VecDeque<String>,
    steps: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { context: Context::new(&SHA256), lines: VecDeque::new(), steps: 0 }
    }
}

impl Trace {
    /// Notes what happened, and the bytes it was about.
    pub fn note(&mut self, at: Duration, what: String, bytes: &[u8]) {
        self.steps += 1;
        self.context.update(&at.as_nanos().to_be_bytes());
        self.context.update(what.as_bytes());
        self.context.update(&(bytes.len() as u64).to_be_bytes());
        self.context.update(bytes);
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>14.6} {what} ({} bytes)", at.as_secs_f64(), bytes.len()));
    }

    /// Returns how much has happened.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> String {
        data_encoding::HEXLOWER.encode(self.context.clone().finish().as_ref())
    }

    /// Returns the last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
