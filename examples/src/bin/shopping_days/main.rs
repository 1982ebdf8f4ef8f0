//! A shared shopping list under bad days: the kit plays it on devices that lose their network, their power and their
//! clocks, at relays that forget; and finds the mistake in a list that numbers its items.
//!
//! `cargo run --release -p tombolo-examples --bin shopping_days`
//!
//! Invariant: the exit code tells the truth: zero only if the sound list came through, and the other was caught.

mod list;
mod people;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use list::Naming;
use people::Household;
use tombolo_testkit::Days;

/// Bad days that the sound list has to come through.
const SEEDS: u64 = 30;
/// The mistake is found within so many.
const FEW: u64 = 20;

fn main() -> ExitCode {
    match tell() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) => ExitCode::from(2),
    }
}

fn tell() -> std::io::Result<bool> {
    let mut out = std::io::stdout();
    let sound = Days::of(|| Household::with(Naming::ByName)).seeds(SEEDS).play();
    match &sound {
        Ok(report) => writeln!(
            out,
            "items that go by their names: {} days of bad luck, {} steps, {:.0} simulated hours, nothing lost",
            report.seeds,
            report.steps,
            report.time.as_secs_f64() / 3600.0
        )?,
        Err(failure) => writeln!(out, "items that go by their names: {failure}")?,
    }
    let numbered =
        Days::of(|| Household::with(Naming::ByCount)).seeds(FEW).shrink_within(Duration::from_secs(5)).play();
    match &numbered {
        Ok(_) => writeln!(out, "items that go by their number: the mistake was not found")?,
        Err(failure) => writeln!(out, "\nitems that go by their number, as planted: {failure}")?,
    }
    Ok(sound.is_ok() && numbered.is_err())
}
