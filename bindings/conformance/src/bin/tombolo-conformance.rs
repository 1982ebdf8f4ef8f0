//! A relay, a device, or the leader of a play in which devices of several languages take part.
//!
//! `relay serve …` is the relay's own command line. `device` takes steps from its standard input, one a line, and says what
//! they named; `device time NAME COUNT…` times calls instead. `together NAME COMMAND… -- NAME COMMAND…` starts a device for each name, and plays `together.txt`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks on its standard streams")]

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use tokio::io::{AsyncBufReadExt, BufReader};
use tombolo_conformance::fault::Fault;
use tombolo_conformance::scenario::words;
use tombolo_conformance::stage::{Named, PATIENCE, Stage};
use tombolo_conformance::{timing, together};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["relay", rest @ ..] = arguments.as_slice() {
        let rest = rest.iter().map(OsString::from);
        return tombolo_relay::main_with(std::iter::once(OsString::from("tombolo-relay")).chain(rest));
    }
    let done = match (tokio::runtime::Runtime::new(), arguments.as_slice()) {
        (Err(error), _) => Err(error.into()),
        (Ok(runtime), ["device"]) => runtime.block_on(device()),
        (Ok(runtime), ["device", "time", words @ ..]) => runtime.block_on(timed(words)),
        (Ok(runtime), ["together", commands @ ..]) => runtime.block_on(lead(commands)),
        _ => Err(Fault::otherwise("it knows relay, device and together")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

async fn lead(commands: &[&str]) -> Result<(), Fault> {
    together::play_all(&env::current_exe()?, commands).await
}

async fn timed(words: &[&str]) -> Result<(), Fault> {
    timing::time(tempfile::tempdir()?.path(), words).await
}

async fn device() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    let mut stage = Stage::new(folder.path(), Path::new(""));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words = words(&line);
        if let [learn, kind, name, value] = words.as_slice()
            && learn == "learn"
        {
            stage.learn(&Named { kind: kind.clone(), name: name.clone(), value: value.clone() })?;
            continue;
        }
        let done = tokio::time::timeout(PATIENCE, stage.step(&words)).await;
        for Named { kind, name, value } in stage.told() {
            println!("learn {kind} {name} {value}");
        }
        match done {
            Ok(Ok(())) => println!("done"),
            Ok(Err(fault)) => println!("failed {fault}"),
            Err(_) => println!("failed: it takes too long"),
        }
    }
    stage.end().await
}
