//! `shed`: the relay's disk stands still for some seconds, while more is sent to it than it may hold.
//!
//! Invariant: what waits for the disk is bounded ([`WAITING_BYTES_MAX`]), and so is the relay's memory; whoever is above
//! that is told to come back later, does, and in the end everything has its receipt.
//!
//! The disk stands still because another connection holds SQLite's write lock: for the relay's writer it is the same.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::time::{Instant, sleep};
use tombolo_relay::writer::{BYTES_PER_COMMIT_MAX, WAITING_BYTES_MAX};

use super::crowd::{Crowd, Habits};
use crate::error::BenchError;
use crate::measure::PATIENCE;
use crate::note;
use crate::relay::Relay;
use crate::report::{RSS, Report, SECONDS, System};

/// Writers: with their credits of 1 MiB more than twice what may wait.
const WRITERS: u32 = 320;
/// Sealed bytes of an entry, so large that the signing of them is not the limit.
const ENTRY_BYTES: usize = 32 << 10;
/// How long the disk stands still; the relay waits five seconds for a lock before its commit fails.
const STILL: Duration = Duration::from_secs(4);
/// Memory that the relay may take: what waits, once as it came and once as it is written, and a commit under way;
/// and what its sessions take before one byte is sent.
const MEMORY_KIB_MAX: f64 = ((2 * WAITING_BYTES_MAX + 2 * BYTES_PER_COMMIT_MAX + (64 << 20)) >> 10) as f64;

pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("relay");
    let relay = Relay::start(&data)?;
    let every = Duration::from_millis(50);
    let habits = Habits { rooms: WRITERS, readers: true, writers: WRITERS, every, bytes: ENTRY_BYTES, first: 0 };
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    let most = stand_still(&data, &relay, &crowd).await?;
    let start = Instant::now();
    crowd.rest().await?;
    crowd.wait_in_step(2 * u64::from(WRITERS), PATIENCE).await?;
    let back = start.elapsed().as_secs_f64();
    let (sent, ends) = (crowd.tally.sent.load(Relaxed), crowd.tally.ends());
    let found = crowd.audit().await?;
    note(&format_args!(
        "shed: {sent} sent, {found} with a receipt found again, all in step {back:.1} s later; relay {:.1} MiB at most; ends: {ends:?}",
        most / 1024.0
    ));
    report.add("load/shed", System::Tombolo, RSS, most);
    report.add("load/shed", System::Tombolo, SECONDS, back);
    if !ends.contains_key(TURNED_AWAY) || ends.len() > 1 {
        return Err(BenchError::Wrong("sessions should end for overload, and for nothing else"));
    }
    if found != sent {
        return Err(BenchError::Wrong("an entry without a receipt"));
    }
    if most > MEMORY_KIB_MAX { Err(BenchError::Wrong("the relay holds more than may wait")) } else { Ok(()) }
}

/// How a session ends that is turned away, in the words of the tally.
const TURNED_AWAY: &str = "Overloaded with retry_after";

/// Lets the relay's disk stand still while everybody writes; returns the most memory that it took.
async fn stand_still(data: &Path, relay: &Relay, crowd: &Crowd) -> Result<f64, BenchError> {
    let mut connection = Connection::open(data.join("log.sqlite"))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let lock = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    crowd.write(true);
    let (start, mut most) = (Instant::now(), 0.0_f64);
    while start.elapsed() < STILL {
        // waits: a look is finer than what memory changes by.
        sleep(Duration::from_millis(100)).await;
        most = most.max(relay.rss_kib()?);
    }
    crowd.write(false);
    lock.rollback()?;
    Ok(most)
}
