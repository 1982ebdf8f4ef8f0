//! The workloads, each as `drive.mjs` has it for the other peers.
//!
//! Invariant: a figure is printed under the name, with the warm-up and over the span of time that it has there.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use flate2::read::GzDecoder;
use futures::StreamExt as _;
use futures::future::try_join_all;
use samod::storage::InMemoryStorage;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::client::{Client, Document, Step, WORDS};
use crate::measure::{edits, figure, latencies, percentiles, until};
use crate::server::Server;

/// Edits a second of `live` and of `fan-out`.
const LIVE_PER_SECOND: u32 = 100;
const FAN_OUT_PER_SECOND: u32 = 20;
/// Connections before those of which `idle` counts the memory.
const WARM_UP: u32 = 8;
/// How long a server has before its memory is read.
const REST: Duration = Duration::from_secs(2);
/// How long a server has to write what it has: it does not say when.
const WRITING: Duration = Duration::from_secs(15);
/// Edits of a round of `kill`.
const KILL_EDITS: usize = 5;

/// A client of its own with a new document.
async fn create(server: &Server) -> Outcome<Document> {
    Client::connect(server.address()?, InMemoryStorage::new()).await?.create().await
}

/// A client of its own that has nothing and opens what another wrote.
async fn open(server: &Server, written: &Document) -> Outcome<Document> {
    Client::connect(server.address()?, InMemoryStorage::new()).await?.open(written.id()).await
}

/// One writes, one reads along.
pub(crate) async fn live(server: &Server, count: u32) -> Outcome {
    let writer = create(server).await?;
    let reader = open(server, &writer).await?;
    writer.append()?;
    until(|| reader.length() >= WORDS.len()).await;
    let arrivals = arrivals(reader, count);
    let cpu = server.cpu_seconds()?;
    let due = edits(&writer, count, LIVE_PER_SECOND).await?;
    let (arrived, _reader) = arrivals.await?;
    percentiles(latencies(&due, &arrived).collect());
    figure("cpu_s", "s", server.cpu_seconds()? - cpu);
    figure("rss_kib", "KiB", server.rss_kib()?);
    Ok(())
}

/// One writes, many read along. The readers apply what comes: a server of this protocol sends on only to who answers.
pub(crate) async fn fan_out(server: &Server, readers: u32, count: u32) -> Outcome {
    let writer = create(server).await?;
    writer.append()?;
    let mut all = Vec::new();
    for _ in 0..readers {
        all.push(open(server, &writer).await?);
    }
    until(|| all.iter().all(|reader| reader.length() >= WORDS.len())).await;
    let (cpu, before) = (server.cpu_seconds()?, received(&all));
    let tasks: Vec<_> = all.into_iter().map(|reader| arrivals(reader, count)).collect();
    let due = edits(&writer, count, FAN_OUT_PER_SECOND).await?;
    let (mut samples, mut all) = (Vec::new(), Vec::new());
    for task in tasks {
        let (arrived, reader) = task.await?;
        samples.extend(latencies(&due, &arrived));
        all.push(reader);
    }
    percentiles(samples);
    figure("cpu_s", "s", server.cpu_seconds()? - cpu);
    figure("rss_kib", "KiB", server.rss_kib()?);
    figure("bytes", "B", (received(&all) - before) / f64::from(readers) / f64::from(count));
    Ok(())
}

/// Notes when each edit after the first was there to be read; gives the reader back.
fn arrivals(reader: Document, count: u32) -> JoinHandle<(Vec<Instant>, Document)> {
    let mut changes = reader.changes();
    let count = count as usize;
    tokio::spawn(async move {
        let mut arrived = Vec::with_capacity(count);
        while arrived.len() < count && changes.next().await.is_some() {
            let there = (reader.length() / WORDS.len()).saturating_sub(1);
            arrived.resize(count.min(there), Instant::now());
        }
        (arrived, reader)
    })
}

fn received(documents: &[Document]) -> f64 {
    documents.iter().map(|document| document.client.received()).sum::<u64>() as f64
}

