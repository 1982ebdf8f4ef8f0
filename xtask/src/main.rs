//! The chores of this repository, run as `cargo xtask CHORE`.
//!
//! Arguments come in, findings and tables go out on standard output, and the exit code says whether all is well.
//! Nothing here is linked into what an app depends on.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks on its standard streams")]

mod bindings;
mod ci;
mod command;
mod tidy;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
The chores of this repository.

USAGE
  cargo xtask ci [STEP...] [--list] [--keep-going] [--fuzz-seconds N]
  cargo xtask tidy [--bless]
  cargo xtask bindings generate|check|install|wheel|time [--release]
  cargo xtask bindings test [LANGUAGE [--slow] [OPTIONS OF ITS TOOL]]
  cargo xtask bindings sample swift RELAY

CHORES
  ci      Runs the gates that a change must pass, in order, and stops at the first that fails.
          Name steps to run only those: `cargo xtask ci fmt clippy`.
            --list             says what the steps are and stops
            --keep-going       runs the later steps even when an earlier one failed
            --fuzz-seconds N   fuzzes each target for N seconds (30 unless told)
  tidy    Checks what clippy cannot: sizes of files and functions, names, dead files, forbidden words.
            --bless            lowers the limits in xtask/limits.txt to what the code now needs; never raises one
  bindings  The library for other languages. As root on Debian it installs what it needs; else it says what is missing.
            generate           writes the code for Python, Kotlin and Swift below target/, and Python's stub
            check              fails if the stub in the repository is not what the library says
            install            installs what all suites need: packages, tools below target/, Swift's Debian 13
            test               checks, runs all suites against a relay, and has the languages play together
            test python        one suite; `--slow` runs what takes minutes as well
            test kotlin        with Maven and JUnit; it takes a JDK and Maven
            test swift         in a Debian 13 of its own, which is installed below ~/.cache/tombolo; it takes root
            test together      a device in each of the three and one in Rust share a workspace, edit offline and converge
            time               what calls, reads, edits and events cost in each language, beside Rust; best and worst of 5 runs
            wheel              an optimised wheel for Python, in target/bindings/wheels
            sample swift RELAY runs Swift's sample in that Debian 13, against a relay at ws://HOST:PORT

EXAMPLES
  cargo xtask ci                    what continuous integration runs
  cargo xtask ci fmt tidy clippy    the quick gates, while you work
  cargo xtask ci fuzz --fuzz-seconds 600
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("\nxtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (chore, rest) = match arguments.split_first() {
        None => ("help", arguments),
        Some((chore, rest)) => (chore.as_str(), rest),
    };
    if matches!(chore, "help" | "--help" | "-h") || rest.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let root = root()?;
    match chore {
        "ci" => ci::run(&root, rest),
        "bindings" => bindings::run(&root, rest),
        "tidy" => match rest {
            [] => tidy::run(&root),
            [word] if word == "--bless" => tidy::bless(&root),
            _ => Err(format!("`tidy` does not know {rest:?}; `cargo xtask --help` lists what it knows")),
        },
        _ => Err(format!("there is no chore `{chore}`; `cargo xtask --help` lists them")),
    }
}

/// Finds the top of the repository: the nearest folder, from here upwards, that holds this package.
fn root() -> Result<PathBuf, String> {
    let here = env::current_dir().map_err(|error| format!("cannot tell the current folder: {error}"))?;
    here.ancestors()
        .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        .map(PathBuf::from)
        .ok_or_else(|| format!("{} is not inside the Tombolo repository", here.display()))
}
