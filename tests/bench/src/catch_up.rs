//! `catch-up`: a device that was away while another added one edit to each of many documents.
//!
//! Invariant: time runs from before the device's store is opened until nothing is owed and every
//! document has the new entry.

use std::time::Instant;

use tombolo::document::Crdt;
use tombolo::{Document, Milestone, Replica};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::report::{BYTES, MESSAGES, Report, SECONDS, System};
use crate::scene::{Scene, WORDS, splice};
use crate::window::Window;

/// Measures once.
pub(crate) async fn run(documents: usize, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    let mut written: Vec<Document> = Vec::with_capacity(documents);
    for _ in 0..documents {
        written.push(scene.workspace.create_document(Crdt::Yrs).await?);
    }
    append_to_each(&written, 0).await?;
    awaited("all at the relay", scene.workspace.settled()).await?;
    awaited("bob has all", listed(&scene, documents)).await?;
    awaited("bob in step", scene.theirs.settled()).await?;
    scene.bob.close().await?;
    append_to_each(&written, WORDS.len()).await?;
    for document in &written {
        awaited("durable", document.wait_for(Milestone::RelayDurable)).await?;
    }
    scene.alice.close().await?;
    let before = scene.relay.counted()?;
    let start = Instant::now();
    let bob = Replica::open(scene.bobs_path()).await?;
    awaited("bob in step again", bob.workspace(scene.theirs.id()).settled()).await?;
    let seconds = start.elapsed().as_secs_f64();
    let counted = scene.relay.counted()? - before;
    for document in &written {
        let text = bob.document(document.id()).read(|view| view.text("text")).await?;
        if text.is_none_or(|text| text.len() != 2 * WORDS.len()) {
            return Err(BenchError::Wrong("a document after catching up"));
        }
    }
    let workload = format!("catch-up/{documents}");
    report.add(&workload, System::Tombolo, SECONDS, seconds);
    report.add(&workload, System::Tombolo, BYTES, counted.received_bytes + counted.sent_bytes);
    report.add(&workload, System::Tombolo, MESSAGES, counted.frames_in + counted.frames_out);
    Ok(bob.close().await?)
}

async fn append_to_each(documents: &[Document], at: usize) -> Result<(), BenchError> {
    let mut window = Window::default();
    for document in documents {
        window.push(splice(document, at, 0, WORDS)).await?;
    }
    window.finish().await
}

async fn listed(scene: &Scene, documents: usize) -> Result<(), BenchError> {
    let mut events = scene.bob.events();
    while scene.theirs.documents().await?.len() < documents {
        if events.next().await.is_none() {
            return Err(BenchError::Answer("bob's events"));
        }
    }
    Ok(())
}
