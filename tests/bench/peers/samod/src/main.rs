//! samod as a peer of the bench: runs one workload on it and prints a JSON line a figure, as `drive.mjs` does for the others.
//!
//! Invariant: the server is a process of its own, this very program started again, and is gone with its folder when this
//! one ends, whatever came of the workload; the clients are in this process.

mod client;
mod measure;
mod server;
mod workloads;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::server::Server;

/// What anything here comes to; the words of an error are the last line on standard error.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Longest time of a workload: with many documents and connections samod's server does not come to an end.
const PATIENCE: Duration = Duration::from_secs(120);

/// The exit code for what is not to be had from this peer.
const NOT_TO_BE_HAD: u8 = 3;

const USAGE: &str = "samod-peer live|fan-out|idle|busy|cold-fetch|catch-up|kill [--NAME VALUE]…
samod-peer serve --port PORT --folder FOLDER";

/// What was asked for: a word, and options by name.
struct Request {
    word: String,
    options: Vec<(String, String)>,
}

impl Request {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut request = Self { word: words.next()?, options: Vec::new() };
        while let Some(name) = words.next() {
            request.options.push((name.strip_prefix("--")?.to_owned(), words.next()?));
        }
        Some(request)
    }

    fn text(&self, name: &str) -> Outcome<&str> {
        let found = self.options.iter().find(|(option, _)| option == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| format!("--{name} is missing").into())
    }

    fn number<N: FromStr<Err: Error + Send + Sync + 'static>>(&self, name: &str, otherwise: N) -> Outcome<N> {
        self.text(name).map_or(Ok(otherwise), |value| Ok(value.parse()?))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let known = ["live", "fan-out", "idle", "busy", "cold-fetch", "catch-up", "kill", "serve"];
    let request = Request::parse(std::env::args().skip(1)).filter(|request| known.contains(&request.word.as_str()));
    let Some(request) = request else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match request.word.as_str() {
        "busy" => {
            eprintln!("not asked: its server does not come to an end with as many connections that say nothing (idle)");
            return ExitCode::from(NOT_TO_BE_HAD);
        }
        "serve" => serve(&request).await,
        _ => drive_to_the_end(&request).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(request: &Request) -> Outcome {
    server::serve(request.text("port")?.parse()?, Path::new(request.text("folder")?)).await
}

async fn drive_to_the_end(request: &Request) -> Outcome {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        outcome = drive(request) => outcome,
        // waits: for a workload that may never be through.
        () = sleep(PATIENCE) => Err(format!("not through within {} s", PATIENCE.as_secs()).into()),
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    }
}

async fn drive(request: &Request) -> Outcome {
    let folder = tempfile::Builder::new().prefix("tombolo-peer-").tempdir()?;
    let mut server = Server::start(folder.path()).await?;
    let edits = request.number("edits", 200)?;
    match request.word.as_str() {
        "live" => workloads::live(&server, edits).await,
        "fan-out" => workloads::fan_out(&server, request.number("readers", 50)?, edits).await,
        "idle" => workloads::idle(&server, request.number("connections", 200)?).await,
        "cold-fetch" => workloads::cold_fetch(&mut server, Path::new(request.text("trace")?)).await,
        "catch-up" => workloads::catch_up(&server, request.number("documents", 200)?).await,
        _ => workloads::kill(&mut server, request.number("rounds", 5)?).await,
    }
}
