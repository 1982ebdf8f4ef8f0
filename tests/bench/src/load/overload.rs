//! `overload`: first as much as the relay takes, then three times as much is offered.
//!
//! Invariant: under three times its load it still does [`GOODPUT_MIN`] of what it can, its memory stays bounded, and
//! nothing that has a receipt is lost.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::crowd::{Crowd, Habits};
use crate::error::BenchError;
use crate::note;
use crate::relay::Relay;
use crate::report::{P99, PER_SECOND, RATIO, RSS, Report, System};

/// What the design allows.
const GOODPUT_MIN: f64 = 0.8;
const WRITERS: u32 = 100;
/// How much more is offered than is taken.
const OVER: f64 = 3.0;

pub(crate) async fn run(seconds: f64, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let time = Duration::from_secs_f64(seconds);
    // More again and again, until much less than that is taken: there the relay is full.
    let (mut offered, mut capacity, mut first) = (2_000.0, 0.0_f64, 0);
    loop {
        let taken = offer(&relay, (WRITERS, offered, first), time / 4, None).await?;
        note(&format_args!("overload: {offered:.0} a second offered, {taken:.0} taken"));
        capacity = capacity.max(taken);
        first += WRITERS;
        if taken < 0.6 * offered {
            break;
        }
        offered *= 1.7;
    }
    let before = relay.rss_kib()?;
    let goodput = offer(&relay, (3 * WRITERS, OVER * capacity, first), time, Some(report)).await?;
    let ratio = goodput / capacity;
    note(&format_args!(
        "overload: capacity {capacity:.0}/s; {goodput:.0}/s of {:.0}/s offered ({ratio:.2}); relay {:.1} MiB, {:.1} before",
        OVER * capacity,
        relay.rss_kib()? / 1024.0,
        before / 1024.0
    ));
    report.add("load/overload/capacity", System::Tombolo, PER_SECOND, capacity);
    report.add("load/overload/offered-3", System::Tombolo, PER_SECOND, goodput);
    report.add("load/overload/offered-3", System::Tombolo, RATIO, ratio);
    report.add("load/overload/offered-3", System::Tombolo, RSS, relay.rss_kib()?);
    if ratio < GOODPUT_MIN { Err(BenchError::Wrong("less is taken when more is offered")) } else { Ok(()) }
}

/// Offers so many entries a second; returns how many a second got a receipt.
async fn offer(
    relay: &Relay,
    (writers, rate, first): (u32, f64, u32),
    time: Duration,
    report: Option<&mut Report>,
) -> Result<f64, BenchError> {
    let every = Duration::from_secs_f64(f64::from(writers) / rate);
    let habits = Habits { rooms: writers, readers: true, writers, every, bytes: 120, first };
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    crowd.write(true);
    let start = Instant::now();
    // waits: so long is this much offered.
    sleep(time).await;
    let taken = crowd.tally.receipted.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
    let receipts = crowd.tally.receipts.take();
    crowd.rest().await?;
    if let Some(report) = report {
        report.add("load/overload/offered-3", System::Tombolo, P99, receipts.percentile_ms(0.99));
        note(&format_args!("overload: sessions that ended: {:?}", crowd.tally.ends()));
    }
    crowd.audit().await?;
    Ok(taken)
}
