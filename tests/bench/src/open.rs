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
    const BAD: BenchError = BenchError::Answer("the process that opens a store");
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    fill(&store).await?;
    let output = Command::new(std::env::current_exe()?).arg(AS_OPEN).arg(&store).output()?;
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|_| BAD)?;
    let figure = |name: &str| figures[name].as_f64().ok_or(BAD);
    report.add("open/1000-list", System::Tombolo, SECONDS, figure("list")?);
    report.add("open/1000-read-10", System::Tombolo, SECONDS, figure("read")?);
    report.add("open/1000", System::Tombolo, RSS, figure("rss_kib")?);
    Ok(())
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
    let list = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for id in documents.iter().take(READ) {
        let text = replica.document(*id).read(|view| view.text("text")).await?;
        if text.as_deref() != Some(WORDS) {
            return Err(BenchError::Wrong("a document's text"));
        }
    }
    let read = start.elapsed().as_secs_f64();
    if documents.len() != DOCUMENTS {
        return Err(BenchError::Wrong("the number of documents"));
    }
    let rss_kib = system::memory_kib(std::process::id(), "VmHWM")?;
    let figures = serde_json::json!({ "list": list, "read": read, "rss_kib": rss_kib });
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(replica.close().await?)
}
