//! `sessions`: what many sessions that say nothing cost the relay, in rooms of two, and how long they take to be there;
//! and what they cost once one of each room has sent a large entry and the other was given it.
//!
//! Invariant: all are in step, and all that was sent has come, before memory is read. `idle` measures fewer of them with
//! real devices; these are light (see `load`), so that a process holds as many as a relay can.

use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::load::{Crowd, Habits};
use crate::relay::Relay;
use crate::report::{CPU, RSS, RSS_PER_SESSION, Report, SECONDS, System};

/// How long the relay is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);
/// Sealed bytes of the large entry: a picture that was pasted, or what a device wrote in a day offline.
const LARGE_BYTES: usize = 128 << 10;
/// Large entries in a second: what any disk takes.
const LARGE_A_SECOND: u32 = 200;

/// Measures once.
pub(crate) async fn run(sessions: u32, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let empty = relay.rss_kib()?;
    let start = Instant::now();
    let habits = large_ones(sessions.div_ceil(2));
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
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
    send_large_ones(&crowd, habits).await?;
    report.add(
        &format!("sessions-used/{sessions}"),
        System::Tombolo,
        RSS_PER_SESSION,
        (relay.rss_kib()? - empty) / f64::from(sessions),
    );
    crowd.audit().await.map(drop)
}

/// Rooms of which each sends one large entry while they are let.
fn large_ones(rooms: u32) -> Habits {
    let every = Duration::from_secs(u64::from(rooms.div_ceil(LARGE_A_SECOND)));
    Habits { rooms, readers: true, writers: rooms, every, bytes: LARGE_BYTES, first: 0 }
}

async fn send_large_ones(crowd: &Crowd, habits: Habits) -> Result<(), BenchError> {
    crowd.write_for(habits.every).await?;
    // waits: what was allocated for the entries is given back first.
    tokio::time::sleep(REST).await;
    Ok(())
}
