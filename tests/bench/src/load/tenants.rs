//! `tenants`: many quiet workspaces, and one whose device sends as much as it may.
//!
//! Invariant: the quiet ones' receipts take at most [`RATIO_MAX`] times as long meanwhile, at the 99th percentile. Quiet
//! turns and loud ones take turns, and the middle one of each counts, so that a disk that stands still for once decides
//! nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tombolo_protocol::frame::Frame;

use super::crowd::{Crowd, Habits};
use super::person::{Ground, Pen, Person};
use super::session::{Seat, Session};
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
const WINDOW: u32 = 16;
/// Items that the noisy tenant signs ahead for each second of quiet, and sends as fast as it may: a relay takes a minute's
/// worth at once, which is 600,000.
const AHEAD_PER_SECOND: f64 = 20_000.0;
const ENDED: BenchError = BenchError::Answer("the noisy tenant's session");
/// Quiet turns, and as many loud ones.
const TURNS: u32 = 5;

pub(crate) async fn run(seconds: f64, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start_with_defaults(&folder.path().join("relay"))?;
    let habits = Habits { rooms: 100, writers: 100, every: Duration::from_millis(250), bytes: 120, first: 0 };
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    let a_turn = (seconds * AHEAD_PER_SECOND) as usize / TURNS as usize;
    let mut flood = Flood::prepare(&relay, a_turn * TURNS as usize).await?;
    let time = Duration::from_secs_f64(seconds) / TURNS;
    crowd.write(true);
    // waits: for the first receipts, which are slower.
    sleep(time).await;
    let (mut alone, mut beside, mut loud) = (Vec::new(), Vec::new(), Duration::ZERO);
    for _ in 0..TURNS {
        drop(crowd.tally.receipts.take());
        // waits: so long is the quiet turn.
        sleep(time).await;
        alone.push(crowd.tally.receipts.take());
        let began = Instant::now();
        flood.pour(a_turn).await?;
        loud += began.elapsed();
        beside.push(crowd.tally.receipts.take());
    }
    crowd.rest().await?;
    crowd.audit().await?;
    report.add("load/tenants/flood", System::Tombolo, PER_SECOND, (a_turn * beside.len()) as f64 / loud.as_secs_f64());
    judge(&alone, &beside, report)
}

/// Compares the turns with each other.
fn judge(alone: &[Counted], beside: &[Counted], report: &mut Report) -> Result<(), BenchError> {
    for (workload, turns) in [("load/tenants/alone", alone), ("load/tenants/beside-a-flood", beside)] {
        for turn in turns {
            report.add(workload, System::Tombolo, P50, turn.percentile_ms(0.5));
            report.add(workload, System::Tombolo, P99, turn.percentile_ms(0.99));
        }
    }
    let (alone, beside) = (middle_p99(alone), middle_p99(beside));
    report.add("load/tenants/beside-a-flood", System::Tombolo, RATIO, beside / alone);
    note(&format_args!(
        "tenants: p99 {alone:.1} ms alone, {beside:.1} ms beside a flood, the middle of {TURNS} turns each"
    ));
    if beside > (alone * RATIO_MAX).max(NOTICED_MS) {
        return Err(BenchError::Late("the receipts of quiet tenants"));
    }
    Ok(())
}

/// Returns the 99th percentile of the turn in the middle.
fn middle_p99(turns: &[Counted]) -> f64 {
    let mut found: Vec<_> = turns.iter().map(|turn| turn.percentile_ms(0.99)).collect();
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One device that sends all it can.
struct Flood {
    session: Session,
    items: std::vec::IntoIter<Vec<u8>>,
    /// The last append that was sent, and the last that was answered.
    last: u32,
    settled: u32,
}

impl Flood {
    /// Signs ahead what will be sent, and enters.
    async fn prepare(relay: &Relay, count: usize) -> Result<Self, BenchError> {
        let device = Person::new(0xa1, 9_000_000)?;
        let ground = std::sync::Arc::new(Ground::found(9_000_000, &[&device])?);
        let mut pen = Pen::new(&device, &ground, 1);
        let items = (0..count).map(|_| pen.item(200)).collect::<Result<Vec<_>, _>>()?;
        tokio::task::yield_now().await;
        let seat = Seat::new(device, ground, true);
        let (session, _) = seat.enter(relay.socket_address()?).await.map_err(|_| ENDED)?;
        Ok(Self { session, items: items.into_iter(), last: 0, settled: 0 })
    }

    /// Sends so many items, as fast as receipts come, and waits for the last of these.
    async fn pour(&mut self, count: usize) -> Result<(), BenchError> {
        let mut left = count;
        while left > 0 || self.last != self.settled {
            while left > 0 && self.last - self.settled < WINDOW {
                let batch: Vec<_> = self.items.by_ref().take(BATCH.min(left)).map(Into::into).collect();
                left -= batch.len();
                self.last = self.session.append(batch).await.map_err(|_| ENDED)?;
            }
            if let Frame::Received(received) = self.session.next().await.map_err(|_| ENDED)? {
                self.settled = received.last_batch;
            }
        }
        Ok(())
    }
}