/// Many are connected, each with a document of its own, and say nothing.
pub(crate) async fn idle(server: &Server, connections: u32) -> Outcome {
    let mut all = Vec::new();
    connect(server, WARM_UP, &mut all).await?;
    let before = server.rss_kib()?;
    connect(server, connections, &mut all).await?;
    let after = server.rss_kib()?;
    figure("rss_kib", "KiB", after);
    figure("rss_kib_per_session", "KiB", (after - before) / f64::from(connections));
    Ok(())
}

async fn connect(server: &Server, connections: u32, all: &mut Vec<Document>) -> Outcome {
    for _ in 0..connections {
        let client = create(server).await?;
        client.append()?;
        all.push(client);
    }
    // waits: for the server to come to rest.
    sleep(REST).await;
    Ok(())
}

/// A recorded text, as far as it is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    txns: Vec<Transaction>,
    end_content: String,
}

#[derive(Deserialize)]
struct Transaction {
    patches: Vec<Step>,
}

/// A recorded paper, typed as one change, is fetched by a client that has nothing from a server that was started again.
pub(crate) async fn cold_fetch(server: &mut Server, trace: &Path) -> Outcome {
    let Trace { txns, end_content } = serde_json::from_reader(GzDecoder::new(File::open(trace)?))?;
    let length = end_content.chars().count();
    let steps: Vec<Step> = txns.into_iter().flat_map(|transaction| transaction.patches).collect();
    let writer = create(server).await?;
    writer.type_all(&steps)?;
    until(|| writer.acknowledged()).await;
    // waits: for what the server keeps to be written.
    sleep(WRITING).await;
    writer.client.close().await;
    server.kill()?;
    server.start_again().await?;
    let began = Instant::now();
    let reader = open(server, &writer).await?;
    until(|| reader.length() >= length).await;
    figure("seconds", "s", began.elapsed().as_secs_f64());
    figure("bytes", "B", reader.client.received() as f64);
    Ok(())
}

/// Who was away has the first edit of each document, kept in memory, and gets the second. All documents are one client's
/// on either side, for with a client a document the server spends its time on the pairs of the two.
pub(crate) async fn catch_up(server: &Server, documents: u32) -> Outcome {
    let writer = Client::connect(server.address()?, InMemoryStorage::new()).await?;
    let mut written = Vec::new();
    for _ in 0..documents {
        let document = writer.create().await?;
        document.append()?;
        written.push(document);
    }
    until(|| written.iter().all(Document::acknowledged)).await;
    let kept = InMemoryStorage::new();
    let reader = Client::connect(server.address()?, kept.clone()).await?;
    let opened = try_join_all(written.iter().map(|document| reader.open(document.id()))).await?;
    until(|| opened.iter().all(|there| there.length() >= WORDS.len())).await;
    reader.close().await;
    written.iter().try_for_each(Document::append)?;
    until(|| written.iter().all(Document::acknowledged)).await;
    // waits: as for the other peers, of which some do not say when they have everything.
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let reader = Client::connect(server.address()?, kept).await?;
    let opened = try_join_all(written.iter().map(|document| reader.open(document.id()))).await?;
    until(|| opened.iter().all(|there| there.length() >= 2 * WORDS.len())).await;
    figure("seconds", "s", began.elapsed().as_secs_f64());
    figure("bytes", "B", reader.received() as f64);
    Ok(())
}

/// The server is killed as soon as it has said that it has everything; how much of it is there afterwards?
pub(crate) async fn kill(server: &mut Server, rounds: u32) -> Outcome {
    let mut ratios = 0.0;
    for _ in 0..rounds {
        let writer = create(server).await?;
        for _ in 0..KILL_EDITS {
            writer.append()?;
            until(|| writer.acknowledged()).await;
        }
        server.kill()?;
        writer.client.close().await;
        server.start_again().await?;
        let reader = open(server, &writer).await.ok();
        // waits: for what comes after the first answer.
        sleep(Duration::from_millis(300)).await;
        let there = reader.as_ref().map_or(0, Document::length);
        ratios += there as f64 / WORDS.len() as f64 / KILL_EDITS as f64;
        if let Some(reader) = reader {
            reader.client.close().await;
        }
    }
    figure("kept_ratio", "1", ratios / f64::from(rounds));
    Ok(())
}
