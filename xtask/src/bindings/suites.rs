//! The suites of all languages: each for itself, and all with what stands around them, timed and summed up.
//!
//! Invariant: what could not be run is told in words at the end, and never where this may install: there it is a failure.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::built::Built;
use super::needs::{Program, missing};
use super::{check, kotlin, python, swift};
use crate::command;

/// A good run of a suite takes less than a tenth.
pub(super) const SUITE_LIMIT: Duration = Duration::from_secs(1800);

/// A language, and what its module does.
struct Suite {
    language: &'static str,
    prepare: fn(&Path) -> Result<Option<String>, String>,
    test: fn(&Built, &[&str]) -> Result<(), String>,
}

const PYTHON: Suite = Suite { language: "python", prepare: python::prepare, test: python::test };
const KOTLIN: Suite = Suite { language: "kotlin", prepare: kotlin::prepare, test: kotlin::test };
const SWIFT: Suite = Suite { language: "swift", prepare: swift::prepare, test: swift::test };

/// Reads the scripts that nothing here can run.
const SHELLCHECK: Program =
    Program { name: "shellcheck", ask: &["shellcheck", "--version"], packages: &["shellcheck"] };
const SCRIPTS: &[&str] = &["bindings/swift/build-xcframework.sh", ".ci/run"];

/// Installs what the suites need, and fails with what this may not install.
pub(super) fn install(root: &Path) -> Result<(), String> {
    [PYTHON, KOTLIN, SWIFT].iter().try_for_each(|suite| wanted(suite, root))
}

/// Runs the suite of one language.
pub(super) fn one(root: &Path, language: &str, options: &[&str]) -> Result<(), String> {
    let suites = [PYTHON, KOTLIN, SWIFT];
    let suite = suites.iter().find(|suite| suite.language == language);
    let suite = suite.ok_or_else(|| format!("there is no suite in {language}; python, kotlin and swift are there"))?;
    let mut clock = Clock::default();
    clock.time("install", || wanted(suite, root))?;
    let built = clock.time("build", || Built::for_tests(root))?;
    clock.time(language, || (suite.test)(&built, options))?;
    clock.sum_up();
    Ok(())
}

/// Checks the listing, runs every suite, and has the languages share a workspace.
pub(super) fn all(root: &Path) -> Result<(), String> {
    let (mut clock, mut skipped) = (Clock::default(), Vec::new());
    // Programs first: apt serves one at a time. Then Swift's system is installed while others work.
    match clock.time("install", || missing(&[SHELLCHECK]))? {
        None => command::run(Command::new("shellcheck").args(SCRIPTS).current_dir(root))?,
        Some(missing) => skipped.push((SHELLCHECK.name, missing)),
    }
    for suite in [PYTHON, KOTLIN] {
        let missing = clock.time("install", || (suite.prepare)(root))?;
        skipped.extend(missing.map(|missing| (suite.language, missing)));
    }
    thread::scope(|scope| {
        let system = scope.spawn(|| timed(|| swift::prepare(root)));
        let built = clock.time("build", || Built::for_tests(root))?;
        clock.time("check", || check(&built))?;
        for suite in [PYTHON, KOTLIN] {
            if skipped.iter().all(|(language, _)| *language != suite.language) {
                clock.time(suite.language, || (suite.test)(&built, &[]))?;
            }
        }
        let installed = clock.time("wait for Swift's system", || system.join());
        let (took, missing) = installed.map_err(|_| "installing Swift's system has panicked")?;
        println!("Swift's system was ready after {:.0} s", took.as_secs_f64());
        last(&built, missing?, &mut clock, &mut skipped)
    })?;
    clock.sum_up();
    for (what, missing) in &skipped {
        eprintln!("\n!!! {what}: NOT TESTED, nor were the languages together. {missing} !!!");
    }
    Ok(())
}

/// Runs what needs Swift's system, if it is there.
fn last(
    built: &Built,
    missing: Option<String>,
    clock: &mut Clock,
    skipped: &mut Vec<(&'static str, String)>,
) -> Result<(), String> {
    match missing {
        None => clock.time("swift", || swift::test(built, &[]))?,
        Some(missing) => skipped.push((SWIFT.language, missing)),
    }
    if skipped.is_empty() { clock.time("together", || play(built)) } else { Ok(()) }
}

/// Has a device in each language share a workspace with the others.
pub(super) fn together(root: &Path) -> Result<(), String> {
    install(root)?;
    let built = Built::for_tests(root)?;
    swift::compile(&built, false)?;
    kotlin::compile(&built)?;
    play(&built)
}

fn play(built: &Built) -> Result<(), String> {
    let leader = built.runner();
    let mut play = Command::new(&leader);
    play.args(["together", "rust"]).arg(&leader).arg("device");
    let devices =
        [("swift", swift::device(false)?), ("kotlin", kotlin::device(built)?), ("python", python::device(built)?)];
    for (name, words) in devices {
        play.args(["--", name]).args(words);
    }
    command::run_within(&mut play, SUITE_LIMIT)
}

/// Runs a suite with a relay at hand.
pub(super) fn run_suite(suite: &mut Command, built: &Built) -> Result<(), String> {
    command::run_within(suite.env("TOMBOLO_RELAY", built.relay()), SUITE_LIMIT)
}

fn wanted(suite: &Suite, root: &Path) -> Result<(), String> {
    let missing = (suite.prepare)(root)?;
    missing.map_or(Ok(()), |missing| Err(format!("{} can not be tested here. {missing}", suite.language)))
}

fn timed<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let began = Instant::now();
    let result = work();
    (began.elapsed(), result)
}

/// What each part took.
#[derive(Default)]
struct Clock(Vec<(String, Duration)>);

impl Clock {
    fn time<R>(&mut self, part: &str, work: impl FnOnce() -> R) -> R {
        let (took, result) = timed(work);
        match self.0.iter_mut().find(|(name, _)| name == part) {
            Some((_, before)) => *before += took,
            None => self.0.push((part.to_owned(), took)),
        }
        result
    }

    fn sum_up(&self) {
        println!();
        for (part, took) in &self.0 {
            println!("{part:<24} {:>6.1} s", took.as_secs_f64());
        }
    }
}
