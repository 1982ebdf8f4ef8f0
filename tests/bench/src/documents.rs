//! `documents`: a workspace of very many documents, of which few change: made, fetched, listed, caught up with, compared;
//! and a device that asks for few of them.
//!
//! Invariant: what is measured behind the making begins with a store that was closed, and ends when nothing is owed; so a
//! figure that grows with all documents, where only [`CHANGED`] of them have something new, is the product's.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;
use tombolo::document::Crdt;
use tombolo::protocol::ids::{DocumentId, WorkspaceId};
use tombolo::{Milestone, Replica};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::relay::{Counted, Relay};
use crate::report::{BYTES, CPU, MESSAGES, RSS, Report, SECONDS, System};
use crate::scene::{Scene, WORDS, splice};
use crate::{open, system};

/// Documents that have something new.
const CHANGED: usize = 10;
/// Documents that are made at once.
const AT_ONCE: usize = 1000;

/// Measures once.
pub(crate) async fn run(documents: usize, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    let mut figures = Figures { documents, report };
    scene.bob.close().await?;
    let carols = scene.join_and_leave("carol").await?;
    let start = Instant::now();
    let written = make(&scene, documents).await?;
    figures.seconds("make", start.elapsed().as_secs_f64());
    awaited("all at the relay", scene.workspace.settled()).await?;
    figures.seconds("settled", start.elapsed().as_secs_f64());
    let store = scene.folder.path().join("alice");
    figures.add("store", BYTES, system::file_bytes(scene.folder.path(), "alice")?);

    let bob = (&*scene.bobs_path(), scene.theirs.id());
    figures.exchange("fetch", &come_back(bob, &scene.relay).await?);
    change(&scene.alice, &written, WORDS.len()).await?;
    figures.exchange("catch-up-10", &come_back(bob, &scene.relay).await?);
    figures.exchange("in-step", &come_back(bob, &scene.relay).await?);

    let (carol, some) = ((&*carols, scene.theirs.id()), 2 * CHANGED.min(documents / 2));
    ask_for(carol, &written[..some / 2]).await?;
    figures.exchange("some-10", &come_back(carol, &scene.relay).await?);
    change(&scene.alice, &written, 2 * WORDS.len()).await?;
    figures.exchange("some-10-catch-up", &come_back(carol, &scene.relay).await?);
    ask_for(carol, &written[..some]).await?;
    figures.exchange("some-10-more", &come_back(carol, &scene.relay).await?);

    let other = Relay::start(&scene.folder.path().join("other"))?;
    scene.alice.dial(&other.address()).await?;
    awaited("all at the other relay", as_many_items(&other, scene.relay.items()?)).await?;
    // From here on there is but the other one, which has what is new and was never seen by Bob.
    drop(scene.relay.kill());
    change(&scene.alice, &written, 3 * WORDS.len()).await?;
    scene.alice.close().await?;
    figures.exchange("compare-10", &come_back(bob, &other).await?);

    let opened = open::alone(&store)?;
    if opened.documents != documents {
        return Err(BenchError::Wrong("the number of documents"));
    }
    figures.seconds("list", opened.list_seconds);
    figures.add("list", RSS, opened.rss_kib);
    Ok(())
}

/// Makes documents with one edit each, many at once.
async fn make(scene: &Scene, documents: usize) -> Result<Vec<DocumentId>, BenchError> {
    let made = (0..documents).map(|_| async {
        let document = scene.workspace.create_document(Crdt::Yrs).await?;
        splice(&document, 0, 0, WORDS).await?;
        Ok(document.id())
    });
    stream::iter(made).buffer_unordered(AT_ONCE).try_collect().await
}

/// Adds something to [`CHANGED`] documents, which lie evenly among all, until a relay has it.
async fn change(writer: &Replica, documents: &[DocumentId], at: usize) -> Result<(), BenchError> {
    for id in documents.iter().step_by(documents.len().div_ceil(CHANGED)) {
        let document = writer.document(*id);
        splice(&document, at, 0, WORDS).await?;
        awaited("durable", document.wait_for(Milestone::RelayDurable)).await?;
    }
    Ok(())
}

/// Lets a device ask for some documents only, before it reaches a relay again.
async fn ask_for((store, workspace): (&Path, WorkspaceId), some: &[DocumentId]) -> Result<(), BenchError> {
    let replica = Replica::builder(store).offline().open().await?;
    replica.workspace(workspace).sync_only(some.iter().copied()).await?;
    Ok(replica.close().await?)
}

async fn as_many_items(relay: &Relay, items: f64) -> Result<(), BenchError> {
    while relay.items()? < items {
        // waits: nothing is measured.
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What passed between a device and a relay, and how long it took.
struct Exchange {
    seconds: f64,
    cpu_seconds: f64,
    counted: Counted,
}

/// Opens a store and waits until it is in step with a relay.
async fn come_back((store, workspace): (&Path, WorkspaceId), relay: &Relay) -> Result<Exchange, BenchError> {
    let pid = std::process::id();
    let (before, cpu, start) = (relay.counted()?, system::cpu_seconds(pid)?, Instant::now());
    let replica = Replica::open(store).await?;
    // One that the store knows is reached anyway.
    replica.dial(&relay.address()).await?;
    awaited("in step with a relay", replica.workspace(workspace).settled()).await?;
    let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), system::cpu_seconds(pid)? - cpu);
    replica.close().await?;
    Ok(Exchange { seconds, cpu_seconds, counted: relay.counted()? - before })
}

/// Names each figure by its part and the number of documents.
struct Figures<'a> {
    documents: usize,
    report: &'a mut Report,
}

impl Figures<'_> {
    fn add(&mut self, part: &str, metric: (&'static str, &'static str), value: f64) {
        self.report.add(&format!("documents/{part}/{}", self.documents), System::Tombolo, metric, value);
    }

    fn seconds(&mut self, part: &str, seconds: f64) {
        self.add(part, SECONDS, seconds);
    }

    fn exchange(&mut self, part: &str, exchange: &Exchange) {
        self.seconds(part, exchange.seconds);
        self.add(part, CPU, exchange.cpu_seconds);
        self.add(part, BYTES, exchange.counted.received_bytes + exchange.counted.sent_bytes);
        self.add(part, MESSAGES, exchange.counted.frames_in + exchange.counted.frames_out);
    }
}
