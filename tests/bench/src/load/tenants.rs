//! `tenants`: many quiet workspaces, and one whose device sends as much as it may.
//!
//! Invariant: beside what a relay takes of one device for good, the quiet ones' receipts take at most [`RATIO_MAX`] times
//! as long, at the 99th percentile; beside a burst, which is over after a minute's worth, they are measured. Quiet turns
//! and loud ones take turns, and the middle one of each counts, so that a disk that stands still for once decides nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
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
/// Items a second that a relay takes of one device for good.
const STEADY_PER_SECOND: f64 = 10_000.0;
/// Items of a burst for each second of quiet, sent as fast as receipts come: a relay takes a minute's worth at once, which
/// is 600,000.
const BURST_PER_SECOND: f64 = 20_000.0;
/// How long a flood that is held to the clock rests.
const REST: Duration = Duration::from_millis(2);
const ENDED: BenchError = BenchError::Answer("the noisy tenant's session");
/// Quiet turns, and as many of each loud kind.
const TURNS: u32 = 5;

pub(crate) async fn run(seconds: f64, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start_with_defaults(&folder.path().join("relay"))?;
    let habits =
        Habits { rooms: 100, readers: true, writers: 100, every: Duration::from_millis(250), bytes: 120, first: 0 };
    let crowd = Crowd::gather(relay.socket_address()?, habits).await?;
    let of_a_turn = |per_second: f64| (seconds * per_second) as usize / TURNS as usize;
    let (steady, burst) = (of_a_turn(STEADY_PER_SECOND), of_a_turn(BURST_PER_SECOND));
    let mut flood = Flood::prepare(&relay, (steady + burst) * TURNS as usize).await?;
    let time = Duration::from_secs_f64(seconds) / TURNS;
    crowd.write(true);
    // waits: for the first receipts, which are slower.
    sleep(time).await;
    let mut turns = Turns::default();
    for _ in 0..TURNS {
        drop(crowd.tally.receipts.take());
        // waits: so long is the quiet turn.
        sleep(time).await;
        turns.alone.push(crowd.tally.receipts.take());
        turns.steady_time += flood.pour(steady, Some(STEADY_PER_SECOND)).await?;
        turns.steady.push(crowd.tally.receipts.take());
        turns.burst_time += flood.pour(burst, None).await?;
        turns.burst.push(crowd.tally.receipts.take());
    }
    crowd.rest().await?;
    crowd.audit().await?;
    let times = [("load/tenants/flood", steady, turns.steady_time), ("load/tenants/burst", burst, turns.burst_time)];
    for (workload, items, time) in times {
        let per_second = (items * TURNS as usize) as f64 / time.as_secs_f64();
        report.add(workload, System::Tombolo, PER_SECOND, per_second);
        note(&format_args!("{workload}: {per_second:.0} items a second"));
    }
    turns.judge(report)
}

/// What the quiet ones waited in each turn.
#[derive(Default)]
struct Turns {
    alone: Vec<Counted>,
    steady: Vec<Counted>,
    steady_time: Duration,
    burst: Vec<Counted>,
    burst_time: Duration,
}

impl Turns {
    /// Compares the turns with each other.
    fn judge(&self, report: &mut Report) -> Result<(), BenchError> {
        let kinds = [("alone", &self.alone), ("beside-a-flood", &self.steady), ("beside-a-burst", &self.burst)];
        for (kind, turns) in kinds {
            for turn in turns {
                report.add(&format!("load/tenants/{kind}"), System::Tombolo, P50, turn.percentile_ms(0.5));
                report.add(&format!("load/tenants/{kind}"), System::Tombolo, P99, turn.percentile_ms(0.99));
            }
        }
        let [alone, steady, burst] = [&self.alone, &self.steady, &self.burst].map(|turns| middle_p99(turns));
        report.add("load/tenants/beside-a-flood", System::Tombolo, RATIO, steady / alone);
        report.add("load/tenants/beside-a-burst", System::Tombolo, RATIO, burst / alone);
        note(&format_args!(
            "tenants: p99 {alone:.1} ms alone, {steady:.1} ms beside a flood, {burst:.1} ms beside a burst, the middle of \
             {TURNS} turns each"
        ));
        kept(alone, steady)
    }
}

/// Tells whether the bound is kept.
fn kept(alone: f64, beside: f64) -> Result<(), BenchError> {
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

    /// Sends so many items, as fast as receipts come or as the clock says, and waits for the last of these; returns how
    /// long it took.
    async fn pour(&mut self, count: usize, per_second: Option<f64>) -> Result<Duration, BenchError> {
        let (began, mut sent) = (Instant::now(), 0);
        while sent < count || self.last != self.settled {
            let due = per_second.map_or(count, |rate| (began.elapsed().as_secs_f64() * rate) as usize).min(count);
            while sent < due && self.last - self.settled < WINDOW {
                let batch: Vec<_> = self.items.by_ref().take(BATCH.min(due - sent)).map(Into::into).collect();
                sent += batch.len();
                self.last = self.session.append(batch).await.map_err(|_| ENDED)?;
            }
            if self.last == self.settled {
                // waits: more is due a little later.
                sleep(REST).await;
            } else if let Ok(frame) = timeout(REST, self.session.next()).await
                && let Frame::Received(received) = frame.map_err(|_| ENDED)?
            {
                self.settled = received.last_batch;
            }
        }
        Ok(began.elapsed())
    }
}
