//! Many light sessions on one relay: rooms of a device or two, of which the first may write.
//!
//! Invariant: what has a receipt is kept by its fingerprint, and [`Crowd::audit`] finds each of them in the relay's own
//! log, once. A session that ends comes back as a device does, with waits that grow (core's backoff).

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minicbor::bytes::ByteVec;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::{Frame, Items, Received};
use tombolo_protocol::item::LogItem;
use tombolo_protocol::keys::SIGNATURE_BYTES;

use super::person::{Ground, Pen, Person};
use super::session::{Lost, Seat, Session};
use super::tally::Tally;
use crate::error::BenchError;
use crate::measure::PATIENCE;
use crate::note;

/// Sessions that are begun at once when a crowd gathers: a crowd that comes by and by.
const GATHERING_MAX: usize = 128;
/// Sessions that read their logs again at once.
const AUDITORS: usize = 32;
/// Upper bounds of the first wait before a session comes back, and of every one.
const WAIT_BASE_MS: u64 = 250;
const WAIT_MAX_MS: u64 = 60_000;
/// A session that stood this long was a good one.
const STABLE: Duration = Duration::from_secs(10);
/// Appends of one session that wait for a receipt; more are not begun.
const UNDER_WAY_MAX: usize = 256;
/// Sealed bytes of them: the credit that a relay gives a session.
const UNDER_WAY_BYTES_MAX: usize = 1 << 20;

/// What a crowd does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Rooms; each is a workspace of its own.
    pub(crate) rooms: u32,
    /// Whether somebody else is there as well and reads.
    pub(crate) readers: bool,
    /// Rooms whose first device writes.
    pub(crate) writers: u32,
    /// Time between two entries of a writer.
    pub(crate) every: Duration,
    /// Sealed bytes of an entry.
    pub(crate) bytes: usize,
    /// The first room's number, so that two crowds are not the same devices.
    pub(crate) first: u32,
}

