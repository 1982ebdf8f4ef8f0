//! `soak`: a small load for an hour, with sessions that come and go and real devices that edit; a line a minute.
//!
//! Invariant: once its caches are full, the relay keeps nothing of an entry in memory ([`ENTRY_KEPT_MAX`]), and its disk
//! grows no more than what is stored in it warrants; this process with its devices stays within [`OWN_GROWTH_MAX`].
//!
//! The relay's memory does grow at first, and is meant to: the writing connection of its log fills a page cache of 4 MiB,
//! and workspaces that somebody had open stay in memory, 1,024 of them. At a few entries a second the first alone takes
//! half an hour. So the load is a hundred entries a second, the guests of the first minutes are those of the later ones,
//! and what is judged is the slope behind that: bytes of memory against entries.

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

/// Time between two entries of a writer: with a fifth of the rooms of 200 sessions a hundred a second.
const EVERY: Duration = Duration::from_millis(200);
/// Rooms of guests that come at once.
const GUEST_ROOMS: u32 = 20;
/// Sets of guests, one a minute, before the first set comes again.
const GUEST_SETS: u32 = 5;
/// Minutes in which caches fill, at least: every set of guests has been there, and the log's page cache is full after
/// three.
const WARM_UP: usize = 8;
/// Minutes that a slope is taken of, at least: in fewer, a step of the allocator is as much as is looked for.
const JUDGED_MIN: usize = 12;
/// Bytes that an entry may leave in the relay's memory: half of the hash that the least map of entries would keep.
const ENTRY_KEPT_MAX: f64 = 16.0;
/// Growth of this process' memory, in KiB: the devices' history of edits, and a fingerprint of each entry.
const OWN_GROWTH_MAX: f64 = 32.0 * 1024.0;
/// Bytes on the relay's disk for each byte of items: rows, indexes, and a log of its own that is written over.
const DISK_RATIO_MAX: f64 = 4.0;
/// Bytes that SQLite's own log and the access log may take whatever is stored.
const DISK_FIXED_MAX: f64 = (64 << 20) as f64;
/// Keys that the devices write over and over: their document does not grow, its history does.
const KEYS: u64 = 50;

struct Line {
    entries: f64,
    relay_kib: f64,
    own_kib: f64,
    disk: f64,
    stored: f64,
}

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    let rooms = options.soak_sessions / 2;
    let habits = Habits { rooms, readers: true, writers: (rooms / 5).max(1), every: EVERY, bytes: 120, first: 0 };
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
        // Somebody comes and goes every minute, and is here again some minutes later.
        let first = 1_000_000 + GUEST_ROOMS * (minute % GUEST_SETS);
        let guests = Habits { rooms: GUEST_ROOMS, writers: 0, first, ..habits };
        let guests = Crowd::gather(scene.relay.socket_address()?, guests).await?;
        guests.audit().await?;
        let p99 = crowd.tally.receipts.take().percentile_ms(0.99);
        worst = worst.max(p99);
        let entries = crowd.tally.receipted.load(Relaxed);
        let line = look(&scene.relay, &scene.folder.path().join("relay"), entries)?;
        note(&format_args!(
            "soak {minute:3} min: {edits} edits, {entries} entries; receipts p99 {p99:.1} ms; relay {:.1} MiB, devices {:.1} MiB; disk {:.1} MiB for {:.1} MiB",
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
    if let Some(kept) = kept_of_an_entry(&lines) {
        note(&format_args!(
            "soak: {kept:.1} bytes of the relay's memory for an entry, of the slope behind its warm-up"
        ));
    }
    let workload = format!("load/soak/{}", options.soak_minutes);
    report.add(&workload, System::Tombolo, P99, worst);
    if let Some(last) = lines.last() {
        report.add(&workload, System::Tombolo, RSS, last.relay_kib);
        report.add(&workload, System::Tombolo, BYTES, last.disk);
    }
    Ok(())
}

fn look(relay: &Relay, folder: &Path, entries: u64) -> Result<Line, BenchError> {
    Ok(Line {
        entries: entries as f64,
        relay_kib: relay.rss_kib()?,
        own_kib: system::memory_kib(std::process::id(), "VmRSS")?,
        disk: system::folder_bytes(folder)?,
        stored: relay.counted()?.stored_bytes,
    })
}

fn judge(lines: &[Line]) -> Result<(), BenchError> {
    let Some(last) = lines.last() else { return Ok(()) };
    if last.disk > last.stored * DISK_RATIO_MAX + DISK_FIXED_MAX {
        return Err(BenchError::Wrong("the relay's disk grows more than what is stored"));
    }
    if kept_of_an_entry(lines).is_some_and(|bytes| bytes > ENTRY_KEPT_MAX) {
        return Err(BenchError::Wrong("the relay's memory grows with every entry"));
    }
    let early = lines.iter().take(WARM_UP).map(|line| line.own_kib).fold(0.0, f64::max);
    if last.own_kib > early + OWN_GROWTH_MAX {
        return Err(BenchError::Wrong("the devices' memory grows"));
    }
    Ok(())
}

/// Bytes of the relay's memory for an entry, once caches are full: the slope through the later lines (least squares).
fn kept_of_an_entry(lines: &[Line]) -> Option<f64> {
    let later = lines.get(WARM_UP.max(lines.len() / 4)..).filter(|later| later.len() >= JUDGED_MIN)?;
    let mean = |field: fn(&Line) -> f64| later.iter().map(field).sum::<f64>() / later.len() as f64;
    let (entries, kib) = (mean(|line| line.entries), mean(|line| line.relay_kib));
    let spread: f64 = later.iter().map(|line| (line.entries - entries).powi(2)).sum();
    let together: f64 = later.iter().map(|line| (line.entries - entries) * (line.relay_kib - kib)).sum();
    Some(together / spread * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(minutes: u32, kept: f64) -> Vec<Line> {
        let line = |minute: u32| {
            let entries = 6_000.0 * f64::from(minute);
            // A cache that fills, what is kept, and a step up and down by the allocator.
            let relay_kib = 20_000.0 + 4_096.0 * (f64::from(minute) / 4.0).min(1.0);
            let relay_kib = relay_kib + entries * kept / 1024.0 + f64::from(minute % 2) * 132.0;
            Line { entries, relay_kib, own_kib: 30_000.0, disk: 0.0, stored: 0.0 }
        };
        (1..=minutes).map(line).collect()
    }

    #[test]
    fn caches_that_fill_are_no_growth_and_a_hash_kept_of_each_entry_is() {
        for minutes in 1..=60 {
            assert!(judge(&after(minutes, 0.0)).is_ok(), "{minutes} minutes");
        }
        assert!(judge(&after(20, 32.0)).is_err());
        assert!(judge(&after(19, 32.0)).is_ok(), "too early to say");
        let kept = kept_of_an_entry(&after(60, 32.0)).unwrap_or_default();
        assert!((kept - 32.0).abs() < 1.0, "{kept}");
    }
}
