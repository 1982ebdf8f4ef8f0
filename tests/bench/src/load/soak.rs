//! `soak`: a small load for an hour, with sessions that come and go and real devices that edit; a line a minute.
//!
//! Invariant: after the first quarter, memory of the relay and of this process with its devices grows no more than
//! [`MEMORY_GROWTH_MAX`], and the relay's disk no more than what is stored in it warrants.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tombolo::document::{Crdt, Value};

use super::Options;
use super::crowd::{Crowd, Habits};
use crate::error::BenchError;
use crate::measure::awaited;
use crate::note;
use crate::relay::Relay;
use crate::report::{BYTES, P99, RSS, Report, System};
use crate::scene::{Scene, WORDS};
use crate::system;

/// Growth of memory from the first quarter's most to the end, in KiB: less than 40 bytes an entry of the run.
const MEMORY_GROWTH_MAX: f64 = 8.0 * 1024.0;
/// Bytes on the relay's disk for each byte of items: rows, indexes, and a log of its own that is written over.
const DISK_RATIO_MAX: f64 = 4.0;
/// Bytes that SQLite's own log and the access log may take whatever is stored.
const DISK_FIXED_MAX: f64 = (64 << 20) as f64;
/// Keys that the devices write over and over: their document does not grow, its history does.
const KEYS: u64 = 50;

struct Line {
    relay_kib: f64,
    own_kib: f64,
    disk: f64,
    stored: f64,
}

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    let rooms = options.soak_sessions / 2;
    let habits = Habits { rooms, writers: (rooms / 5).max(1), every: Duration::from_secs(10), bytes: 120, first: 0 };
    let crowd = Crowd::gather(scene.relay.socket_address()?, habits).await?;
    crowd.write(true);
    let document = scene.workspace.create_document(Crdt::Automerge).await?;
    let (start, mut lines, mut worst, mut edits) = (Instant::now(), Vec::new(), 0.0_f64, 0_u64);
    for minute in 1..=options.soak_minutes {
        while start.elapsed() < Duration::from_secs(60) * minute {
            edits += 1;
            let (key, value) = (format!("key {}", edits % KEYS), Value::from(format!("{WORDS}{edits}").as_str()));
            document.edit(move |edit| edit.put(&key, value)).await?;
            // waits: a person types now and then.
            sleep(Duration::from_secs(1)).await;
        }
        // Somebody comes and goes every minute, and is here again ten minutes later.
        let guests = Habits { rooms: 5, writers: 0, first: 1_000_000 + 10 * (minute % 10), ..habits };
        let guests = Crowd::gather(scene.relay.socket_address()?, guests).await?;
        guests.audit().await?;
        let p99 = crowd.tally.receipts.take().percentile_ms(0.99);
        worst = worst.max(p99);
        let line = look(&scene.relay, &scene.folder.path().join("relay"))?;
        note(&format_args!(
            "soak {minute:3} min: {edits} edits, {} entries; receipts p99 {p99:.1} ms; relay {:.1} MiB, devices {:.1} MiB; disk {:.1} MiB for {:.1} MiB",
            crowd.tally.receipted.load(Relaxed),
            line.relay_kib / 1024.0,
            line.own_kib / 1024.0,
            line.disk / f64::from(1 << 20),
            line.stored / f64::from(1 << 20),
        ));
        lines.push(line);
        judge(&lines)?;
    }
    crowd.rest().await?;
    awaited("alice in step", scene.workspace.settled()).await?;
    awaited("bob in step", scene.theirs.settled()).await?;
    let (sent, found) = (crowd.tally.sent.load(Relaxed), crowd.audit().await?);
    if found != sent {
        return Err(BenchError::Wrong("an entry without a receipt"));
    }
    let workload = format!("load/soak/{}", options.soak_minutes);
    report.add(&workload, System::Tombolo, P99, worst);
    if let Some(last) = lines.last() {
        report.add(&workload, System::Tombolo, RSS, last.relay_kib);
        report.add(&workload, System::Tombolo, BYTES, last.disk);
    }
    Ok(())
}

fn look(relay: &Relay, folder: &Path) -> Result<Line, BenchError> {
    Ok(Line {
        relay_kib: relay.rss_kib()?,
        own_kib: system::memory_kib(std::process::id(), "VmRSS")?,
        disk: system::folder_bytes(folder)?,
        stored: relay.counted()?.stored_bytes,
    })
}

/// Compares the newest line with the first quarter's.
fn judge(lines: &[Line]) -> Result<(), BenchError> {
    let Some(last) = lines.last() else { return Ok(()) };
    if last.disk > last.stored * DISK_RATIO_MAX + DISK_FIXED_MAX {
        return Err(BenchError::Wrong("the relay's disk grows more than what is stored"));
    }
    // The first minutes fill caches.
    let early = lines.iter().take((lines.len() / 4).max(5));
    let most = |field: fn(&Line) -> f64| early.clone().map(field).fold(0.0, f64::max);
    if last.relay_kib > most(|line| line.relay_kib) + MEMORY_GROWTH_MAX {
        return Err(BenchError::Wrong("the relay's memory grows"));
    }
    if last.own_kib > most(|line| line.own_kib) + 4.0 * MEMORY_GROWTH_MAX {
        return Err(BenchError::Wrong("the devices' memory grows"));
    }
    Ok(())
}
