//! `open`: how soon a store of many documents can be used, and what memory that takes.
//!
//! Invariant: the store was closed before, so nothing but the file system's cache is warm; opening is
//! measured in a process of its own.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tombolo::Replica;
use tombolo::document::Crdt;
use tombolo::protocol::ids::DocumentId;

use crate::error::BenchError;
use crate::report::{RSS, Report, SECONDS, System};
use crate::scene::{WORDS, splice};
use crate::system;
use crate::window::Window;

/// The first argument of the process that opens.
pub(crate) const AS_OPEN: &str = "open-alone";
/// Documents of the store.
const DOCUMENTS: usize = 1000;
/// Documents that are read.
const READ: usize = 10;

/// Measures once.
pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    fill(&store).await?;
    let opened = alone(&store)?;
    if opened.documents != DOCUMENTS {
        return Err(BenchError::Wrong("the number of documents"));
    }
    report.add("open/1000-list", System::Tombolo, SECONDS, opened.list_seconds);
    report.add("open/1000-read-10", System::Tombolo, SECONDS, opened.read_seconds);
    report.add("open/1000", System::Tombolo, RSS, opened.rss_kib);
    Ok(())
}

/// What a process that opened a store, listed its documents and read ten of them says of it.
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct Opened {
    pub(crate) documents: usize,
    pub(crate) list_seconds: f64,
    pub(crate) read_seconds: f64,
    pub(crate) rss_kib: f64,
}

/// Opens a store in a process of its own.
pub(crate) fn alone(store: &Path) -> Result<Opened, BenchError> {
    let output = Command::new(std::env::current_exe()?).arg(AS_OPEN).arg(store).output()?;
    serde_json::from_slice(&output.stdout).map_err(|_| BenchError::Answer("the process that opens a store"))
}

async fn fill(store: &Path) -> Result<(), BenchError> {
    let replica = Replica::open(store).await?;
    let workspace = replica.create_workspace("Many").await?;
    let mut window = Window::default();
    for nth in 0..DOCUMENTS {
        let crdt = if nth % 2 == 0 { Crdt::Automerge } else { Crdt::Yrs };
        let document = workspace.create_document(crdt).await?;
        window.push(splice(&document, 0, 0, WORDS)).await?;
    }
    window.finish().await?;
    Ok(replica.close().await?)
}

/// Opens, lists and reads in this process, and prints the figures.
pub(crate) async fn run_alone(store: &str) -> Result<(), BenchError> {
    let start = Instant::now();
    let replica = Replica::open(store).await?;
    let mut documents: Vec<DocumentId> = Vec::new();
    for workspace in replica.workspaces().await? {
        let listed = replica.workspace(workspace.id).documents().await?;
        documents.extend(listed.iter().map(|summary| summary.id));
    }
    let list_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for id in documents.iter().take(READ) {
        let text = replica.document(*id).read(|view| view.text("text")).await?;
        if !text.is_some_and(|text| text.starts_with(WORDS)) {
            return Err(BenchError::Wrong("a document's text"));
        }
    }
    let read_seconds = start.elapsed().as_secs_f64();
    let rss_kib = system::memory_kib(std::process::id(), "VmHWM")?;
    let opened = Opened { documents: documents.len(), list_seconds, read_seconds, rss_kib };
    let line = serde_json::to_string(&opened).map_err(|_| BenchError::Answer("what was measured"))?;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(replica.close().await?)
}
