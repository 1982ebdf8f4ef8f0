//! `live`: from an edit on one device to its patches on another, through a relay, in an open loop.
//!
//! Invariant: edits start by the clock whether or not earlier ones have arrived; latency counts from the
//! moment an edit was due, so a stall is seen by every edit behind it.

use std::time::{Duration, Instant};

use tombolo::document::{Crdt, PatchAction};
use tombolo::{DocumentEvent, DocumentEvents, Milestone};

use crate::error::BenchError;
use crate::limits;
use crate::measure::{PATIENCE, awaited, until};
use crate::report::{CPU, P50, P99, RSS, Report, System, percentile};
use crate::scene::{CRDTS, Scene, WORDS, splice, text_of_length};
use crate::window::Window;

/// Time between edits: 100 a second.
const EVERY: Duration = Duration::from_millis(10);

/// Flushes between an edit and its patches elsewhere: the writer's, the relay's, the reader's.
const FLUSHES: f64 = 3.0;

/// Measures both CRDTs once.
pub(crate) async fn run(edits: usize, report: &mut Report) -> Result<(), BenchError> {
    for (crdt, name) in CRDTS {
        Box::pin(run_crdt(crdt, &format!("live/{name}"), edits, report)).await?;
    }
    Ok(())
}

async fn run_crdt(crdt: Crdt, workload: &str, edits: usize, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    let document = scene.workspace.create_document(crdt).await?;
    splice(&document, 0, 0, WORDS).await?;
    awaited("durable", document.wait_for(Milestone::RelayDurable)).await?;
    let there = scene.bob.document(document.id());
    awaited("bob has the document", text_of_length(&there, WORDS.len())).await?;
    let events = there.subscribe().await?;
    let cpu = scene.relay.cpu_seconds()?;
    let start = Instant::now() + 2 * EVERY;
    let reader = tokio::spawn(arrivals(events, edits));
    let mut window = Window::default();
    for nth in 0..edits {
        let due = start + EVERY * u32::try_from(nth).unwrap_or(u32::MAX);
        // waits: the loop is open, edits begin by the clock.
        until(due).await;
        window.push(splice(&document, (nth + 1) * WORDS.len(), 0, WORDS)).await?;
    }
    window.finish().await?;
    let arrived =
        tokio::time::timeout(PATIENCE, reader).await.map_err(|_| BenchError::Late("all edits at the reader"))?;
    let arrived = arrived.map_err(|_| BenchError::Answer("the reader"))?;
    let latency = |(nth, at): (usize, &Instant)| {
        let due = start + EVERY * u32::try_from(nth).unwrap_or(u32::MAX);
        at.saturating_duration_since(due).as_secs_f64() * 1e3
    };
    let mut latencies: Vec<f64> = arrived.iter().enumerate().map(latency).collect();
    let limit_ms = FLUSHES * limits::fsync()? * 1e3;
    report.compare(workload, P50, percentile(&mut latencies, 0.5), limit_ms);
    report.add(workload, System::Tombolo, P99, percentile(&mut latencies, 0.99));
    report.add(workload, System::Tombolo, CPU, scene.relay.cpu_seconds()? - cpu);
    report.add(workload, System::Tombolo, RSS, scene.relay.rss_kib()?);
    scene.alice.close().await?;
    Ok(scene.bob.close().await?)
}

/// Notes when each edit was shown to the reader.
async fn arrivals(mut events: DocumentEvents, edits: usize) -> Vec<Instant> {
    let mut arrived = Vec::with_capacity(edits);
    let mut characters = 0;
    while arrived.len() < edits {
        match events.next().await {
            Some(DocumentEvent::Changed { patches, .. }) => {
                for patch in patches {
                    if let PatchAction::SpliceText { inserted, .. } = patch.action {
                        characters += inserted.len();
                    }
                }
            }
            Some(_) => {}
            None => break,
        }
        let now = Instant::now();
        arrived.resize(edits.min(characters / WORDS.len()), now);
    }
    arrived
}
