//! `cold-fetch`: a device that joined before the paper was written fetches it from a relay that has
//! just started.
//!
//! Invariant: time runs from before the device's store is opened until the whole text was read.

use std::time::Instant;

use tombolo::document::Crdt;
use tombolo::{Milestone, Replica};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::report::{BYTES, MESSAGES, Report, SECONDS, System};
use crate::scene::{CRDTS, Scene, splice};
use crate::trace::Trace;
use crate::window::Window;

/// Measures both CRDTs once.
pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    let trace = Trace::paper()?;
    for (crdt, name) in CRDTS {
        Box::pin(run_crdt(crdt, &format!("cold-fetch/{name}"), &trace, report)).await?;
    }
    Ok(())
}

async fn run_crdt(crdt: Crdt, workload: &str, trace: &Trace, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    scene.bob.close().await?;
    let document = scene.workspace.create_document(crdt).await?;
    let mut window = Window::default();
    for step in &trace.steps {
        window.push(splice(&document, step.at, step.removed, &step.inserted)).await?;
    }
    window.finish().await?;
    awaited("the paper at the relay", document.wait_for(Milestone::RelayDurable)).await?;
    scene.alice.close().await?;
    let path = scene.bobs_path();
    let relay = scene.relay.restart()?;
    let before = relay.counted()?;
    let start = Instant::now();
    let bob = Replica::open(path).await?;
    awaited("bob in step", bob.workspace(scene.theirs.id()).settled()).await?;
    let settled = start.elapsed().as_secs_f64();
    let text = bob.document(document.id()).read(|view| view.text("text")).await?;
    let seconds = start.elapsed().as_secs_f64();
    let counted = relay.counted()? - before;
    if text.as_deref() != Some(trace.end.as_str()) {
        return Err(BenchError::Wrong("the text that was fetched"));
    }
    report.add(workload, System::Tombolo, SECONDS, seconds);
    report.add(&format!("{workload}-transfer"), System::Tombolo, SECONDS, settled);
    report.add(workload, System::Tombolo, BYTES, counted.sent_bytes);
    report.add(workload, System::Tombolo, MESSAGES, counted.frames_in + counted.frames_out);
    Ok(bob.close().await?)
}
