//! `kill`: what a relay still has of five entries, each of which it gave a receipt for, when it was killed right after.
//!
//! Invariant: whoever wrote them is gone before the relay is back, and whoever reads them was away before they were
//! written: what the reader finds, the relay kept. `kill -9` loses no page of the system's cache; power cuts are
//! simulated elsewhere (docs/reliability.md).

use tombolo::document::Crdt;
use tombolo::{Milestone, Replica};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::report::{KEPT, Report, System};
use crate::scene::{Scene, WORDS, splice};

/// Rounds of one run, and entries of a round.
const ROUNDS: usize = 5;
const ENTRIES: usize = 5;

/// Measures once.
pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    let Scene { mut alice, mut bob, workspace, theirs, mut relay, folder } = Scene::build().await?;
    let mut kept = 0;
    for _ in 0..ROUNDS {
        bob.close().await?;
        let document = alice.workspace(workspace.id()).create_document(Crdt::Yrs).await?;
        for nth in 0..ENTRIES {
            splice(&document, nth * WORDS.len(), 0, WORDS).await?;
            awaited("a receipt", document.wait_for(Milestone::RelayDurable)).await?;
        }
        let killed = relay.kill();
        alice.close().await?;
        relay = killed.start()?;
        bob = Replica::open(folder.path().join("bob")).await?;
        awaited("bob in step", bob.workspace(theirs.id()).settled()).await?;
        let text = bob.document(document.id()).read(|view| view.text("text")).await.ok().flatten();
        kept += text.map_or(0, |text| text.len() / WORDS.len());
        alice = Replica::open(folder.path().join("alice")).await?;
    }
    report.add("kill/relay", System::Tombolo, KEPT, kept as f64 / (ROUNDS * ENTRIES) as f64);
    alice.close().await?;
    Ok(bob.close().await?)
}
