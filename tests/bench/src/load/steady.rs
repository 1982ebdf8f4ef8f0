//! `steady`: as many sessions as one process holds, a part of which write once a second.
//!
//! Invariant: the relay's memory at the end is that of a quarter of the run, within [`GROWTH_MAX`]: sessions cost
//! memory, time does not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Options;
use super::crowd::{Crowd, Habits};
use super::tally::Counted;
use crate::error::BenchError;
use crate::note;
use crate::relay::Relay;
use crate::report::{CPU, P50, P99, PER_SECOND, RSS, RSS_PER_SESSION, Report, SECONDS, System};

/// Sealed bytes of an entry: a few words.
const ENTRY_BYTES: usize = 120;
/// Memory that may be added while nothing but time passes: caches and a log file's pages.
const GROWTH_MAX: f64 = 1.15;
/// How often the run says how it stands, at most.
const LINE_EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let empty = relay.rss_kib()?;
    let habits = Habits {
        rooms: options.sessions / 2,
        readers: true,
        writers: options.writers,
        every: Duration::from_secs(1),
        bytes: ENTRY_BYTES,
        first: 0,
    };
    let start = Instant::now();
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    let gathered = start.elapsed().as_secs_f64();
    // waits: what was allocated for the handshakes is given back first.
    sleep(Duration::from_secs(2)).await;
    let idle = relay.rss_kib()?;
    let sessions = f64::from(habits.sessions());
    note(&format_args!("steady: {sessions} sessions in {gathered:.1} s, relay {:.1} MiB", idle / 1024.0));
    let workload = format!("load/steady/{}", options.sessions);
    report.add(&workload, System::Tombolo, SECONDS, gathered);
    report.add(&workload, System::Tombolo, RSS_PER_SESSION, (idle - empty) / sessions);
    let cpu = relay.cpu_seconds()?;
    crowd.write(true);
    let time = Duration::from_secs_f64(options.minutes * 60.0);
    let (receipts, deliveries, rss) = watch(&crowd, &relay, time).await?;
    let cpu = relay.cpu_seconds()? - cpu;
    let rate = crowd.tally.sent.load(Relaxed) as f64 / time.as_secs_f64();
    crowd.rest().await?;
    let sent = crowd.tally.sent.load(Relaxed);
    report.add(&workload, System::Tombolo, PER_SECOND, rate);
    report.add(&workload, System::Tombolo, P50, receipts.percentile_ms(0.5));
    report.add(&workload, System::Tombolo, P99, receipts.percentile_ms(0.99));
    report.add(&format!("{workload}/delivery"), System::Tombolo, P50, deliveries.percentile_ms(0.5));
    report.add(&format!("{workload}/delivery"), System::Tombolo, P99, deliveries.percentile_ms(0.99));
    report.add(&workload, System::Tombolo, CPU, cpu);
    let (early, last) = (rss.get(rss.len() / 4), rss.last());
    report.add(&workload, System::Tombolo, RSS, last.copied().unwrap_or(f64::NAN));
    let ends = crowd.tally.ends();
    let found = crowd.audit().await?;
    note(&format_args!("steady: {sent} sent, {found} with a receipt found again, sessions that ended: {ends:?}"));
    if found != sent || !ends.is_empty() {
        return Err(BenchError::Wrong("an entry without a receipt, or a session that ended"));
    }
    match (early, last) {
        (Some(early), Some(last)) if *last > early * GROWTH_MAX => Err(BenchError::Wrong("the relay's memory grows")),
        _ => Ok(()),
    }
}

/// Says now and then how the run stands; returns the latencies and the memory over time.
async fn watch(crowd: &Crowd, relay: &Relay, time: Duration) -> Result<(Counted, Counted, Vec<f64>), BenchError> {
    let (start, every) = (Instant::now(), (time / 10).min(LINE_EVERY));
    let (mut receipts, mut deliveries, mut rss) = (Counted::default(), Counted::default(), Vec::new());
    while start.elapsed() < time {
        // waits: so long until the next line.
        sleep(every).await;
        let (some, seen) = (crowd.tally.receipts.take(), crowd.tally.deliveries.take());
        rss.push(relay.rss_kib()?);
        note(&format_args!(
            "steady {:4.0} s: {:7} receipts, p50 {:.1} ms, p99 {:.1} ms; delivered p99 {:.1} ms; relay {:.1} MiB, {:.1} s of a core",
            start.elapsed().as_secs_f64(),
            some.count(),
            some.percentile_ms(0.5),
            some.percentile_ms(0.99),
            seen.percentile_ms(0.99),
            relay.rss_kib()? / 1024.0,
            relay.cpu_seconds()?,
        ));
        receipts.add(&some);
        deliveries.add(&seen);
    }
    Ok((receipts, deliveries, rss))
}
