//! `slow-readers`: devices that stop reading while much is written beside them.
//!
//! Invariant: each costs the relay what its outbox may hold and no more, is dropped once it has taken nothing for long,
//! and gets all it missed when it comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Frame;

use super::person::{Ground, Pen, Person};
use super::session::{Lost, Seat, Session};
use crate::error::BenchError;
use crate::measure::PATIENCE;
use crate::note;
use crate::relay::Relay;
use crate::report::{RSS_PER_SESSION, Report, SECONDS, System};

const READERS: u32 = 20;
/// What is written beside each: more than the outbox and the sockets' buffers hold.
const ENTRIES: usize = 160;
const ENTRY_BYTES: usize = 64 << 10;
/// What the reader's kernel takes for it.
const READ_BUFFER_BYTES: u32 = 64 << 10;
/// What a slow reader may cost, in KiB: the outbox of a megabyte, what is under way to the socket, and the session.
const COST_MAX_KIB: f64 = 1536.0;
/// How long the relay waits for a reader here.
const SLOW_MS: u64 = 10_000;

pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start_with(&folder.path().join("relay"), &["--slow-ms", &SLOW_MS.to_string()])?;
    let mut rooms = Vec::new();
    for nth in 0..READERS {
        rooms.push(Room::enter(&relay, nth).await?);
    }
    // What writing alone costs is seen with rooms whose readers read.
    for room in rooms.iter_mut().take(2) {
        room.write(ENTRIES / 4).await?;
        room.read_all().await?;
    }
    let before = relay.rss_kib()?;
    let mut most = before;
    for room in &mut rooms {
        room.write(ENTRIES).await?;
        most = most.max(relay.rss_kib()?);
    }
    let cost = (most - before) / f64::from(READERS);
    // waits: for the relay to lose its patience.
    sleep(Duration::from_millis(SLOW_MS) * 3 / 2).await;
    let back = Instant::now();
    let mut dropped = 0;
    for room in &mut rooms {
        dropped += u32::from(room.was_dropped().await?);
        room.read_all().await?;
    }
    let taken = back.elapsed().as_secs_f64();
    note(&format_args!(
        "slow readers: {cost:.0} KiB each at most, {dropped} of {READERS} dropped, all back in {taken:.1} s"
    ));
    let workload = format!("load/slow-readers/{READERS}");
    report.add(&workload, System::Tombolo, RSS_PER_SESSION, cost);
    report.add(&workload, System::Tombolo, SECONDS, taken);
    if dropped < READERS {
        return Err(BenchError::Wrong("a reader that takes nothing is not dropped"));
    }
    if cost > COST_MAX_KIB { Err(BenchError::Wrong("what a slow reader costs")) } else { Ok(()) }
}

/// A writer, and a reader that does not read.
struct Room {
    relay: std::net::SocketAddr,
    seat: Seat,
    reader: Option<Session>,
    writer: Session,
    pen: Pen,
    written: u64,
}

impl Room {
    async fn enter(relay: &Relay, nth: u32) -> Result<Self, BenchError> {
        const REFUSED: BenchError = BenchError::Answer("a session of a slow reader's room");
        let relay = relay.socket_address()?;
        let devices = [Person::new(0xa1, nth)?, Person::new(0xb2, nth)?];
        let ground = Arc::new(Ground::found(nth, &[&devices[0], &devices[1]])?);
        let mut seat = Seat::new(devices[0].clone(), Arc::clone(&ground), true);
        let (mut writer, opened) = seat.enter(relay).await.map_err(|_| REFUSED)?;
        while !seat.note(opened.log, &writer.next().await.map_err(|_| REFUSED)?) {}
        let mut seat = Seat::new(devices[1].clone(), Arc::clone(&ground), false);
        let (mut reader, opened) = seat.enter_with(relay, Some(READ_BUFFER_BYTES)).await.map_err(|_| REFUSED)?;
        while !seat.note(opened.log, &reader.next().await.map_err(|_| REFUSED)?) {}
        let (pen, written) = (Pen::new(&devices[0], &ground, 1), ground.records.len() as u64);
        Ok(Self { relay, seat, reader: Some(reader), writer, pen, written })
    }

    async fn write(&mut self, entries: usize) -> Result<(), BenchError> {
        const ENDED: BenchError = BenchError::Answer("the writer beside a slow reader");
        for _ in 0..entries {
            let item = self.pen.item(ENTRY_BYTES)?;
            let batch = self.writer.append(vec![item.into()]).await.map_err(|_| ENDED)?;
            loop {
                let frame = timeout(PATIENCE, self.writer.next()).await.map_err(|_| ENDED)?;
                if matches!(frame.map_err(|_| ENDED)?, Frame::Received(received) if received.last_batch >= batch) {
                    break;
                }
            }
            self.written += 1;
        }
        Ok(())
    }

    /// Reads on, or comes back, until all that was written is here.
    async fn read_all(&mut self) -> Result<(), BenchError> {
        const MISSED: BenchError = BenchError::Wrong("what a slow reader gets when it comes back");
        while self.seat.cursor < self.written {
            let session = match self.reader.take() {
                Some(session) => session,
                None => self.seat.enter(self.relay).await.map_err(|_| MISSED)?.0,
            };
            let session = self.reader.insert(session);
            let frame = timeout(PATIENCE, session.next()).await.map_err(|_| MISSED)?;
            match frame {
                Ok(frame) => {
                    self.seat.note_same_log(&frame);
                }
                Err(_) => self.reader = None,
            }
        }
        Ok(())
    }

    /// Reads what its socket still holds; returns whether the relay ended the session.
    async fn was_dropped(&mut self) -> Result<bool, BenchError> {
        let Some(mut session) = self.reader.take() else { return Ok(true) };
        loop {
            match timeout(PATIENCE, session.next()).await.map_err(|_| BenchError::Late("the end of a slow session"))? {
                Ok(frame) => {
                    self.seat.note_same_log(&frame);
                    if self.seat.cursor >= self.written {
                        return Ok(false);
                    }
                }
                Err(Lost::Closed { code, .. }) => return Ok(code == CloseCode::SlowConsumer),
                Err(Lost::Gone) => return Ok(true),
                Err(Lost::Wrong(what)) => return Err(BenchError::Wrong(what)),
            }
        }
    }
}
