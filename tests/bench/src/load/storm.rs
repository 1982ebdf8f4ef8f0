//! `storm`: the relay's process is killed and started again, and all devices come back.
//!
//! Invariant: all are in step again within [`BACK_MAX`] of the relay's return, with the waits of real devices; what had
//! a receipt before the kill is there.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::crowd::{Crowd, Habits};
use crate::error::BenchError;
use crate::note;
use crate::relay::Relay;
use crate::report::{CPU, RSS, Report, SECONDS, System};

/// What the design allows.
const BACK_MAX: Duration = Duration::from_secs(30);
/// How long a storm is watched that takes too long.
const WATCHED_MAX: Duration = Duration::from_secs(180);

pub(crate) async fn run(sessions: u32, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let every = Duration::from_secs(1);
    let habits = Habits { rooms: sessions / 2, readers: true, writers: sessions / 20, every, bytes: 120, first: 0 };
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    crowd.write(true);
    // waits: so long must a session stand before its waits begin anew.
    sleep(Duration::from_secs(12)).await;
    let begun = crowd.tally.begun.load(Relaxed);
    let relay = relay.restart()?;
    let start = Instant::now();
    let all = u64::from(2 * habits.rooms);
    // A session that has not heard of the kill yet is not back.
    while crowd.tally.begun.load(Relaxed) < begun + all || crowd.tally.in_step.load(Relaxed) < all {
        if start.elapsed() > WATCHED_MAX {
            break;
        }
        // waits: a line a second.
        sleep(Duration::from_secs(1)).await;
        let back = crowd.tally.in_step.load(Relaxed);
        note(&format_args!("storm {:3.0} s: {back} of {all} in step", start.elapsed().as_secs_f64()));
    }
    let taken = start.elapsed();
    let workload = format!("load/storm/{sessions}");
    report.add(&workload, System::Tombolo, SECONDS, taken.as_secs_f64());
    report.add(&workload, System::Tombolo, CPU, relay.cpu_seconds()?);
    report.add(&workload, System::Tombolo, RSS, relay.rss_kib()?);
    crowd.rest().await?;
    let (sent, ends) = (crowd.tally.sent.load(Relaxed), crowd.tally.ends());
    let found = crowd.audit().await?;
    note(&format_args!("storm: {sent} sent, {found} with a receipt found again; sessions ended: {ends:?}"));
    if found != sent {
        return Err(BenchError::Wrong("an entry without a receipt"));
    }
    if taken > BACK_MAX { Err(BenchError::Late("all back after a restart")) } else { Ok(()) }
}
