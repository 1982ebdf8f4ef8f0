//! A process to be killed: a device that edits without a pause, one that only holds its store, or a relay.
//!
//! Invariant: a line `done N` on standard output is written after edit N was acknowledged, and a line `begin N` before
//! it is asked for; so the last line that the parent reads tells in what a kill has fallen.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use tombolo::document::{Crdt, Value};
use tombolo::{Document, Durability, Error, Replica};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["relay", ..] => tombolo_relay::main_with(std::env::args_os().skip(1)),
        ["hold", path] => block_on(hold(Path::new(path))),
        ["edit", path, durability] => block_on(edit(Path::new(path), durability)),
        ["memory", path, bytes, documents] => match (bytes.parse(), documents.parse()) {
            (Ok(bytes), Ok(documents)) => block_on(memory(Path::new(path), bytes, documents)),
            _ => ExitCode::from(2),
        },
        _ => ExitCode::from(2),
    }
}

fn block_on(role: impl Future<Output = Result<(), Error>>) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Opens a store and waits to be killed.
async fn hold(path: &Path) -> Result<(), Error> {
    let _replica = Replica::open(path).await?;
    say("open");
    std::future::pending().await
}

/// Edits until it is killed; goes on with the number after the last that the store has.
async fn edit(path: &Path, durability: &str) -> Result<(), Error> {
    let durability = if durability == "process" { Durability::Process } else { Durability::Power };
    let replica = Replica::builder(path).durability(durability).open().await?;
    let document = the_document(&replica).await?;
    let mut number = document.read(|view| Ok(view.keys()?.len() as i64)).await?;
    loop {
        say(&format!("begin {number}"));
        document.edit(move |edit| edit.put(&number.to_string(), Value::I64(number))).await?;
        say(&format!("done {number}"));
        number += 1;
    }
}

async fn the_document(replica: &Replica) -> Result<Document, Error> {
    let workspace = match replica.workspaces().await?.first() {
        Some(summary) => replica.workspace(summary.id),
        None => replica.create_workspace("Killed").await?,
    };
    match workspace.documents().await?.first() {
        Some(summary) => Ok(replica.document(summary.id)),
        None => workspace.create_document(Crdt::Automerge).await,
    }
}

/// Writes many documents and reads them all again, with a bound on what stays open; says its resident memory.
async fn memory(path: &Path, bytes: usize, count: usize) -> Result<(), Error> {
    let replica = Replica::builder(path).durability(Durability::Process).memory_bytes(bytes).open().await?;
    let workspace = replica.create_workspace("Many").await?;
    let mut documents = Vec::new();
    for number in 0..count {
        let crdt = if number % 2 == 0 { Crdt::Automerge } else { Crdt::Yrs };
        let document = workspace.create_document(crdt).await?;
        document.edit(move |edit| edit.text("body")?.push_str(&page(number))).await?;
        documents.push(document);
    }
    for (number, document) in documents.iter().enumerate() {
        let same = document.read(move |view| Ok(view.text("body")? == Some(page(number)))).await?;
        if !same {
            say(&format!("differs {number}"));
        }
    }
    say(&format!("resident_kib {}", resident_kib()));
    replica.close().await
}

/// A page of text that differs from document to document.
fn page(number: usize) -> String {
    (0..1000).map(|word| format!("{} ", word * 7919 + number)).collect()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Writes one line for the parent; if nobody reads any more, there is nobody to tell.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
