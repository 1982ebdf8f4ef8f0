//! `tenants`: many quiet workspaces, and one whose device sends as much as it may.
//!
//! Invariant: the quiet ones' receipts take at most [`RATIO_MAX`] times as long meanwhile, at the 99th percentile.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tombolo_protocol::frame::Frame;

use super::crowd::{Crowd, Habits};
use super::person::{Ground, Pen, Person};
use super::session::Seat;
use super::tally::Counted;
use crate::error::BenchError;
use crate::note;
use crate::relay::Relay;
use crate::report::{P50, P99, PER_SECOND, RATIO, Report, System};

/// What the design allows.
const RATIO_MAX: f64 = 2.0;
/// Below this a ratio says more of the machine than of the relay.
const NOTICED_MS: f64 = 10.0;
/// Items of one append of the noisy tenant, and appends that it has under way.
const BATCH: usize = 64;
const WINDOW: usize = 16;
/// Items that the noisy tenant signs ahead, at most; a relay takes 10,000 a second from one device.
const AHEAD_MAX: usize = 200_000;

pub(crate) async fn run(seconds: f64, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start_with_defaults(&folder.path().join("relay"))?;
    let habits = Habits { rooms: 100, writers: 100, every: Duration::from_millis(250), bytes: 120, first: 0 };
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    let ahead = AHEAD_MAX.min((seconds * 10_000.0) as usize);
    let mut flood = Flood::prepare(ahead).await?;
    let time = Duration::from_secs_f64(seconds);
    crowd.write(true);
    // waits: for the first receipts, which are slower.
    sleep(time / 4).await;
    drop(crowd.tally.receipts.take());
    // waits: so long is the quiet part.
    sleep(time).await;
    let alone = crowd.tally.receipts.take();
    let taken = flood.pour(&relay, time).await?;
    let beside = crowd.tally.receipts.take();
    crowd.rest().await?;
    crowd.audit().await?;
    let add = |report: &mut Report, workload: &str, counted: &Counted| {
        report.add(workload, System::Tombolo, P50, counted.percentile_ms(0.5));
        report.add(workload, System::Tombolo, P99, counted.percentile_ms(0.99));
    };
    add(report, "load/tenants/alone", &alone);
    add(report, "load/tenants/beside-a-flood", &beside);
    report.add("load/tenants/flood", System::Tombolo, PER_SECOND, taken as f64 / seconds);
    let (alone, beside) = (alone.percentile_ms(0.99), beside.percentile_ms(0.99));
    report.add("load/tenants/beside-a-flood", System::Tombolo, RATIO, beside / alone);
    note(&format_args!("tenants: p99 {alone:.1} ms alone, {beside:.1} ms beside {taken} items of another"));
    if beside > (alone * RATIO_MAX).max(NOTICED_MS) {
        return Err(BenchError::Late("the receipts of quiet tenants"));
    }
    Ok(())
}

/// One device that sends all it can.
struct Flood {
    seat: Seat,
    items: std::vec::IntoIter<Vec<u8>>,
}

impl Flood {
    /// Signs ahead what will be sent.
    async fn prepare(count: usize) -> Result<Self, BenchError> {
        let device = Person::new(0xa1, 9_000_000)?;
        let ground = std::sync::Arc::new(Ground::found(9_000_000, &[&device])?);
        let mut pen = Pen::new(&device, &ground, 1);
        let items = (0..count).map(|_| pen.item(200)).collect::<Result<Vec<_>, _>>()?;
        tokio::task::yield_now().await;
        Ok(Self { seat: Seat::new(device, ground, true), items: items.into_iter() })
    }

    /// Sends for so long, as fast as receipts come; returns how many items were taken.
    async fn pour(&mut self, relay: &Relay, time: Duration) -> Result<u64, BenchError> {
        const ENDED: BenchError = BenchError::Answer("the noisy tenant's session");
        let (mut session, _) = self.seat.enter(relay.socket_address()?).await.map_err(|_| ENDED)?;
        let (start, mut last, mut settled, mut taken) = (Instant::now(), 0, 0, 0);
        while start.elapsed() < time {
            while last - settled < WINDOW as u32 {
                let batch: Vec<_> = self.items.by_ref().take(BATCH).map(Into::into).collect();
                if batch.is_empty() {
                    break;
                }
                last = session.append(batch).await.map_err(|_| ENDED)?;
            }
            if last == settled {
                // All was sent, in less time than was given: what is left of it is quiet.
                note(&"tenants: the noisy tenant ran dry");
                break;
            }
            if let Frame::Received(received) = session.next().await.map_err(|_| ENDED)? {
                settled = received.last_batch;
                taken += received.positions.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
            }
        }
        Ok(taken)
    }
}
