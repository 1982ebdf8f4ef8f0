//! `sessions`: what many sessions that say nothing cost the relay, in rooms of two, and how long they take to be there.
//!
//! Invariant: all are in step before memory is read. `idle` measures fewer of them with real devices; these are light
//! (see `load`), so that a process holds as many as a relay can.

use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::load::{Crowd, Habits};
use crate::relay::Relay;
use crate::report::{CPU, RSS, RSS_PER_SESSION, Report, SECONDS, System};

/// How long the relay is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);

/// Measures once.
pub(crate) async fn run(sessions: u32, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let empty = relay.rss_kib()?;
    let start = Instant::now();
    let crowd = Crowd::gather(relay.socket_address()?, Habits::silent(sessions.div_ceil(2))).await?;
    let gathered = start.elapsed().as_secs_f64();
    let cpu = relay.cpu_seconds()?;
    // waits: what was allocated for the handshakes is given back first.
    tokio::time::sleep(REST).await;
    let full = relay.rss_kib()?;
    let workload = format!("sessions/{sessions}");
    report.add(&workload, System::Tombolo, SECONDS, gathered);
    report.add(&workload, System::Tombolo, CPU, cpu);
    report.add(&workload, System::Tombolo, RSS, full);
    report.add(&workload, System::Tombolo, RSS_PER_SESSION, (full - empty) / f64::from(sessions));
    crowd.audit().await.map(drop)
}
