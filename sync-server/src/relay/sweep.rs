//! When the relay looks for what may go of its workspaces (`workspace/sweep.rs` says what).
//!
//! Invariant: only workspaces that are in memory are looked at: nobody has opened the others since they were.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Relay, lock};
use crate::log::LogError;
use crate::workspace::Workspace;
use crate::writer::Job;

/// How often the relay looks for what may go at least, and how often in a retention that is shorter.
const SWEEP_EVERY_MS: u64 = 3_600_000;
const SWEEPS_IN_RETENTION: u32 = 4;

impl Relay {
    /// Deletes what a snapshot stands for, once it has had enough words for so long; without this nothing goes.
    #[must_use]
    pub fn pruning_after(mut self, retention: Option<Duration>) -> Self {
        self.retention = retention;
        self
    }

    /// Looks through the workspaces in memory for what may go, if it is time to.
    ///
    /// # Errors
    /// [`LogError`] if the log of some workspace can not be read; the others were looked at.
    pub fn sweep_if_due(&self) -> Result<(), LogError> {
        let Some(retention) = self.retention else {
            return Ok(());
        };
        let (now, every) = (self.steady_ms(), as_ms(retention / SWEEPS_IN_RETENTION).clamp(1, SWEEP_EVERY_MS));
        let last = self.swept_ms.load(Ordering::Relaxed);
        if last > 0 && now.saturating_sub(last) < every {
            return Ok(());
        }
        self.swept_ms.store(now.max(1), Ordering::Relaxed);
        let loaded: Vec<_> = lock(&self.workspaces).loaded.values().cloned().collect();
        // What is damaged of one workspace does not keep the others from being looked at.
        let mut outcome = Ok(());
        for workspace in loaded {
            outcome = outcome.and(self.sweep(&workspace, retention));
        }
        outcome
    }

    fn sweep(&self, workspace: &Arc<Workspace>, retention: Duration) -> Result<(), LogError> {
        let retention_ms = i64::try_from(as_ms(retention)).unwrap_or(i64::MAX);
        if let Some(swept) = workspace.sweep(self.log(), self.now_ms(), retention_ms)? {
            let mut judge = workspace.judge(self.log())?;
            judge.free(swept.freed_bytes);
            self.queue.push(Job::Swept { workspace: Arc::clone(workspace), swept });
        }
        Ok(())
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
