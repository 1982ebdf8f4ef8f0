//! A bad link: two TUN devices, and what happens to each packet between them.
//!
//! Invariant: each packet that the kernel hands to one end is lost, or handed to the other end once or twice, no earlier
//! than its way takes; nothing is changed. Each direction has weather of its own, which may change at any time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_tun::Tun;

/// Bytes of one packet: the devices' MTU is 1500.
const PACKET_BYTES_MAX: usize = 2048;
/// How long what waits for a slow link may wait; what comes on top is lost, as in any modem.
const QUEUE_MAX: Duration = Duration::from_secs(2);
/// How much later a packet comes that is overtaken.
const LATE: Duration = Duration::from_millis(60);

/// What one direction does to packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) delay: Duration,
    /// Up to this much is added.
    pub(crate) jitter: Duration,
    pub(crate) lost_per_mille: u64,
    pub(crate) doubled_per_mille: u64,
    /// Packets that those behind them overtake.
    pub(crate) late_per_mille: u64,
    pub(crate) bytes_per_second: Option<u64>,
    /// Nothing gets through, and nobody is told.
    pub(crate) cut: bool,
}

/// One direction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// From the devices to the relay.
    Up,
    /// From the relay to the devices.
    Down,
}

/// What has happened to packets so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) doubled: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) cut: AtomicU64,
}

/// Both directions.
#[derive(Clone)]
pub(crate) struct Link {
    ways: [Arc<Mutex<Weather>>; 2],
    pub(crate) tally: Arc<Tally>,
}

impl Link {
    /// Carries packets between two devices for as long as the runtime lives.
    pub(crate) fn between(near: Tun, far: Tun, seed: u64) -> Self {
        let link = Self { ways: Default::default(), tally: Arc::default() };
        let (near, far) = (Arc::new(near), Arc::new(far));
        let ends = [(Arc::clone(&near), Arc::clone(&far)), (far, near)];
        for (nth, (from, to)) in ends.into_iter().enumerate() {
            let dice = Dice(seed.wrapping_mul(31).wrapping_add(nth as u64));
            let (weather, tally) = (Arc::clone(&link.ways[nth]), Arc::clone(&link.tally));
            let way = Path { from, to, weather, tally, dice, free: Instant::now(), last: Instant::now() };
            tokio::spawn(way.carry());
        }
        link
    }

    /// Changes the weather of both directions.
    pub(crate) fn set(&self, weather: Weather) {
        self.set_way(Way::Up, weather);
        self.set_way(Way::Down, weather);
    }

    /// Changes the weather of one direction.
    pub(crate) fn set_way(&self, way: Way, weather: Weather) {
        *self.ways[way as usize].lock().unwrap() = weather;
    }

    pub(crate) fn tally(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let tally = &self.tally;
        format!(
            "{} packets passed, {} lost, {} doubled, {} overtaken, {} met a cut",
            of(&tally.passed),
            of(&tally.lost),
            of(&tally.doubled),
            of(&tally.late),
            of(&tally.cut)
        )
    }
}

struct Path {
    from: Arc<Tun>,
    to: Arc<Tun>,
    weather: Arc<Mutex<Weather>>,
    tally: Arc<Tally>,
    dice: Dice,
    /// When the slow part of the way is free again.
    free: Instant,
    /// When the last packet arrives that nobody overtakes.
    last: Instant,
}

impl Path {
    async fn carry(mut self) {
        let mut under_way = BinaryHeap::new();
        let (mut packet, mut nth) = (vec![0; PACKET_BYTES_MAX], 0_u64);
        loop {
            let due = under_way.peek().map(|Reverse((due, _, _)): &Reverse<(Instant, u64, Vec<u8>)>| *due);
            tokio::select! {
                read = self.from.recv(&mut packet) => {
                    let Ok(length) = read else { return };
                    for due in self.fate(length) {
                        nth += 1;
                        under_way.push(Reverse((due, nth, packet[..length].to_vec())));
                    }
                }
                // waits: a packet is under way.
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some(Reverse((_, _, packet))) = under_way.pop() {
                        // A device that is not up yet takes nothing.
                        drop(self.to.send(&packet).await);
                    }
                }
            }
        }
    }

    /// Says when a packet arrives, and how often.
    fn fate(&mut self, bytes: usize) -> Vec<Instant> {
        let weather = *self.weather.lock().unwrap();
        let (now, tally) = (Instant::now(), Arc::clone(&self.tally));
        if weather.cut {
            count(&tally.cut);
            return Vec::new();
        }
        self.free = self.free.max(now);
        if let Some(rate) = weather.bytes_per_second {
            self.free += Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1));
        }
        if self.dice.per_mille(weather.lost_per_mille) || self.free > now + QUEUE_MAX {
            self.free = self.free.min(now + QUEUE_MAX);
            count(&tally.lost);
            return Vec::new();
        }
        let jitter = Duration::from_micros(self.dice.below(weather.jitter.as_micros() as u64 + 1));
        let mut due = (self.free + weather.delay + jitter).max(self.last);
        if self.dice.per_mille(weather.late_per_mille) {
            count(&tally.late);
            due += LATE;
        } else {
            self.last = due;
        }
        count(&tally.passed);
        if self.dice.per_mille(weather.doubled_per_mille) {
            count(&tally.doubled);
            return vec![due, due + LATE];
        }
        vec![due]
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A small random number generator: the same seed, the same draws.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn per_mille(&mut self, rate: u64) -> bool {
        self.below(1000) < rate
    }
}
