//! `append`: how many entries a relay takes for good, from several devices that send as fast as they get receipts.
//!
//! Invariant: entries are signed before the clock runs, so what is measured is the relay: one signature to verify an
//! entry, and its place on disk. The limit is what one core can verify in the same call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use tombolo_protocol::frame::Frame;

use crate::error::BenchError;
use crate::limits;
use crate::load::{Ground, Latencies, Pen, Person, Seat, Session};
use crate::relay::Relay;
use crate::report::{CPU, P99, PER_SECOND, Report, System};

const DEVICES: u32 = 8;
/// Entries of each device.
const ENTRIES: usize = 6_400;
/// Entries of one frame, and frames under way without a receipt: a device that has been offline sends so.
pub(crate) const BATCH: usize = 64;
pub(crate) const UNDER_WAY: u32 = 4;
pub(crate) const SEALED_BYTES: usize = 80;
const LOST: BenchError = BenchError::Answer("a session of append");

/// Measures once.
pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let mut writers = Vec::new();
    for nth in 0..DEVICES {
        writers.push(Writer::enter(relay.socket_address()?, nth).await?);
    }
    let receipts = Arc::<Latencies>::default();
    let (cpu, start) = (relay.cpu_seconds()?, Instant::now());
    let mut tasks = JoinSet::new();
    for writer in writers {
        tasks.spawn(writer.send_all(Arc::clone(&receipts)));
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|_| LOST)??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let entries = f64::from(DEVICES) * ENTRIES as f64;
    report.compare("append", PER_SECOND, entries / seconds, limits::verifies()?);
    report.add("append", System::Tombolo, P99, receipts.take().percentile_ms(0.99));
    report.add("append", System::Tombolo, CPU, relay.cpu_seconds()? - cpu);
    Ok(())
}

struct Writer {
    session: Session,
    batches: Vec<Vec<Vec<u8>>>,
}

impl Writer {
    async fn enter(relay: SocketAddr, nth: u32) -> Result<Self, BenchError> {
        let device = Person::new(0xd4, nth)?;
        let ground = Arc::new(Ground::found(nth, &[&device])?);
        let mut seat = Seat::new(device.clone(), Arc::clone(&ground), true);
        let (mut session, opened) = seat.enter(relay).await.map_err(|_| LOST)?;
        while !seat.note(opened.log, &session.next().await.map_err(|_| LOST)?) {}
        let mut pen = Pen::new(&device, &ground, 1);
        // What later entries are elided against must be there before them.
        session.append(vec![pen.item(SEALED_BYTES)?.into()]).await.map_err(|_| LOST)?;
        take_receipt(&mut session, &[], 0, &Latencies::default()).await?;
        pen.declared_at(ground.records.len() as u64 + 1);
        let items = (0..ENTRIES).map(|_| pen.item(SEALED_BYTES)).collect::<Result<Vec<_>, _>>()?;
        let batches = items.chunks(BATCH).map(<[_]>::to_vec).collect();
        Ok(Self { session, batches })
    }

    async fn send_all(mut self, receipts: Arc<Latencies>) -> Result<(), BenchError> {
        // The first batch was the declaration's.
        let (mut sent, mut received) = (vec![Instant::now()], 1);
        for batch in self.batches {
            let items = batch.into_iter().map(Into::into).collect();
            sent.push(Instant::now());
            let nth = self.session.append(items).await.map_err(|_| LOST)?;
            while nth - received >= UNDER_WAY {
                received = take_receipt(&mut self.session, &sent, received, &receipts).await?;
            }
        }
        while (received as usize) < sent.len() {
            received = take_receipt(&mut self.session, &sent, received, &receipts).await?;
        }
        Ok(())
    }
}

/// Waits for the next receipt; returns up to which batch there is one.
pub(crate) async fn take_receipt(
    session: &mut Session,
    sent: &[Instant],
    received: u32,
    receipts: &Latencies,
) -> Result<u32, BenchError> {
    loop {
        match session.next().await.map_err(|_| LOST)? {
            Frame::Received(frame) => {
                for batch in sent.get(received as usize..frame.last_batch as usize).unwrap_or_default() {
                    receipts.add(batch.elapsed());
                }
                return Ok(frame.last_batch);
            }
            Frame::Refused(_) => return Err(BenchError::Wrong("an entry of append is refused")),
            _ => {}
        }
    }
}
