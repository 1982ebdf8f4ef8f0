//! `idle`: what a session that says nothing costs the relay, each with a workspace and document of its own; and how
//! fast the relay answers once each of them edits once a second.
//!
//! Invariant: every session is in step before memory is read; the devices' stores lie in memory where
//! the machine has such a folder, for they are not what is measured.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tombolo::document::Crdt;
use tombolo::{Document, Milestone, Replica};

use crate::error::BenchError;
use crate::load::Latencies;
use crate::measure::awaited;
use crate::relay::Relay;
use crate::report::{CPU, P50, P99, RSS, RSS_PER_SESSION, Report, System};
use crate::scene::{WORDS, splice};

/// A folder in memory on most Linux machines.
const MEMORY_FOLDER: &str = "/dev/shm";
/// Sessions that are set up before memory is read for the first time, so that threads and caches stand.
const WARM: usize = 8;
/// How long the relay is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);
/// Edits of each session in the busy part.
const EDITS: u32 = 10;
/// Time between two of them.
const EVERY: Duration = Duration::from_secs(1);

/// Measures once.
pub(crate) async fn run(connections: usize, report: &mut Report) -> Result<(), BenchError> {
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
