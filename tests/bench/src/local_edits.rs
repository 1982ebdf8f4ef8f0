//! `local-edits`: one-character edits that are durable when they are awaited, beside raw SQLite.
//!
//! Invariant: the limit of each figure is measured right before it.

use std::time::Instant;

use tombolo::document::Crdt;
use tombolo::{Durability, Replica};

use crate::error::BenchError;
use crate::limits;
use crate::report::{PER_SECOND, Report};
use crate::scene::{CRDTS, splice};
use crate::window::Window;

/// Edits of one figure.
const EDITS: usize = 2000;
/// Rows a commit of the limit that edits in flight are compared with.
const LIMIT_ROWS: usize = 100;

/// Measures all kinds once.
pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    for (durability, name) in [(Durability::Power, "power"), (Durability::Process, "process")] {
        let full = durability == Durability::Power;
        for (crdt, crdt_name) in CRDTS {
            let limit = limits::sqlite(full, 1)?;
            let ours = one_by_one(durability, crdt).await?;
            report.compare(&format!("local-edits/{name}-awaited-{crdt_name}"), PER_SECOND, ours, limit);
            let limit = limits::sqlite(full, LIMIT_ROWS)?;
            let ours = in_flight(durability, crdt).await?;
            report.compare(&format!("local-edits/{name}-in-flight-{crdt_name}"), PER_SECOND, ours, limit);
        }
    }
    Ok(())
}

async fn one_by_one(durability: Durability, crdt: Crdt) -> Result<f64, BenchError> {
    let folder = tempfile::tempdir()?;
    let replica = Replica::builder(folder.path().join("store")).durability(durability).open().await?;
    let document = replica.create_workspace("Limits").await?.create_document(crdt).await?;
    splice(&document, 0, 0, "x").await?;
    let start = Instant::now();
    for at in 1..=EDITS {
        splice(&document, at, 0, "x").await?;
    }
    let rate = EDITS as f64 / start.elapsed().as_secs_f64();
    replica.close().await?;
    Ok(rate)
}

async fn in_flight(durability: Durability, crdt: Crdt) -> Result<f64, BenchError> {
    let folder = tempfile::tempdir()?;
    let replica = Replica::builder(folder.path().join("store")).durability(durability).open().await?;
    let document = replica.create_workspace("Limits").await?.create_document(crdt).await?;
    splice(&document, 0, 0, "x").await?;
    let start = Instant::now();
    let mut window = Window::default();
    for at in 1..=EDITS {
        window.push(splice(&document, at, 0, "x")).await?;
    }
    window.finish().await?;
    let rate = EDITS as f64 / start.elapsed().as_secs_f64();
    replica.close().await?;
    Ok(rate)
}
