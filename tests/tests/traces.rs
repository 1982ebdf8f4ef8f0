//! Real editing traces through real replicas and a real relay.
//!
//! The traces are not part of the tree; a test that does not find them says so and counts a skip,
//! which is a failure where `CI` is set and the data's folder is there.
//!
//! Eight keystrokes are one edit, which is what an editor makes of fast typing; `TOMBOLO_KEYSTROKES=1` makes each one
//! of its own, which takes minutes.

#![cfg(test)]

use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tombolo::document::{Crdt, MapEdit};
use tombolo::protocol::record::Role;
use tombolo::{Document, Durability, Error, Milestone, Replica, Workspace};

/// An edit that waits for its commit.
type Edit = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Edits that wait for their commit at once.
const IN_FLIGHT_MAX: usize = 512;

struct Trace {
    patches: Vec<(usize, usize, String)>,
    end: String,
}

/// Finds a trace beside the tree or where `TOMBOLO_TRACES` says.
fn trace(name: &str) -> Option<serde_json::Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = std::env::var_os("TOMBOLO_TRACES").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let Ok(file) = std::fs::File::open(folder.join(name)) else {
        println!("SKIPPED: {name} is not in {}; skipped: 1", folder.display());
        assert!(!(folder.is_dir() && std::env::var_os("CI").is_some()), "{name} is missing");
        return None;
    };
    serde_json::from_reader(flate2::read::GzDecoder::new(file)).ok()
}

fn paper() -> Option<Trace> {
    let json = trace("automerge-paper.json.gz")?;
    let mut patches = Vec::new();
    for transaction in json["txns"].as_array()? {
        for patch in transaction["patches"].as_array()? {
            let number = |at: usize| patch[at].as_u64().and_then(|number| usize::try_from(number).ok());
            patches.push((number(0)?, number(1)?, patch[2].as_str()?.to_owned()));
        }
    }
    Some(Trace { patches, end: json["endContent"].as_str()?.to_owned() })
}

fn sha256(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&tombolo::protocol::hash::sha256(&[text.as_bytes()]))
}

async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(Duration::from_secs(seconds), future).await else {
        unreachable!("not within {seconds} s: {what}");
    };
    done
}

/// How many keystrokes are one edit.
fn keystrokes() -> usize {
    std::env::var("TOMBOLO_KEYSTROKES")
        .ok()
        .and_then(|number| number.parse().ok())
        .filter(|number| *number > 0)
        .unwrap_or(8)
}

/// Types patches, some to an edit, many edits under way at once, in order.
async fn type_in(document: &Document, patches: &[(usize, usize, String)]) -> Result<(), Error> {
    for chunk in patches.chunks(IN_FLIGHT_MAX * keystrokes()) {
        let mut edits: Vec<Edit> = Vec::new();
        for strokes in chunk.chunks(keystrokes()).map(<[_]>::to_vec) {
            let document = document.clone();
            let typed = move |e: &mut MapEdit<'_>| {
                strokes
                    .into_iter()
                    .try_for_each(|(at, deleted, inserted)| e.text("text")?.splice(at, deleted, &inserted))
            };
            let mut edit: Edit = Box::pin(async move { document.edit(typed).await });
            // Polled once, an edit stands in the engine's queue: so they keep their order.
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(edit.as_mut().poll(context))).await;
            match polled {
                std::task::Poll::Ready(done) => done?,
                std::task::Poll::Pending => edits.push(edit),
            }
        }
        for edit in edits {
            edit.await?;
        }
    }
    Ok(())
}

async fn text_of(document: &Document) -> String {
    document.read(|view| view.text("text")).await.ok().flatten().unwrap_or_default()
}

