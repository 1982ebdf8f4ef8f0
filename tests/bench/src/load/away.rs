//! `away`: a real device that was away while very much was written takes all of it back.
//!
//! Invariant: it is in step within [`BACK_MAX`], and every document has its last entry.

use std::time::{Duration, Instant};

use tombolo::document::Crdt;
use tombolo::{Document, Milestone, Replica};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::note;
use crate::report::{BYTES, Report, SECONDS, System};
use crate::scene::{Scene, WORDS, splice};
use crate::window::Window;

/// What the design allows.
const BACK_MAX: Duration = Duration::from_secs(60);
/// Entries of one document.
const ROUNDS: usize = 50;

pub(crate) async fn run(entries: usize, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    let mut documents: Vec<Document> = Vec::new();
    for _ in 0..entries.div_ceil(ROUNDS) {
        documents.push(scene.workspace.create_document(Crdt::Yrs).await?);
    }
    awaited("all at the relay", scene.workspace.settled()).await?;
    awaited("bob in step", scene.theirs.settled()).await?;
    scene.bob.close().await?;
    let before = scene.relay.counted()?;
    for round in 0..ROUNDS {
        let mut window = Window::default();
        for document in &documents {
            window.push(splice(document, 0, 0, WORDS)).await?;
        }
        window.finish().await?;
        // Each has its receipt before the next is written: so each is an entry of its own.
        for document in &documents {
            awaited("durable", document.wait_for(Milestone::RelayDurable)).await?;
        }
        if round % 10 == 9 {
            note(&format_args!("away: {} entries written", (round + 1) * documents.len()));
        }
    }
    let written = scene.relay.items()?;
    scene.alice.close().await?;
    let start = Instant::now();
    let bob = Replica::open(scene.bobs_path()).await?;
    awaited("bob in step again", bob.workspace(scene.theirs.id()).settled()).await?;
    let taken = start.elapsed();
    for document in &documents {
        let text = bob.document(document.id()).read(|view| view.text("text")).await?;
        if text.is_none_or(|text| text.len() != ROUNDS * WORDS.len()) {
            return Err(BenchError::Wrong("a document after catching up"));
        }
    }
    let counted = scene.relay.counted()? - before;
    note(&format_args!("away: {written:.0} items at the relay, taken back in {:.1} s", taken.as_secs_f64()));
    let workload = format!("load/away/{entries}");
    report.add(&workload, System::Tombolo, SECONDS, taken.as_secs_f64());
    report.add(&workload, System::Tombolo, BYTES, counted.sent_bytes);
    bob.close().await?;
    if taken > BACK_MAX { Err(BenchError::Late("a device that was away")) } else { Ok(()) }
}
