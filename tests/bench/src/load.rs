//! `tombolo-bench load NAME…`: one relay process under many sessions, and what becomes of it.
//!
//! Invariant: each workload ends with an audit of the relay's logs against the receipts that were given out; a loss, or
//! a bound that is not kept, is an error and not a figure. The sessions are light (see [`session`]), so that as many fit
//! in this process as a relay can hold.

mod away;
mod crowd;
mod overload;
mod person;
mod session;
mod shed;
mod slow;
mod soak;
mod steady;
mod storm;
mod tally;
mod tenants;

use clap::{Parser, ValueEnum};

pub(crate) use crowd::{Crowd, Habits};
pub(crate) use person::{Ground, Pen, Person};
pub(crate) use session::{Seat, Session};
pub(crate) use tally::Latencies;

use crate::error::BenchError;
use crate::note;
use crate::report::Report;

/// The first argument that asks for a load instead of a measurement.
pub(crate) const AS_LOAD: &str = "load";

/// Puts a load on one relay process.
#[derive(Parser)]
#[command(name = "tombolo-bench load", after_help = "Example: tombolo-bench load steady --sessions 1000 --minutes 1")]
pub(crate) struct Command {
    /// What load; several may be given.
    #[arg(required = true, value_enum)]
    loads: Vec<Load>,
    #[command(flatten)]
    options: Options,
}

/// How much of it.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Options {
    /// Prints a JSON object a figure instead of a table.
    #[arg(long)]
    json: bool,
    /// Sessions of `steady`.
    #[arg(long, default_value_t = 15_000)]
    sessions: u32,
    /// Writers among them, each with one entry a second.
    #[arg(long, default_value_t = 1_000)]
    writers: u32,
    /// Minutes of `steady`.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Sessions of `storm`.
    #[arg(long, default_value_t = 10_000)]
    returning: u32,
    /// Seconds of each part of `tenants` and `overload`.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Entries of `away`.
    #[arg(long, default_value_t = 100_000)]
    entries: usize,
    /// Minutes of `soak`.
    #[arg(long, default_value_t = 60)]
    soak_minutes: u32,
    /// Sessions of `soak`; a tenth of them write, five entries a second each.
    #[arg(long, default_value_t = 200)]
    soak_sessions: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Load {
    /// Many sessions, some of which write once a second.
    Steady,
    /// The relay is killed and started again; all come back.
    Storm,
    /// One tenant floods the relay, the others' latency is watched.
    Tenants,
    /// Three times as much is offered as the relay can take.
    Overload,
    /// The relay's disk stands still while much is sent: it turns away what it could not hold.
    Shed,
    /// Devices that read nothing while much is written.
    SlowReaders,
    /// A device that was away for long takes all back.
    Away,
    /// A small load for long, with a line a minute; fails if memory or disk grow.
    Soak,
    /// All but the soak.
    All,
}

const LOADS: [Load; 7] =
    [Load::Steady, Load::Storm, Load::Tenants, Load::Overload, Load::Shed, Load::SlowReaders, Load::Away];

/// Runs the loads that are asked for, and prints their figures.
pub(crate) async fn run(command: &Command) -> Result<(), BenchError> {
    let mut report = Report::default();
    let mut result = Ok(());
    let all = command.loads.contains(&Load::All);
    let chosen = LOADS.into_iter().filter(|load| all || command.loads.contains(load));
    for load in chosen.chain(command.loads.iter().copied().filter(|load| *load == Load::Soak)) {
        let name = load.to_possible_value();
        let name = name.as_ref().map_or("", |value| value.get_name()).to_owned();
        note(&format_args!("load {name}"));
        if let Err(error) = put(load, &command.options, &mut report).await {
            note(&format_args!("load {name}: FAILED: {error}"));
            result = Err(error);
        }
    }
    report.print(command.options.json)?;
    result
}

async fn put(load: Load, options: &Options, report: &mut Report) -> Result<(), BenchError> {
    match load {
        Load::Steady => Box::pin(steady::run(options, report)).await,
        Load::Storm => Box::pin(storm::run(options.returning, report)).await,
        Load::Tenants => Box::pin(tenants::run(options.seconds, report)).await,
        Load::Overload => Box::pin(overload::run(options.seconds, report)).await,
        Load::Shed => Box::pin(shed::run(report)).await,
        Load::SlowReaders => Box::pin(slow::run(report)).await,
        Load::Away => Box::pin(away::run(options.entries, report)).await,
        Load::Soak => Box::pin(soak::run(options, report)).await,
        Load::All => Ok(()),
    }
}
