//! `idle`: what a session that says nothing costs the relay, each with a workspace and document of its own.
//!
//! Invariant: every session is in step before memory is read; the devices' stores lie in memory where
//! the machine has such a folder, for they are not what is measured.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tombolo::document::Crdt;
use tombolo::{Milestone, Replica};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::relay::Relay;
use crate::report::{RSS, RSS_PER_SESSION, Report, System};
use crate::scene::{WORDS, splice};

/// A folder in memory on most Linux machines.
const MEMORY_FOLDER: &str = "/dev/shm";
/// Sessions that are set up before memory is read for the first time, so that threads and caches stand.
const WARM: usize = 8;
/// How long the relay is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);

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
    for session in sessions {
        session.close().await?;
    }
    Ok(())
}

async fn begin(stores: &Path, nth: usize, relay: &Relay) -> Result<Replica, BenchError> {
    let replica = Replica::open(stores.join(nth.to_string())).await?;
    let workspace = replica.create_workspace("Idle").await?;
    let document = workspace.create_document(Crdt::Yrs).await?;
    splice(&document, 0, 0, WORDS).await?;
    replica.dial(&relay.address()).await?;
    awaited("a session's document at the relay", document.wait_for(Milestone::RelayDurable)).await?;
    Ok(replica)
}
