//! A stopwatch, and waiting with an end.
//!
//! Invariant: nothing here waits for ever: what does not come within [`PATIENCE`] is a failed run.

use std::time::{Duration, Instant};

use crate::error::BenchError;

/// Longest wait for anything but a whole trace.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Runs some work and says how many seconds it took.
pub(crate) fn timed<R>(work: impl FnOnce() -> Result<R, BenchError>) -> Result<(R, f64), BenchError> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed().as_secs_f64()))
}

/// Awaits something and says how many seconds it took.
pub(crate) async fn awaited<R, E: Into<BenchError>>(
    what: &'static str,
    work: impl Future<Output = Result<R, E>>,
) -> Result<(R, f64), BenchError> {
    let start = Instant::now();
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => Ok((result.map_err(Into::into)?, start.elapsed().as_secs_f64())),
        Err(_) => Err(BenchError::Late(what)),
    }
}

/// How late a timer of the runtime may be, which counts milliseconds; the peers' clients wait as long in the same way.
const TIMER_LATENESS: Duration = Duration::from_micros(2500);

/// Waits until something is due, to the microsecond: a timer that is late would count as latency of what is measured.
pub(crate) async fn until(due: Instant) {
    // waits: the workload's clock runs.
    tokio::time::sleep_until((due - TIMER_LATENESS).into()).await;
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}
