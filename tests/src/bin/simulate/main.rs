//! `simulate`: whole teams through bad days, one seed after the other, until the seeds or the minutes are over.
//!
//! Invariant: whatever is found, the seed, the invariant, the shortest history and the command that plays it
//! again are printed, and the program ends with failure.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod bugs;
mod options;
mod report;
mod run;

use std::process::ExitCode;

use clap::Parser as _;
use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match options.judge() {
        Ok(plan) => run::run(&plan),
        Err(problem) => {
            println!("{problem}");
            ExitCode::from(2)
        }
    }
}
