//! The gates: each is a step with a name, run in order, timed, and summed up in a table.
//!
//! Steps come from `STEPS` alone, so `--list`, the order and the summary cannot disagree.

mod arrows;
mod counts;
mod examples;
mod fuzz;
mod simulate;

use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{bindings, command, tidy};

/// What a step may know.
struct Bench<'a> {
    root: &'a Path,
    fuzz_seconds: u32,
}

struct Step {
    name: &'static str,
    purpose: &'static str,
    run: fn(&Bench<'_>) -> Result<(), String>,
}

/// What became of a step.
enum Outcome {
    Passed(Duration),
    Failed(Duration, String),
    NotReached,
}

struct Request {
    steps: Vec<&'static Step>,
    keep_going: bool,
    list: bool,
    fuzz_seconds: u32,
}

/// Runs the steps that `words` ask for, or all of them.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<(), String> {
    let request = parse(words)?;
    if request.list {
        for step in STEPS {
            println!("{:<10} {}", step.name, step.purpose);
        }
        return Ok(());
    }
    let bench = Bench { root, fuzz_seconds: request.fuzz_seconds };
    let outcomes = run_steps(&bench, &request);
    sum_up(&request.steps, &outcomes)
}

fn parse(words: &[String]) -> Result<Request, String> {
    let mut request = Request { steps: Vec::new(), keep_going: false, list: false, fuzz_seconds: FUZZ_SECONDS };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--list" => request.list = true,
            "--keep-going" => request.keep_going = true,
            "--fuzz-seconds" => {
                let number = words.next().ok_or("`--fuzz-seconds` needs a number")?;
                request.fuzz_seconds = number.parse().map_err(|_| format!("`{number}` is not a number of seconds"))?;
            }
            name => {
                let step = STEPS.iter().find(|step| step.name == name);
                request.steps.push(step.ok_or_else(|| format!("there is no step `{name}`; try --list"))?);
            }
        }
    }
    if request.steps.is_empty() {
        request.steps = STEPS.iter().collect();
    }
    Ok(request)
}

fn run_steps(bench: &Bench<'_>, request: &Request) -> Vec<Outcome> {
    let mut failed = false;
    let mut outcomes = Vec::new();
    for step in &request.steps {
        if failed && !request.keep_going {
            outcomes.push(Outcome::NotReached);
            continue;
        }
        println!("\n=== {} === {}", step.name, step.purpose);
        let started = Instant::now();
        let result = (step.run)(bench);
        let elapsed = started.elapsed();
        println!("--- {}: {:.1} s", step.name, elapsed.as_secs_f64());
        outcomes.push(match result {
            Ok(()) => Outcome::Passed(elapsed),
            Err(reason) => {
                eprintln!("{}: {reason}", step.name);
                failed = true;
                Outcome::Failed(elapsed, reason)
            }
        });
    }
    outcomes
}

fn sum_up(steps: &[&Step], outcomes: &[Outcome]) -> Result<(), String> {
    println!("\n{:<10} {:>9}  result", "step", "seconds");
    let mut failures = Vec::new();
    for (step, outcome) in steps.iter().zip(outcomes) {
        let (elapsed, result) = match outcome {
            Outcome::Passed(elapsed) => (Some(*elapsed), "ok".to_owned()),
            Outcome::Failed(elapsed, reason) => {
                failures.push(step.name);
                let first_line = reason.lines().next().unwrap_or_default();
                (Some(*elapsed), format!("FAILED: {first_line}"))
            }
            Outcome::NotReached => (None, "not reached".to_owned()),
        };
        let seconds = elapsed.map_or_else(|| "-".to_owned(), |elapsed| format!("{:.1}", elapsed.as_secs_f64()));
        println!("{:<10} {seconds:>9}  {result}", step.name);
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("these steps failed: {}", failures.join(", "))) }
}

/// How long continuous integration fuzzes each target.
const FUZZ_SECONDS: u32 = 30;

