//! Measures Tombolo beside the physical limits of the machine it runs on.
//!
//! Invariant: a figure and the limit it is compared with come from the same call of this program, for
//! the machine is shared and only ratios taken side by side mean something. Figures go to standard
//! output, as a table or as JSON lines; progress and what was skipped go to standard error.
//! The relay, and whatever's memory is measured, runs in a process of its own: this very program,
//! started again.

mod append;
mod catch_up;
mod cold_fetch;
mod compaction;
mod documents;
mod error;
mod fan_out;
mod idle;
mod kill;
mod limits;
mod live;
mod load;
mod local_edits;
mod log;
mod measure;
mod members;
mod merge;
mod month;
mod open;
mod overhead;
mod peers;
mod relay;
mod report;
mod scene;
mod sessions;
mod summary;
mod system;
mod trace;
mod window;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::error::BenchError;
use crate::report::Report;

/// Measures Tombolo and the limits of this machine.
#[derive(Parser)]
#[command(
    name = "tombolo-bench",
    after_help = "Examples: tombolo-bench limits local-edits --json\n          tombolo-bench documents --documents 1000,10000,100000 --runs 1\nSeveral sizes of one workload give the exponent with which each of its figures grows."
)]
struct Command {
    /// What to measure; several may be given.
    #[arg(required = true, value_enum)]
    workloads: Vec<Workload>,
    #[command(flatten)]
    options: Options,
}

/// How to measure.
#[derive(clap::Args, Clone)]
struct Options {
    /// Prints a JSON object a figure instead of a table.
    #[arg(long)]
    json: bool,
    /// How often each workload runs; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Sessions of `idle` and of `sessions`, a figure each.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    connections: Vec<u32>,
    /// Documents of `catch-up` and of `documents`, a figure each.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    documents: Vec<u32>,
    /// Edits of `live`.
    #[arg(long, default_value_t = 500)]
    edits: u32,
    /// Readers of `fan-out`, a figure each.
    #[arg(long, value_delimiter = ',', default_value = "50,200")]
    readers: Vec<u32>,
    /// Runs the same on what people would pick instead, each with its own client (install them with
    /// tests/bench/peers/setup).
    #[arg(long)]
    peers: bool,
    /// Entries of `compaction` and of `log`, a figure each.
    #[arg(long, value_delimiter = ',', default_value = "5000")]
    entries: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    Limits,
    LocalEdits,
    Trace,
    Open,
    Live,
    Idle,
    ColdFetch,
    CatchUp,
    Overhead,
    Members,
    FanOut,
    Append,
    Kill,
    Merge,
    Compaction,
    Documents,
    Log,
    Sessions,
    All,
}

const WORKLOADS: [Workload; 18] = [
    Workload::Limits,
    Workload::LocalEdits,
    Workload::Trace,
    Workload::Open,
    Workload::Live,
    Workload::Idle,
    Workload::ColdFetch,
    Workload::CatchUp,
    Workload::Overhead,
    Workload::Members,
    Workload::FanOut,
    Workload::Append,
    Workload::Kill,
    Workload::Merge,
    Workload::Compaction,
    Workload::Documents,
    Workload::Log,
    Workload::Sessions,
];

