//! `fan-out`: one device writes twenty times a second, and many read.
//!
//! Invariant: the writer is held to the clock, and a latency counts from the moment an entry was due to the frame at the
//! reader's socket. Readers are light (see `load`): what their stores and documents cost is theirs, and other machines'.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tombolo_protocol::frame::Frame;

use crate::error::BenchError;
use crate::load::{Ground, Latencies, Pen, Person, Seat, Session};
use crate::measure::{PATIENCE, until};
use crate::relay::Relay;
use crate::report::{BYTES, CPU, P50, P99, RSS, Report, System};

/// Entries of one run.
const ENTRIES: u32 = 200;
/// Time between two of them.
const EVERY: Duration = Duration::from_millis(50);
/// Sealed bytes of an entry: twenty characters as yrs says them, padded, with the tag.
const SEALED_BYTES: usize = 80;
/// The room of every run; its relay is new each time.
const ROOM: u32 = 0;
/// Devices of one user, of which there may be 256; with more readers there are more users.
const DEVICES: usize = 250;
/// Items of a log for each user who joins: the invite, the Join, and the relay's word on it.
const ITEMS_OF_A_JOIN: u64 = 3;
const LOST: BenchError = BenchError::Answer("a session of the fan-out");

/// Measures once with so many readers.
pub(crate) async fn run(readers: u32, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let devices = (0..=readers).map(|nth| Person::new(0xc3, nth)).collect::<Result<Vec<_>, _>>()?;
    let Room { first, ground, mut writer, readers: sessions, records } = gather(&devices, &relay).await?;
    let seen = Arc::new((Latencies::default(), AtomicU64::new(0)));
    let start = Instant::now() + Duration::from_secs(1);
    let mut tasks = JoinSet::new();
    for session in sessions {
        tasks.spawn(read(session, records, start, Arc::clone(&seen)));
    }
    let (cpu, sent) = (relay.cpu_seconds()?, relay.counted()?.fan_out_bytes);
    let mut pen = Pen::new(&first, &ground, 1);
    for nth in 0..ENTRIES {
        // waits: entries begin by the clock.
        until((start + EVERY * nth).into()).await;
        let item = pen.item(SEALED_BYTES)?;
        writer.append(vec![item.into()]).await.map_err(|_| LOST)?;
        if nth == 0 {
            // The position of the first is that of the declaration which later ones are elided against.
            pen.declared_at(records + 1);
        }
    }
    let wanted = u64::from(ENTRIES) * u64::from(readers);
    let end = Instant::now() + PATIENCE;
    while seen.1.load(Relaxed) < wanted {
        if Instant::now() > end {
            return Err(BenchError::Late("all entries at all readers"));
        }
        // waits: for the readers.
        sleep(Duration::from_millis(10)).await;
    }
    let latencies = seen.0.take();
    let workload = format!("fan-out/{readers}");
    report.add(&workload, System::Tombolo, P50, latencies.percentile_ms(0.5));
    report.add(&workload, System::Tombolo, P99, latencies.percentile_ms(0.99));
    report.add(&workload, System::Tombolo, CPU, relay.cpu_seconds()? - cpu);
    report.add(&workload, System::Tombolo, RSS, relay.rss_kib()?);
    let bytes = (relay.counted()?.fan_out_bytes - sent) / wanted as f64;
    report.add(&workload, System::Tombolo, BYTES, bytes);
    tasks.abort_all();
    Ok(())
}

/// One who writes, and those who read, in step with the log.
struct Room {
    first: Person,
    ground: Arc<Ground>,
    writer: Session,
    readers: Vec<Session>,
    /// Items of the log before the first entry.
    records: u64,
}

/// Lets all of them in: one user has as many devices as a user may, then comes the next.
async fn gather(devices: &[Person], relay: &Relay) -> Result<Room, BenchError> {
    let devices: Vec<&Person> = devices.iter().collect();
    let mut users = devices.chunks(DEVICES);
    let founders = users.next().unwrap_or_default();
    let Some((first, others)) = founders.split_first() else { return Err(LOST) };
    let ground = Arc::new(Ground::found(ROOM, founders)?);
    let writer = in_step(&mut Seat::new((*first).clone(), Arc::clone(&ground), true), relay).await?;
    let mut readers = Vec::with_capacity(devices.len());
    for device in others {
        readers.push(in_step(&mut Seat::new((*device).clone(), Arc::clone(&ground), false), relay).await?);
    }
    let mut records = ground.records.len() as u64;
    for (nth, user) in (0..).zip(users) {
        let joined = Arc::new(ground.joined(first, writer.relay, nth, user)?);
        for (nth, device) in user.iter().enumerate() {
            readers.push(in_step(&mut Seat::new((*device).clone(), Arc::clone(&joined), nth == 0), relay).await?);
        }
        records += ITEMS_OF_A_JOIN;
    }
    Ok(Room { first: (*first).clone(), ground, writer, readers, records })
}

/// Begins a session, and reads until it is in step.
async fn in_step(seat: &mut Seat, relay: &Relay) -> Result<Session, BenchError> {
    let (mut session, opened) = seat.enter(relay.socket_address()?).await.map_err(|_| LOST)?;
    while !seat.note(opened.log, &session.next().await.map_err(|_| LOST)?) {}
    Ok(session)
}

async fn read(mut session: Session, records: u64, start: Instant, seen: Arc<(Latencies, AtomicU64)>) {
    while let Ok(frame) = session.next().await {
        let Frame::Items(items) = frame else { continue };
        for nth in 0..items.items.len() as u64 {
            // What came while others joined is no entry.
            let Some(nth) = (items.first_position + nth).checked_sub(records + 1) else { continue };
            let due = start + EVERY * u32::try_from(nth).unwrap_or(u32::MAX);
            seen.0.add(Instant::now().saturating_duration_since(due));
            seen.1.fetch_add(1, Relaxed);
        }
    }
}
