//! What a call, a read, an edit and an event cost in Rust, for the other languages to stand beside.
//!
//! Invariant: what is timed is what their devices time, by the same words and as often; a figure is the median of batches,
//! so that a moment in which the machine does something else does not count.
#![allow(clippy::print_stdout, reason = "a device says on its standard output what it found")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use tombolo::document::{Crdt, PathStep};
use tombolo::{Document, DocumentEvents, Durability, Replica};

use crate::fault::Fault;
use crate::stage::number;

/// How many batches a count is cut into.
const BATCHES: u32 = 10;
/// What one large read returns.
const LARGE_BYTES: usize = 1 << 20;

/// Times what the words name, each with how often: `call 1000 read 100 …`; prints `time NAME NANOSECONDS` for each.
///
/// # Errors
/// [`Fault`] if nobody knows how to time it, or a call fails.
pub async fn time(folder: &Path, words: &[&str]) -> Result<(), Fault> {
    let opened = async |name: &str, durability| -> Result<(Replica, Document), Fault> {
        let replica = Replica::builder(folder.join(name)).durability(durability).open().await?;
        let document = replica.create_workspace("things").await?.create_document(Crdt::Yrs).await?;
        Ok((replica, document))
    };
    let (quick, document) = opened("process", Durability::Process).await?;
    let (slow, durable) = opened("power", Durability::Power).await?;
    document
        .edit(|root| {
            root.put("title", "Reef survey")?;
            root.put("large", "x".repeat(LARGE_BYTES))
        })
        .await?;
    for pair in words.chunks(2) {
        let [what, count] = pair else {
            return Err(Fault::otherwise("each has a count"));
        };
        let took = one(what, number(count)?, &document, &durable).await?;
        println!("time {what} {}", took.as_nanos());
    }
    slow.close().await?;
    Ok(quick.close().await?)
}

async fn one(what: &str, count: u32, document: &Document, durable: &Document) -> Result<Duration, Fault> {
    match what {
        "call" => {
            median(count, async |_| {
                black_box(document.id());
                Ok(())
            })
            .await
        }
        "read" => median(count, async |_| read(document, "title").await).await,
        "read-large" => median(count, async |_| read(document, "large").await).await,
        "edit" => median(count, async |turn| put(document, turn).await).await,
        "edit-durable" => median(count, async |turn| put(durable, turn).await).await,
        "event" => {
            let mut events = document.subscribe().await?;
            next(&mut events).await?;
            median(count, async |turn| {
                put(document, turn).await?;
                next(&mut events).await
            })
            .await
        }
        _ => Err(Fault::otherwise(format!("nobody knows how to time {what}"))),
    }
}

async fn read(document: &Document, key: &str) -> Result<(), Fault> {
    let path = [PathStep::Key(key.to_owned())];
    let found = document.read(move |view| view.at(&path)).await?;
    found.map(drop).ok_or_else(|| Fault::otherwise("nothing is there"))
}

async fn put(document: &Document, turn: u32) -> Result<(), Fault> {
    Ok(document.edit(move |root| root.put("n", i64::from(turn))).await?)
}

async fn next(events: &mut DocumentEvents) -> Result<(), Fault> {
    events.next().await.map(drop).ok_or_else(|| Fault::otherwise("the events have ended"))
}

/// Makes a call so often, and returns what one took in the batch in the middle.
async fn median(count: u32, mut call: impl AsyncFnMut(u32) -> Result<(), Fault>) -> Result<Duration, Fault> {
    let (size, mut batches) = (count / BATCHES, Vec::new());
    for batch in 0..BATCHES {
        let began = Instant::now();
        for turn in 0..size {
            call(batch * size + turn).await?;
        }
        batches.push(began.elapsed() / size);
    }
    batches.sort();
    Ok(batches.get(batches.len() / 2).copied().unwrap_or_default())
}