impl Workload {
    /// The sizes in which it runs, or one that says nothing.
    fn sizes(self, options: &Options) -> &[u32] {
        match self {
            Self::Idle | Self::Sessions => &options.connections,
            Self::CatchUp | Self::Documents => &options.documents,
            Self::FanOut => &options.readers,
            Self::Compaction | Self::Log => &options.entries,
            Self::Live => std::slice::from_ref(&options.edits),
            _ => &[1],
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == relay::AS_RELAY) {
        return tombolo_relay::main_with(arguments.into_iter().skip(1));
    }
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format_args!("tombolo-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs one of the parts that need a process of their own, or the command line.
fn start(arguments: &[OsString]) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let texts: Vec<&str> = arguments.iter().skip(1).filter_map(|text| text.to_str()).collect();
    match texts.as_slice() {
        [trace::AS_TRACE, crdt, folder] => return runtime.block_on(trace::run_alone(crdt, folder)),
        [open::AS_OPEN, folder] => return runtime.block_on(open::run_alone(folder)),
        [load::AS_LOAD, ..] => {
            let command = load::Command::parse_from(arguments.iter().skip(1));
            return runtime.block_on(load::run(&command));
        }
        [summary::AS_REPORT, ..] => return summary::run(&summary::Command::parse_from(arguments.iter().skip(1))),
        _ => {}
    }
    let command = Command::parse_from(arguments);
    let mut report = Report::default();
    let result = runtime.block_on(measure_all(&command, &mut report));
    report.add_exponents();
    report.print(command.options.json)?;
    result
}

async fn measure_all(command: &Command, report: &mut Report) -> Result<(), BenchError> {
    let all = command.workloads.contains(&Workload::All);
    let chosen = WORKLOADS.into_iter().filter(|workload| all || command.workloads.contains(workload));
    for workload in chosen {
        for run in 1..=command.options.runs {
            let name = workload.to_possible_value();
            let name = name.as_ref().map_or("", |value| value.get_name());
            note(&format_args!("{name}: run {run} of {}", command.options.runs));
            if let Err(error) = measure_all_systems(workload, &command.options, report).await {
                if !error.is_skip() {
                    return Err(error);
                }
                note(&format_args!("{name}: SKIPPED: {error}"));
                break;
            }
        }
        // What a long run has measured is not lost with what comes after.
        report.print(command.options.json)?;
    }
    Ok(())
}

async fn measure_all_systems(workload: Workload, options: &Options, report: &mut Report) -> Result<(), BenchError> {
    measure_one(workload, options, report).await?;
    if options.peers { measure_peers(workload, options, report) } else { Ok(()) }
}

/// Runs a workload on all peers, where it is one that they can be asked for.
fn measure_peers(workload: Workload, options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let Options { connections, documents, edits, .. } = options;
    match workload {
        Workload::Live => peers::run("live", "live", &[("edits", edits.to_string())], report),
        Workload::Idle => connections.iter().try_for_each(|connections| {
            let many = [("connections", connections.to_string())];
            peers::run(&format!("idle/{connections}"), "idle", &many, report)?;
            peers::run(&format!("busy/{connections}"), "busy", &many, report)
        }),
        Workload::ColdFetch => {
            let trace = trace::paper_file().display().to_string();
            peers::run("cold-fetch", "cold-fetch", &[("trace", trace)], report)
        }
        Workload::CatchUp => documents.iter().try_for_each(|documents| {
            peers::run(&format!("catch-up/{documents}"), "catch-up", &[("documents", documents.to_string())], report)
        }),
        Workload::FanOut => options.readers.iter().try_for_each(|readers| {
            peers::run(&format!("fan-out/{readers}"), "fan-out", &[("readers", readers.to_string())], report)
        }),
        Workload::Kill => peers::run("kill/relay", "kill", &[("rounds", "5".to_owned())], report),
        _ => Ok(()),
    }
}

async fn measure_one(workload: Workload, options: &Options, report: &mut Report) -> Result<(), BenchError> {
    for size in workload.sizes(options) {
        measure_size(workload, *size, report).await?;
    }
    Ok(())
}

async fn measure_size(workload: Workload, size: u32, report: &mut Report) -> Result<(), BenchError> {
    let many = size as usize;
    match workload {
        Workload::Limits => limits::run(report),
        Workload::LocalEdits => local_edits::run(report).await,
        Workload::Trace => trace::run(report),
        Workload::Open => open::run(report).await,
        Workload::Live => Box::pin(live::run(many, report)).await,
        Workload::Idle => idle::run(many, report).await,
        Workload::ColdFetch => Box::pin(cold_fetch::run(report)).await,
        Workload::CatchUp => Box::pin(catch_up::run(many, report)).await,
        Workload::Overhead => Box::pin(overhead::run(report)).await,
        Workload::Members => Box::pin(members::run(report)).await,
        Workload::FanOut => Box::pin(fan_out::run(size, report)).await,
        Workload::Append => append::run(report).await,
        Workload::Kill => Box::pin(kill::run(report)).await,
        Workload::Merge => merge::run(report),
        Workload::Compaction => Box::pin(compaction::run(many, report)).await,
        Workload::Documents => Box::pin(documents::run(many, report)).await,
        Workload::Log => Box::pin(log::run(many, report)).await,
        Workload::Sessions => Box::pin(sessions::run(size, report)).await,
        Workload::All => Ok(()),
    }
}

/// Writes a line of progress; a closed standard error is no reason to stop.
pub(crate) fn note(line: &dyn std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