/// Quick gates first, so that a slip is told within seconds.
const STEPS: &[Step] = &[
    Step { name: "fmt", purpose: "every file is formatted by rustfmt", run: fmt },
    Step { name: "tidy", purpose: "sizes, names, dead files and forbidden words", run: tidied },
    Step { name: "deny", purpose: "dependencies: duplicates, licences, sources", run: deny },
    Step { name: "clippy", purpose: "lints over all targets, warnings are errors", run: clippy },
    Step { name: "arrows", purpose: "what may depend on what: three proofs", run: arrows::prove },
    Step { name: "test", purpose: "every test of the workspace", run: test },
    Step {
        name: "bindings",
        purpose: "Python, Kotlin and Swift: the listing, each suite, all together",
        run: bindings,
    },
    Step { name: "simulate", purpose: "teams through bad days: no seed breaks an invariant", run: simulate::hold },
    Step { name: "planted", purpose: "bugs planted on purpose: each is caught by a seed", run: simulate::catch },
    Step {
        name: "counts",
        purpose: "instructions of whole workloads: growth and price within bounds",
        run: counts::run,
    },
    Step { name: "doc", purpose: "documentation builds, warnings are errors", run: doc },
    Step { name: "fuzz", purpose: "each fuzz target, for a while, from its kept corpus", run: fuzz::run },
    Step { name: "examples", purpose: "each example runs to its end", run: examples::run },
];

/// Where cargo puts what it builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

fn fmt(bench: &Bench<'_>) -> Result<(), String> {
    let words = ["fmt", "--all", "--check"];
    command::run(&mut command::cargo(bench.root, &words))?;
    // The fuzz targets are a workspace of their own, for they need a compiler of their own.
    if !bench.root.join("fuzz/Cargo.toml").is_file() {
        return Ok(());
    }
    let words = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    command::run(&mut command::cargo(bench.root, &words))
}

fn tidied(bench: &Bench<'_>) -> Result<(), String> {
    tidy::run(bench.root)
}

fn deny(bench: &Bench<'_>) -> Result<(), String> {
    if !command::answers(&mut command::cargo(bench.root, &["deny", "--version"])) {
        return Err("cargo-deny is missing: `cargo install cargo-deny --version 0.20.2 --locked`".to_owned());
    }
    command::run(&mut command::cargo(bench.root, &["deny", "check", "-D", "warnings", "bans", "licenses", "sources"]))
}

fn clippy(bench: &Bench<'_>) -> Result<(), String> {
    let words = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    command::run(&mut command::cargo(bench.root, &words))
}

fn test(bench: &Bench<'_>) -> Result<(), String> {
    command::run(&mut command::cargo(bench.root, &["test", "--workspace"]))
}

fn bindings(bench: &Bench<'_>) -> Result<(), String> {
    bindings::run(bench.root, &["test".to_owned()])
}

fn doc(bench: &Bench<'_>) -> Result<(), String> {
    let mut cargo = command::cargo(bench.root, &["doc", "--workspace", "--no-deps"]);
    command::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn with_no_words_every_step_runs_and_the_examples_come_last() {
        let request = parse(&[]).unwrap();
        assert_eq!(request.steps.len(), STEPS.len());
        assert_eq!(request.steps.last().unwrap().name, "examples");
    }

    #[test]
    fn named_steps_run_alone_in_the_order_given() {
        let request = parse(&words("clippy fmt --fuzz-seconds 600")).unwrap();
        let names: Vec<&str> = request.steps.iter().map(|step| step.name).collect();
        assert_eq!(names, ["clippy", "fmt"]);
        assert_eq!(request.fuzz_seconds, 600);
    }

    #[test]
    fn a_step_that_does_not_exist_is_refused() {
        assert!(parse(&words("fmt polish")).is_err());
    }

    #[test]
    fn the_first_failure_stops_the_run_unless_told_to_keep_going() {
        let bench = Bench { root: Path::new("."), fuzz_seconds: 1 };
        let broken = Step { name: "broken", purpose: "fails", run: |_| Err("planted".to_owned()) };
        let sound = Step { name: "sound", purpose: "passes", run: |_| Ok(()) };
        let steps: Vec<&'static Step> = vec![Box::leak(Box::new(broken)), Box::leak(Box::new(sound))];
        let mut request = Request { steps, keep_going: false, list: false, fuzz_seconds: 1 };
        let outcomes = run_steps(&bench, &request);
        assert!(matches!(outcomes[..], [Outcome::Failed(..), Outcome::NotReached]));
        assert!(sum_up(&request.steps, &outcomes).unwrap_err().contains("broken"));
        request.keep_going = true;
        let outcomes = run_steps(&bench, &request);
        assert!(matches!(outcomes[..], [Outcome::Failed(..), Outcome::Passed(_)]));
    }
}
