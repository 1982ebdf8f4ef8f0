//! A clock for open loops, and figures.
//!
//! Invariant: a latency counts from the moment an edit was due, so a stall is seen by every edit behind it.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::Outcome;
use crate::client::Document;

/// From the call of [`edits`] to its first edit.
const RUN_UP: Duration = Duration::from_millis(100);
/// How late a timer of the runtime may be, which counts milliseconds.
const TIMER_LATENESS: Duration = Duration::from_micros(2500);

/// Prints a figure.
pub(crate) fn figure(metric: &str, unit: &str, value: f64) {
    println!(r#"{{"metric":"{metric}","unit":"{unit}","value":{value}}}"#);
}

/// Prints the median and the 99th percentile of milliseconds.
pub(crate) fn percentiles(mut samples: Vec<f64>) {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let nth = (samples.len().saturating_sub(1) as f64 * share).round() as usize;
        samples.get(nth).copied().unwrap_or_default()
    };
    figure("p50_ms", "ms", at(0.5));
    figure("p99_ms", "ms", at(0.99));
}

/// Milliseconds from when edits were due to when they came.
pub(crate) fn latencies<'a>(due: &'a [Instant], arrived: &'a [Instant]) -> impl Iterator<Item = f64> + 'a {
    due.iter().zip(arrived).map(|(due, arrived)| arrived.saturating_duration_since(*due).as_secs_f64() * 1e3)
}

/// Waits until something holds, which is looked at each millisecond.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        // waits: between two looks.
        sleep(Duration::from_millis(1)).await;
    }
}

/// Edits by the clock; returns when each was due.
pub(crate) async fn edits(writer: &Document, count: u32, per_second: u32) -> Outcome<Vec<Instant>> {
    let first = Instant::now() + RUN_UP;
    let due: Vec<Instant> = (0..count).map(|nth| first + Duration::from_secs(1) * nth / per_second).collect();
    for at in &due {
        // waits: the loop is open, edits begin by the clock, to the microsecond.
        sleep_until(*at - TIMER_LATENESS).await;
        while Instant::now() < *at {
            tokio::task::yield_now().await;
        }
        writer.append()?;
        tokio::task::yield_now().await;
    }
    Ok(due)
}