impl Habits {
    /// Sessions of all rooms.
    pub(crate) fn sessions(self) -> u32 {
        self.rooms * if self.readers { 2 } else { 1 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Orders {
    Stay,
    Write,
    Leave,
}

/// A workspace, and what passed through it.
pub(crate) struct Room {
    ground: Arc<Ground>,
    devices: [Person; 2],
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// When what the other device has not seen yet was sent.
    on_the_way: VecDeque<Instant>,
    receipted: Vec<u64>,
}

impl Room {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions, and what they count together.
pub(crate) struct Crowd {
    pub(crate) tally: Arc<Tally>,
    rooms: Vec<Arc<Room>>,
    readers: bool,
    relay: SocketAddr,
    orders: watch::Sender<Orders>,
    tasks: JoinSet<()>,
}

impl Crowd {
    /// Lets a crowd gather, and waits until all are in step.
    pub(crate) async fn gather(relay: SocketAddr, habits: Habits) -> Result<Self, BenchError> {
        let (orders, _) = watch::channel(Orders::Stay);
        let (tally, doors) = (Arc::<Tally>::default(), Arc::new(Semaphore::new(GATHERING_MAX)));
        let readers = habits.readers;
        let mut crowd = Self { tally, rooms: Vec::new(), readers, relay, orders, tasks: JoinSet::new() };
        for nth in habits.first..habits.first + habits.rooms {
            let devices = [Person::new(0xa1, nth)?, Person::new(0xb2, nth)?];
            let ground = Arc::new(Ground::found(nth, &[&devices[0], &devices[1]])?);
            let room = Arc::new(Room { ground, devices, book: Mutex::default() });
            let writes = (nth - habits.first < habits.writers).then_some(habits);
            let (founded, is_there) = watch::channel(false);
            crowd.admit(&room, 0, (writes, nth), (&doors, Some(founded), None));
            if readers {
                crowd.admit(&room, 1, (None, nth), (&doors, None, Some(is_there)));
            }
            crowd.rooms.push(room);
        }
        crowd.wait_in_step(u64::from(habits.sessions()), PATIENCE).await?;
        Ok(crowd)
    }

    fn admit(
        &mut self,
        room: &Arc<Room>,
        which: usize,
        (writes, nth): (Option<Habits>, u32),
        (doors, founded, is_there): (&Arc<Semaphore>, Option<watch::Sender<bool>>, Option<watch::Receiver<bool>>),
    ) {
        let Some(device) = room.devices.get(which) else { return };
        let member = Member {
            seat: Seat::new(device.clone(), Arc::clone(&room.ground), which == 0),
            pen: writes.map(|habits| (habits, Pen::new(device, &room.ground, 1))),
            room: Arc::clone(room),
            tally: Arc::clone(&self.tally),
            pending: VecDeque::new(),
            founded,
            dice: u64::from(nth) * 2 + which as u64,
        };
        let (relay, orders, doors) = (self.relay, self.orders.subscribe(), Arc::clone(doors));
        self.tasks.spawn(async move {
            if let Some(mut is_there) = is_there {
                // The founder may have been told to leave before it was there.
                drop(is_there.wait_for(|there| *there).await);
            }
            member.live(relay, orders, doors).await;
        });
    }

    /// Waits until so many sessions are in step; returns how long it took.
    pub(crate) async fn wait_in_step(&self, sessions: u64, patience: Duration) -> Result<Duration, BenchError> {
        let start = Instant::now();
        while self.tally.in_step.load(Relaxed) < sessions {
            if start.elapsed() > patience {
                return Err(BenchError::Late("all sessions in step"));
            }
            // waits: a poll is finer than what it measures.
            sleep(Duration::from_millis(20)).await;
        }
        Ok(start.elapsed())
    }

    /// Lets the writers write, or rest.
    pub(crate) fn write(&self, whether: bool) {
        self.orders.send_replace(if whether { Orders::Write } else { Orders::Stay });
    }

    /// Lets the writers write for so long, and waits until nothing is on its way.
    pub(crate) async fn write_for(&self, time: Duration) -> Result<(), BenchError> {
        self.write(true);
        // waits: so long they write.
        sleep(time).await;
        self.rest().await
    }

    /// Waits until everything that was sent has its receipt and has come to the other device, if there is one.
    pub(crate) async fn rest(&self) -> Result<(), BenchError> {
        self.write(false);
        let start = Instant::now();
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        while count(&self.tally.receipted) < count(&self.tally.sent)
            || (self.readers && count(&self.tally.delivered) < count(&self.tally.sent))
        {
            if start.elapsed() > PATIENCE {
                return Err(BenchError::Late("receipts of all that was sent"));
            }
            // waits: for the relay.
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Ends all sessions, and reads every log from its start: all that has a receipt is there, once.
    pub(crate) async fn audit(mut self) -> Result<u64, BenchError> {
        self.orders.send_replace(Orders::Leave);
        while self.tasks.join_next().await.is_some() {}
        let (places, mut audits) = (Arc::new(Semaphore::new(AUDITORS)), JoinSet::new());
        for room in self.rooms.drain(..).filter(|room| !room.book().receipted.is_empty()) {
            let (places, relay) = (Arc::clone(&places), self.relay);
            audits.spawn(async move {
                let _place = places.acquire_owned().await;
                audit(relay, &room).await
            });
        }
        let mut found = 0;
        while let Some(audited) = audits.join_next().await {
            found += audited.map_err(|_| BenchError::Wrong("an audit"))??;
        }
        Ok(found)
    }
}

async fn audit(relay: SocketAddr, room: &Room) -> Result<u64, BenchError> {
    const UNREAD: BenchError = BenchError::Answer("a log, read from its start");
    let mut seat = Seat::new(room.devices[1].clone(), Arc::clone(&room.ground), false);
    let (mut session, opened) = seat.enter(relay).await.map_err(|_| UNREAD)?;
    let mut log = Vec::new();
    loop {
        let frame = timeout(PATIENCE, session.next()).await.map_err(|_| UNREAD)?.map_err(|_| UNREAD)?;
        if let Frame::Items(items) = &frame {
            log.extend(items.items.iter().map(fingerprint));
        }
        if seat.note(opened.log, &frame) {
            break;
        }
    }
    log.sort_unstable();
    let book = room.book();
    let times = |mark: &u64| log.partition_point(|other| other <= mark) - log.partition_point(|other| other < mark);
    let wrong = book.receipted.iter().filter(|mark| times(mark) != 1).count();
    if wrong > 0 {
        let (receipts, items) = (book.receipted.len(), log.len());
        note(&format_args!("audit: {wrong} of {receipts} receipts are not in a log of {items} items once"));
        return Err(BenchError::Wrong("an entry with a receipt is not in the log once"));
    }
    Ok(book.receipted.len() as u64)
}

/// Tells entries apart by their signatures, which are the same in full and in short form; the relay may shorten what it
/// was sent in full.
fn fingerprint(item: &ByteVec) -> u64 {
    let signature = match LogItem::decode(item) {
        Ok(LogItem::Entry(bytes)) => Entry::decode(bytes).ok().map(|entry| entry.signature().to_vec()),
        Ok(LogItem::Elided(_)) => {
            item.len().checked_sub(SIGNATURE_BYTES).and_then(|at| item.get(at..)).map(<[u8]>::to_vec)
        }
        _ => None,
    };
    let mut hasher = DefaultHasher::new();
    signature.hash(&mut hasher);
    hasher.finish()
}

/// An append that waits for its receipt.
struct Sent {
    batch: u32,
    item: ByteVec,
    at: Instant,
}

/// One device of a room.
struct Member {
    seat: Seat,
    pen: Option<(Habits, Pen)>,
    room: Arc<Room>,
    tally: Arc<Tally>,
    pending: VecDeque<Sent>,
    founded: Option<watch::Sender<bool>>,
    dice: u64,
}

impl Member {
    async fn live(mut self, relay: SocketAddr, mut orders: watch::Receiver<Orders>, doors: Arc<Semaphore>) {
        let mut failures = 0;
        let mut door = doors.acquire_owned().await.ok();
        loop {
            let began = Instant::now();
            let Err(lost) = self.attend(relay, &mut orders, &mut door).await else {
                return;
            };
            drop(door.take());
            self.tally.note_end(lost);
            failures = if began.elapsed() >= STABLE { 0 } else { failures + 1 };
            let asked = match lost {
                Lost::Closed { retry_after_ms, .. } => u64::from(retry_after_ms.unwrap_or(0)),
                _ => 0,
            };
            let bound = (WAIT_BASE_MS << failures.min(16)).min(WAIT_MAX_MS);
            let wait = Duration::from_millis(asked + self.draw() % (bound + 1));
            tokio::select! {
                // waits: as a device does before it comes back.
                () = sleep(wait) => {}
                _ = orders.wait_for(|orders| *orders == Orders::Leave) => return,
            }
        }
    }

    /// One session, from its beginning to its end.
    async fn attend(
        &mut self,
        relay: SocketAddr,
        orders: &mut watch::Receiver<Orders>,
        door: &mut Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Result<(), Lost> {
        let (mut session, opened) = self.seat.enter(relay).await?;
        self.tally.begun.fetch_add(1, Relaxed);
        loop {
            let frame = session.next().await?;
            self.take(&frame, true);
            if self.seat.note(opened.log, &frame) {
                break;
            }
        }
        for sent in &mut self.pending {
            sent.batch = session.append(vec![sent.item.clone()]).await?;
        }
        drop(door.take());
        if let Some(founded) = self.founded.take() {
            founded.send_replace(true);
        }
        let _here = InStep::begin(&self.tally);
        let every = self.pen.as_ref().map_or(Duration::from_secs(3600), |(habits, _)| habits.every);
        let first = Instant::now() + every.mul_f64((self.draw() % 1000) as f64 / 1000.0);
        let mut ticks = interval_at(first, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let order = *orders.borrow();
            tokio::select! {
                frame = session.next() => {
                    let frame = frame?;
                    self.take(&frame, false);
                    self.seat.note(opened.log, &frame);
                }
                _ = ticks.tick(), if self.pen.is_some() => {
                    if order == Orders::Write && self.has_credit() {
                        self.write(&mut session).await?;
                    }
                }
                changed = orders.changed() => {
                    if changed.is_err() || *orders.borrow() == Orders::Leave {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn has_credit(&self) -> bool {
        let bytes = self.pen.as_ref().map_or(0, |(habits, _)| habits.bytes);
        self.pending.len() < UNDER_WAY_MAX && (self.pending.len() + 1) * bytes <= UNDER_WAY_BYTES_MAX
    }

    async fn write(&mut self, session: &mut Session) -> Result<(), Lost> {
        let Some((habits, pen)) = &mut self.pen else { return Ok(()) };
        let item = pen.item(habits.bytes).map_err(|_| Lost::Wrong("an entry that was made by hand"))?;
        let item = ByteVec::from(item);
        let at = Instant::now();
        self.room.book().on_the_way.push_back(at);
        self.pending.push_back(Sent { batch: u32::MAX, item: item.clone(), at });
        self.tally.sent.fetch_add(1, Relaxed);
        let batch = session.append(vec![item]).await?;
        if let Some(sent) = self.pending.back_mut() {
            sent.batch = batch;
        }
        Ok(())
    }

    fn take(&mut self, frame: &Frame, catching_up: bool) {
        match frame {
            Frame::Items(items) if self.pen.is_some() && catching_up => self.recognise(items),
            Frame::Items(items) if self.pen.is_none() => self.see(items),
            Frame::Received(received) => self.settle(received),
            Frame::Refused(refused) => {
                note(&format_args!("refused: {:?}", refused.reason));
                self.tally.note_end(Lost::Wrong("an entry was refused"));
            }
            _ => {}
        }
    }

    /// Meets own entries in the log whose receipt was lost with a session.
    fn recognise(&mut self, items: &Items) {
        for item in &items.items {
            if self.pending.front().is_some_and(|sent| fingerprint(&sent.item) == fingerprint(item))
                && let Some(sent) = self.pending.pop_front()
            {
                self.note_receipted(&sent);
            }
        }
    }

    fn settle(&mut self, received: &Received) {
        if let (Some((_, pen)), Some((first, _))) = (&mut self.pen, received.positions.first()) {
            pen.declared_at(*first);
        }
        while self.pending.front().is_some_and(|sent| sent.batch <= received.last_batch)
            && let Some(sent) = self.pending.pop_front()
        {
            self.tally.receipts.add(sent.at.elapsed());
            self.note_receipted(&sent);
        }
    }

    fn note_receipted(&self, sent: &Sent) {
        self.tally.receipted.fetch_add(1, Relaxed);
        self.room.book().receipted.push(fingerprint(&sent.item));
    }

    /// Sees what the other device wrote.
    fn see(&self, items: &Items) {
        let ground = self.room.ground.records.len() as u64;
        let mut book = self.room.book();
        for position in items.first_position..items.first_position + items.items.len() as u64 {
            if position > ground.max(self.seat.cursor) {
                self.tally.delivered.fetch_add(1, Relaxed);
                if let Some(at) = book.on_the_way.pop_front() {
                    self.tally.deliveries.add(at.elapsed());
                }
            }
        }
    }

    fn draw(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice >> 33
    }
}

/// Counts a session that is in step, until it ends.
struct InStep(Arc<Tally>);

impl InStep {
    fn begin(tally: &Arc<Tally>) -> Self {
        tally.in_step.fetch_add(1, Relaxed);
        Self(Arc::clone(tally))
    }
}

impl Drop for InStep {
    fn drop(&mut self) {
        self.0.in_step.fetch_sub(1, Relaxed);
    }
}
