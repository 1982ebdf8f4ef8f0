//! A process to be killed, or to be started where something is wrong: a device that edits without a pause, one that only
//! holds its store, one that joins and writes, one that takes all file descriptors, or a relay.
//!
//! Invariant: a line `done N` on standard output is written after edit N was acknowledged, and a line `begin N` before
//! it is asked for; so the last line that the parent reads tells in what a kill has fallen.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tombolo::document::{Crdt, Value};
use tombolo::engine::RelayState;
use tombolo::{Document, Durability, Error, Milestone, Replica, Workspace};

/// Between two looks.
const MOMENT: Duration = Duration::from_millis(50);
/// Time for a device to try a relay that it can not reach.
const TRIES: Duration = Duration::from_secs(2);

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
        ["member", path, invite, numbers @ ..] => match numbers.iter().map(|number| number.parse()).collect() {
            Ok::<Vec<i64>, _>(numbers) => block_on(member(Path::new(path), invite, numbers)),
            Err(_) => ExitCode::from(2),
        },
        ["starve", path, invite, count] => match count.parse() {
            Ok(count) => block_on(starve(Path::new(path), invite, count)),
            Err(_) => ExitCode::from(2),
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

/// Joins, writes numbers from a first one on, so many, and waits until it holds so many of all devices.
async fn member(path: &Path, invite: &str, numbers: Vec<i64>) -> Result<(), Error> {
    let [first, count, expected] = numbers.as_slice() else { return Ok(()) };
    let replica = Replica::open(path).await?;
    say(&format!("device {}", replica.identity().await?.0));
    let (workspace, document) = joined(&replica, invite).await?;
    for number in *first..first + count {
        put(&document, number).await?;
        document.wait_for(Milestone::RelayDurable).await?;
        say(&format!("receipt {number}"));
    }
    while (document.read(|view| view.keys()).await?.len() as i64) < *expected {
        // waits: for the other devices.
        tokio::time::sleep(MOMENT).await;
    }
    workspace.settled().await?;
    say(&format!("held {}", held(&document).await?));
    let (alarms, evidence) = (replica.alarms().await?.len(), workspace.relay_evidence().await?.len());
    let aside = workspace.sync_debt().await?.set_aside.len();
    say(&format!("accuses {alarms} alarms, {evidence} pieces of evidence, {aside} set aside"));
    // A status row, which tells the others how far this device has come, leaves a little later.
    told_to_go_on();
    replica.close().await
}

/// Joins, takes every descriptor that there is and that becomes free, edits, loses its relay, frees all, and goes on.
async fn starve(path: &Path, invite: &str, count: i64) -> Result<(), Error> {
    let replica = Replica::open(path).await?;
    let (workspace, document) = joined(&replica, invite).await?;
    let (starves, taken) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let hog = std::thread::spawn({
        let (starves, taken) = (Arc::clone(&starves), Arc::clone(&taken));
        move || hog_descriptors(&starves, &taken)
    });
    while !taken.load(Ordering::SeqCst) {
        // waits: for the last descriptor to be taken.
        tokio::time::sleep(MOMENT).await;
    }
    say("starved");
    let opened = Replica::open(path.with_extension("other")).await;
    say(if matches!(opened, Err(Error::Store(_))) { "open a typed error" } else { "open something else" });
    let mut done = Vec::new();
    for number in 0..count {
        match put(&document, number).await {
            Ok(()) => done.push(number.to_string()),
            Err(Error::Store(error)) => say(&format!("refused {error}")),
            Err(error) => return Err(error),
        }
    }
    say(&format!("done {}", done.join(",")));
    // The parent takes the relay away, and brings it back.
    while is_online(&replica).await? {
        // waits: for the parent to do so.
        tokio::time::sleep(MOMENT).await;
    }
    // waits: for the device to try.
    tokio::time::sleep(TRIES).await;
    say(if is_online(&replica).await? { "relay online" } else { "relay offline" });
    told_to_go_on();
    starves.store(false, Ordering::SeqCst);
    drop(hog.join());
    replica.notify_network().await?;
    put(&document, count).await?;
    workspace.settled().await?;
    say(&format!("held {}", held(&document).await?));
    replica.close().await
}

/// Takes what descriptors there are for as long as it is told to.
fn hog_descriptors(starves: &AtomicBool, taken: &AtomicBool) {
    let mut hogs = Vec::new();
    while starves.load(Ordering::SeqCst) {
        match std::fs::File::open("/dev/null") {
            Ok(hog) => hogs.push(hog),
            Err(_) => {
                taken.store(true, Ordering::SeqCst);
                // waits: for one to become free.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

async fn is_online(replica: &Replica) -> Result<bool, Error> {
    Ok(replica.relays().await?.iter().any(|(_, state)| matches!(state, RelayState::Online { .. })))
}

/// Returns the workspace that an invite leads to, or that was joined before, and its only document.
async fn joined(replica: &Replica, invite: &str) -> Result<(Workspace, Document), Error> {
    let workspace = match replica.workspaces().await?.first() {
        Some(summary) => replica.workspace(summary.id),
        None => replica.join(invite).await?,
    };
    workspace.ready().await?;
    workspace.settled().await?;
    loop {
        if let Some(summary) = workspace.documents().await?.first() {
            return Ok((workspace, replica.document(summary.id)));
        }
        // waits: for the document to come.
        tokio::time::sleep(MOMENT).await;
    }
}

/// Waits until the parent says so, or is gone.
fn told_to_go_on() {
    let mut line = String::new();
    drop(std::io::stdin().read_line(&mut line));
}

async fn put(document: &Document, number: i64) -> Result<(), Error> {
    document.edit(move |edit| edit.put(&number.to_string(), Value::I64(number))).await
}

async fn held(document: &Document) -> Result<String, Error> {
    let mut numbers: Vec<i64> =
        document.read(|view| view.keys()).await?.iter().filter_map(|key| key.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
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