struct World {
    folder: tempfile::TempDir,
    address: String,
    admin: std::net::SocketAddr,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = tombolo_relay::Config::on_loopback(&folder.path().join("relay")).unwrap();
        let relay = tombolo_relay::serve(config, std::future::pending()).await.unwrap();
        let (address, admin) = (format!("ws://{}", relay.address), relay.admin_address);
        Self { folder, address, admin }
    }

    async fn replica(&self, name: &str) -> Replica {
        Replica::builder(self.folder.path().join(name)).durability(Durability::Process).open().await.unwrap()
    }

    async fn founder(&self) -> (Replica, Workspace) {
        let founder = self.replica("founder").await;
        let workspace = founder.create_workspace("Traces").await.unwrap();
        founder.dial(&self.address).await.unwrap();
        within(20, "the founder is in step", workspace.settled()).await.unwrap();
        (founder, workspace)
    }

    async fn member(&self, name: &str, of: &Workspace) -> (Replica, Workspace) {
        let invite = of.invite(Role::Writer).create().await.unwrap();
        let replica = self.replica(name).await;
        let workspace = replica.join(&invite.to_string()).await.unwrap();
        within(20, "a member has joined", workspace.ready()).await.unwrap();
        (replica, workspace)
    }

    /// Reads one number of the relay's metrics.
    async fn metric(&self, name: &str) -> u64 {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.admin).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        line.map_or(0, |value| value as u64)
    }
}

async fn the_paper_in(crdt: Crdt) {
    let Some(trace) = paper() else { return };
    let world = World::new().await;
    let (_a, workspace) = world.founder().await;
    let (b, _) = world.member("live", &workspace).await;
    let (c, cold) = world.member("cold", &workspace).await;
    c.pause().await.unwrap();
    let document = workspace.create_document(crdt).await.unwrap();
    let start = Instant::now();
    type_in(&document, &trace.patches).await.unwrap();
    let typed = start.elapsed();
    within(120, "the relay has it all", document.wait_for(Milestone::RelayDurable)).await.unwrap();
    let durable = start.elapsed();
    assert_eq!(sha256(&text_of(&document).await), sha256(&trace.end), "the writer's own text");
    let live = b.document(document.id());
    within(120, "the live reader has it", async {
        while live.read(|view| view.text("text")).await.is_err() || text_of(&live).await.len() < trace.end.len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(sha256(&text_of(&live).await), sha256(&trace.end), "the live reader's text");
    let start = Instant::now();
    c.resume().await.unwrap();
    within(120, "the cold reader is in step", cold.settled()).await.unwrap();
    assert_eq!(sha256(&text_of(&c.document(document.id())).await), sha256(&trace.end), "the cold reader's text");
    println!("{crdt:?}: typed in {typed:?}, durable after {durable:?}, cold reader after {:?}", start.elapsed());
    for member in [&b, &c] {
        assert_eq!(
            member
                .counters()
                .await
                .unwrap()
                .iter()
                .filter(|(reason, _)| *reason != tombolo::SetAsideReason::Duplicate)
                .count(),
            0
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_paper_typed_into_automerge_arrives_live_and_cold() {
    the_paper_in(Crdt::Automerge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_paper_typed_into_yrs_arrives_live_and_cold() {
    the_paper_in(Crdt::Yrs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_documents_are_caught_up_with_one_request() {
    const DOCUMENTS: usize = 1000;
    let world = World::new().await;
    let (_a, workspace) = world.founder().await;
    let (b, theirs) = world.member("away", &workspace).await;
    let mut documents = Vec::new();
    for _ in 0..DOCUMENTS {
        documents.push(workspace.create_document(Crdt::Yrs).await.unwrap());
    }
    within(60, "all documents are at the relay", workspace.settled()).await.unwrap();
    within(60, "all documents have arrived", async {
        while theirs.documents().await.unwrap().len() < DOCUMENTS {
            tokio::task::yield_now().await;
        }
    })
    .await;
    b.pause().await.unwrap();
    for document in &documents {
        document.edit(|e| e.text("text")?.splice(0, 0, "the quick brown fox ")).await.unwrap();
    }
    within(60, "all edits are at the relay", workspace.settled()).await.unwrap();
    let before = world.metric("tombolo_relay_frames_total{direction=\"in\",type=\"open\"}").await;
    let start = Instant::now();
    b.resume().await.unwrap();
    within(60, "the away device is in step", theirs.settled()).await.unwrap();
    let took = start.elapsed();
    let opens = world.metric("tombolo_relay_frames_total{direction=\"in\",type=\"open\"}").await - before;
    let fetches = world.metric("tombolo_relay_frames_total{direction=\"in\",type=\"fetch\"}").await;
    assert_eq!((opens, fetches), (1, 0), "one request brings everything");
    for document in documents {
        assert_eq!(text_of(&b.document(document.id())).await, "the quick brown fox ");
    }
    println!("{DOCUMENTS} documents caught up in {took:?} with {opens} request");
}
