//! What many sessions have seen together: how many, how fast, how it ended.
//!
//! Invariant: counting takes no lock and no memory, however long a run is; a latency is known to within 5 %.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::session::Lost;

/// Steps of 5 % from a microsecond to more than an hour.
const STEPS: usize = 460;
const STEP: f64 = 1.05;

/// Latencies, counted by how long they are.
pub(crate) struct Latencies {
    steps: Vec<AtomicU64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { steps: (0..STEPS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Latencies {
    pub(crate) fn add(&self, latency: Duration) {
        let us = latency.as_micros().max(1) as f64;
        let step = (us.ln() / STEP.ln()) as usize;
        if let Some(counter) = self.steps.get(step.min(STEPS - 1)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Takes what was counted, and begins anew.
    pub(crate) fn take(&self) -> Counted {
        Counted(self.steps.iter().map(|step| step.swap(0, Relaxed)).collect())
    }
}

/// Latencies of some time.
#[derive(Clone, Default)]
pub(crate) struct Counted(Vec<u64>);

impl Counted {
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.resize(STEPS, 0);
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns below how many milliseconds this share lies.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let wanted = (self.count() as f64 * share).ceil();
        let mut below = 0;
        let step = self.0.iter().position(|count| {
            below += count;
            below as f64 >= wanted
        });
        step.map_or(f64::NAN, |step| STEP.powi(i32::try_from(step + 1).unwrap_or(i32::MAX)) / 1000.0)
    }
}

/// What a crowd counts.
#[derive(Default)]
pub(crate) struct Tally {
    /// Sessions that have all there is.
    pub(crate) in_step: AtomicU64,
    /// Sessions that began, again or for the first time.
    pub(crate) begun: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) receipted: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// From the append to its receipt.
    pub(crate) receipts: Latencies,
    /// From the append to another device.
    pub(crate) deliveries: Latencies,
    ends: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    pub(crate) fn note_end(&self, lost: Lost) {
        let name = match lost {
            Lost::Gone => "gone".to_owned(),
            Lost::Closed { code, retry_after_ms } => {
                format!("{code:?}{}", if retry_after_ms.is_some() { " with retry_after" } else { "" })
            }
            Lost::Wrong(what) => format!("wrong: {what}"),
        };
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    }

    /// Returns how sessions ended, and how many each way.
    pub(crate) fn ends(&self) -> BTreeMap<String, u64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
