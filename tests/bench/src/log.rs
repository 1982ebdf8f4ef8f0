//! `log`: a workspace whose log at the relay is very long: how it is written, how it is read whole, and what remains to be
//! done for a reader who has all of it, once the relay has been started again.
//!
//! Invariant: the relay's own time and memory are measured, for the sessions (light ones, see `load`) share its machine.

use std::sync::Arc;
use std::time::Instant;

use tombolo_protocol::frame::Frame;

use crate::append::{BATCH, SEALED_BYTES, UNDER_WAY, take_receipt};
use crate::error::BenchError;
use crate::load::{Ground, Latencies, Pen, Person, Seat};
use crate::relay::Relay;
use crate::report::{BYTES, CPU, RSS, Report, SECONDS, System};
use crate::system;

/// The room of every run; its relay is new each time.
const ROOM: u32 = 0;
const LOST: BenchError = BenchError::Answer("a session of log");

/// Measures once.
pub(crate) async fn run(items: usize, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("relay");
    let relay = Relay::start(&data)?;
    let devices = [Person::new(0xe5, 0)?, Person::new(0xe6, 0)?];
    let ground = Arc::new(Ground::found(ROOM, &[&devices[0], &devices[1]])?);
    let mut figures = Figures { items, report };

    let mut stretch = Stretch::begin(&relay)?;
    write(&relay, &devices[0], &ground, items).await?;
    figures.add("write", &relay, &stretch)?;
    let name = format!("log/write/{items}");
    figures.report.add(&name, System::Tombolo, BYTES, system::folder_bytes(&data)?);

    let mut reader = Seat::new(devices[1].clone(), Arc::clone(&ground), false);
    stretch = Stretch::begin(&relay)?;
    read(&mut reader, &relay).await?;
    figures.add("read", &relay, &stretch)?;
    if reader.cursor < items as u64 {
        return Err(BenchError::Wrong("the length of the log"));
    }

    let relay = relay.restart()?;
    stretch = Stretch::begin(&relay)?;
    read(&mut reader, &relay).await?;
    figures.add("come-back", &relay, &stretch)
}

/// Writes one chain of so many entries, until all have their receipts.
async fn write(relay: &Relay, device: &Person, ground: &Arc<Ground>, items: usize) -> Result<(), BenchError> {
    let mut seat = Seat::new(device.clone(), Arc::clone(ground), true);
    let (mut session, opened) = seat.enter(relay.socket_address()?).await.map_err(|_| LOST)?;
    while !seat.note(opened.log, &session.next().await.map_err(|_| LOST)?) {}
    let mut pen = Pen::new(device, ground, 1);
    let nobody = Latencies::default();
    // What later entries are elided against must be there before them.
    session.append(vec![pen.item(SEALED_BYTES)?.into()]).await.map_err(|_| LOST)?;
    let mut received = take_receipt(&mut session, &[], 0, &nobody).await?;
    pen.declared_at(ground.records.len() as u64 + 1);
    let mut sent = received;
    for first in (1..items).step_by(BATCH) {
        let batch = (first..items.min(first + BATCH)).map(|_| Ok(pen.item(SEALED_BYTES)?.into()));
        sent = session.append(batch.collect::<Result<_, BenchError>>()?).await.map_err(|_| LOST)?;
        while sent - received >= UNDER_WAY {
            received = take_receipt(&mut session, &[], received, &nobody).await?;
        }
    }
    while received < sent {
        received = take_receipt(&mut session, &[], received, &nobody).await?;
    }
    Ok(())
}

/// Opens the log where the reader stands, and reads up to its head.
async fn read(reader: &mut Seat, relay: &Relay) -> Result<(), BenchError> {
    let (mut session, opened) = reader.enter(relay.socket_address()?).await.map_err(|_| LOST)?;
    loop {
        let frame: Frame = session.next().await.map_err(|_| LOST)?;
        if reader.note(opened.log, &frame) {
            return Ok(());
        }
    }
}

/// Time that passes, and the relay's own.
struct Stretch {
    start: Instant,
    cpu_seconds: f64,
}

impl Stretch {
    fn begin(relay: &Relay) -> Result<Self, BenchError> {
        Ok(Self { cpu_seconds: relay.cpu_seconds()?, start: Instant::now() })
    }
}

/// Names each figure by its part and the number of items.
struct Figures<'a> {
    items: usize,
    report: &'a mut Report,
}

impl Figures<'_> {
    fn add(&mut self, part: &str, relay: &Relay, stretch: &Stretch) -> Result<(), BenchError> {
        let name = format!("log/{part}/{}", self.items);
        self.report.add(&name, System::Tombolo, SECONDS, stretch.start.elapsed().as_secs_f64());
        self.report.add(&name, System::Tombolo, CPU, relay.cpu_seconds()? - stretch.cpu_seconds);
        self.report.add(&name, System::Tombolo, RSS, relay.rss_kib()?);
        Ok(())
    }
}
