//! Two islands: Alice and Bob write in the same documents with no network, and the relay between them,
//! a process of its own, can read nothing and may even be lost.
//!
//! `cargo run --release -p tombolo-examples --bin two_islands`
//!
//! Invariant: the exit code tells the truth: zero only if every claim that was printed was checked. All
//! files lie in a temporary folder, and the relay ends with this program, however that ends.

mod failure;
mod island;
mod page;
mod relay;
mod search;
mod story;

use std::io::Write as _;
use std::process::ExitCode;

use failure::Failure;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(arg) if arg == relay::ROLE => relay::serve(args),
        Some(_) => complain(&Failure::Usage),
        None => match tell() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => complain(&failure),
        },
    }
}

/// Tells the whole story, or as much of it as came true.
fn tell() -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::io("start threads"))?;
    runtime.block_on(async {
        tokio::select! {
            told = Box::pin(story::tell()) => told,
            stopped = stopped() => stopped.and(Err(Failure::Interrupted)),
        }
    })
}

/// Waits until somebody asks this program to end: the folder is removed and the relay ended then, too.
async fn stopped() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::io("listen for signals"))?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        stopped = tokio::signal::ctrl_c() => stopped.map_err(Failure::io("listen for ctrl-c")),
    }
}

fn complain(failure: &Failure) -> ExitCode {
    match writeln!(std::io::stderr(), "two_islands: {failure}") {
        Ok(()) => ExitCode::FAILURE,
        Err(_) => ExitCode::from(2),
    }
}
