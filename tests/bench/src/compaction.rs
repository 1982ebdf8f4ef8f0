//! `compaction`: a document of very many small entries, as who types online makes them: what it takes on the device, and
//! how long it takes to open, from its entries and then from its saved form; and the same over a month ([`month`]).
//!
//! Invariant: each opening is that of a store that was closed, and ends with the whole text; the limit is what the CRDT
//! itself saves, uncompressed.

use std::path::Path;
use std::time::Instant;

use tombolo::document::Crdt;
use tombolo::protocol::ids::DocumentId;
use tombolo::{Document, Durability, Milestone, Replica};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::month;
use crate::relay::Relay;
use crate::report::{BYTES, RATIO, Report, SECONDS, System};
use crate::scene::{CRDTS, splice};
use crate::system;

/// Measures both CRDTs once.
pub(crate) async fn run(entries: usize, report: &mut Report) -> Result<(), BenchError> {
    for (crdt, name) in CRDTS {
        Box::pin(run_crdt(crdt, &format!("compaction/{name}"), entries, report)).await?;
    }
    month::run(entries, report)
}

async fn run_crdt(crdt: Crdt, workload: &str, entries: usize, report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let path = folder.path().join("store");
    let replica = open(&path).await?;
    let workspace = replica.create_workspace("Field notes").await?;
    let document = workspace.create_document(crdt).await?;
    replica.dial(&relay.address()).await?;
    awaited("in step", workspace.settled()).await?;
    for at in 0..entries {
        splice(&document, at, 0, "x").await?;
        awaited("durable", document.wait_for(Milestone::RelayDurable)).await?;
    }
    let id = document.id();
    replica.close().await?;
    let (replica, document, before) = reopen(&path, id, entries).await?;
    let whole = document.stats().await?;
    // The saved form is written with what is written anyway.
    splice(&document, entries, 0, "x").await?;
    replica.close().await?;
    let (replica, document, after) = reopen(&path, id, entries + 1).await?;
    let stats = document.stats().await?;
    replica.close().await?;
    let name = |part: &str| format!("{workload}-{part}/{entries}");
    report.add(&name("open-entries"), System::Tombolo, SECONDS, before);
    report.add(&name("open-saved"), System::Tombolo, SECONDS, after);
    report.add(&name("open-saved"), System::Tombolo, RATIO, after / before);
    report.add(&name("store"), System::Tombolo, BYTES, system::file_bytes(folder.path(), "store")?);
    report.add(&name("entries"), System::Tombolo, BYTES, whole.entry_bytes as f64);
    report.add(&name("saved"), System::Tombolo, BYTES, stats.saved_bytes as f64);
    report.add(&name("saved"), System::Limit, BYTES, (stats.live_bytes + stats.overhead_bytes) as f64);
    Ok(())
}

async fn open(path: &Path) -> Result<Replica, BenchError> {
    Ok(Replica::builder(path).durability(Durability::Process).open().await?)
}

/// Opens the store again, and reads the document once; returns how long that took.
async fn reopen(path: &Path, id: DocumentId, letters: usize) -> Result<(Replica, Document, f64), BenchError> {
    let replica = open(path).await?;
    let document = replica.document(id);
    let start = Instant::now();
    let text = document.read(|view| view.text("text")).await?;
    let seconds = start.elapsed().as_secs_f64();
    if text.is_none_or(|text| text.len() != letters) {
        return Err(BenchError::Wrong("the text that was typed"));
    }
    Ok((replica, document, seconds))
}
