//! `idle`: what a session that says nothing costs the relay, each with a workspace and document of its own; and how
//! fast the relay answers once each of them edits once a second.
//!
//! Invariant: every session is in step before memory is read; the devices' stores lie in memory where
//! the machine has such a folder, for they are not what is measured. A process has too few file descriptors for more
//! than [`DEVICES_MAX`] devices: so many sessions and more are light ones (see `load`), which to the relay are the same.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tombolo::document::Crdt;
use tombolo::{Document, Milestone, Replica};

use crate::error::BenchError;
use crate::load::{Crowd, Habits, Latencies};
use crate::measure::awaited;
use crate::relay::Relay;
use crate::report::{CPU, P50, P99, PER_SECOND, RSS, RSS_PER_SESSION, Report, System};
use crate::scene::{WORDS, splice};

/// A folder in memory on most Linux machines.
const MEMORY_FOLDER: &str = "/dev/shm";
/// Devices of one process: each has four files open, of the 20,000 that are usual at most.
const DEVICES_MAX: usize = 4_000;
/// Sealed bytes of a light session's entry: a few words.
const ENTRY_BYTES: usize = 120;
/// Sessions that are set up before memory is read for the first time, so that threads and caches stand.
const WARM: usize = 8;
/// How long the relay is left alone before its memory is read: longer than it keeps what it judges a workspace by when
/// nobody asks anything of it.
const REST: Duration = Duration::from_secs(5);
/// Edits of each session in the busy part.
const EDITS: u32 = 10;
/// Time between two of them.
const EVERY: Duration = Duration::from_secs(1);

/// Measures once.
pub(crate) async fn run(connections: usize, report: &mut Report) -> Result<(), BenchError> {
    if connections > DEVICES_MAX {
        return run_light(connections, report).await;
    }
    let folder = tempfile::tempdir()?;
    let in_memory = Path::new(MEMORY_FOLDER);
    let stores = if in_memory.is_dir() { TempDir::new_in(in_memory)? } else { tempfile::tempdir()? };
    let relay = Relay::start(&folder.path().join("relay"))?;
    let mut sessions = Vec::with_capacity(connections + WARM);
    for nth in 0..WARM {
        sessions.push(begin(stores.path(), nth, &relay).await?);
    }
    // waits: what was allocated for the handshakes is given back first.
    tokio::time::sleep(REST).await;
    let before = relay.rss_kib()?;
    for nth in WARM..WARM + connections {
        sessions.push(begin(stores.path(), nth, &relay).await?);
    }
    // waits: as above.
    tokio::time::sleep(REST).await;
    let after = relay.rss_kib()?;
    let workload = format!("idle/{connections}");
    report.add(&workload, System::Tombolo, RSS, after);
    report.add(&workload, System::Tombolo, RSS_PER_SESSION, (after - before) / connections as f64);
    let busy = sessions.iter().skip(WARM).map(|(_, document)| document.clone()).collect();
    be_busy(busy, &relay, report).await?;
    for (replica, _) in sessions {
        replica.close().await?;
    }
    Ok(())
}

/// As [`run`], with sessions that have no store of their own: each brings a workspace and then, all in one second, an
/// entry, for which the relay holds all of them awake at once.
async fn run_light(connections: usize, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let empty = relay.rss_kib()?;
    let rooms = u32::try_from(connections).map_err(|_| BenchError::Wrong("so many connections"))?;
    let habits = Habits { rooms, readers: false, writers: rooms, every: EVERY, bytes: ENTRY_BYTES, first: 0 };
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    crowd.write_for(EVERY).await?;
    // waits: what was allocated for the handshakes is given back first.
    tokio::time::sleep(REST).await;
    let full = relay.rss_kib()?;
    let workload = format!("idle/{connections}");
    report.add(&workload, System::Tombolo, RSS, full);
    report.add(&workload, System::Tombolo, RSS_PER_SESSION, (full - empty) / connections as f64);
    let workload = format!("busy/{connections}");
    crowd.tally.receipts.take();
    let (cpu, start) = (relay.cpu_seconds()?, Instant::now());
    crowd.write_for(EVERY * EDITS).await?;
    let (seconds, latencies) = (start.elapsed().as_secs_f64(), crowd.tally.receipts.take());
    report.add(&workload, System::Tombolo, PER_SECOND, latencies.count() as f64 / seconds);
    report.add(&workload, System::Tombolo, P50, latencies.percentile_ms(0.5));
    report.add(&workload, System::Tombolo, P99, latencies.percentile_ms(0.99));
    report.add(&workload, System::Tombolo, CPU, relay.cpu_seconds()? - cpu);
    crowd.audit().await.map(drop)
}

/// Lets each session edit once a second, each at a moment of its own; an edit counts until the relay has it for good.
async fn be_busy(documents: Vec<Document>, relay: &Relay, report: &mut Report) -> Result<(), BenchError> {
    let workload = format!("busy/{}", documents.len());
    let (latencies, start) = (Arc::new(Latencies::default()), tokio::time::Instant::now() + EVERY);
    let (cpu, share) = (relay.cpu_seconds()?, EVERY.div_f64(documents.len() as f64));
    let mut tasks = JoinSet::new();
    for (document, nth) in documents.into_iter().zip(0_u32..) {
        let latencies = Arc::clone(&latencies);
        tasks.spawn(async move {
            for edit in 0..EDITS {
                // waits: edits begin by the clock.
                tokio::time::sleep_until(start + share * nth + EVERY * edit).await;
                let began = Instant::now();
                splice(&document, 0, 0, WORDS).await?;
                awaited("a receipt for an edit", document.wait_for(Milestone::RelayDurable)).await?;
                latencies.add(began.elapsed());
            }
            Ok::<(), BenchError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|_| BenchError::Wrong("a session's edits"))??;
    }
    let latencies = latencies.take();
    report.add(&workload, System::Tombolo, P50, latencies.percentile_ms(0.5));
    report.add(&workload, System::Tombolo, P99, latencies.percentile_ms(0.99));
    report.add(&workload, System::Tombolo, CPU, relay.cpu_seconds()? - cpu);
    Ok(())
}

async fn begin(stores: &Path, nth: usize, relay: &Relay) -> Result<(Replica, Document), BenchError> {
    let replica = Replica::open(stores.join(nth.to_string())).await?;
    let workspace = replica.create_workspace("Idle").await?;
    let document = workspace.create_document(Crdt::Yrs).await?;
    splice(&document, 0, 0, WORDS).await?;
    replica.dial(&relay.address()).await?;
    awaited("a session's document at the relay", document.wait_for(Milestone::RelayDurable)).await?;
    Ok((replica, document))
}
