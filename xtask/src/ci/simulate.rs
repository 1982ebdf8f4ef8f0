//! The steps that simulate: seeds that must hold, and planted bugs that must not.
//!
//! Every run begins at the same seed and plays no more than [`SEEDS`], so that a commit which passed once passes again:
//! the time only ends a run on a machine that is too slow for them. Both are built as the tests are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Bench;
use crate::command;

/// What is played: scenarios of `simulate`, seeds of each, and minutes after which it ends with what it has.
const SEEDS: &[(&str, u32, u32)] = &[("swarm", 2_000, 5)];

/// Each planted bug must be caught by one of so many seeds.
const CATCH_SEEDS: &str = "50";

/// Far more than any of it takes: what runs longer is stuck.
const LIMIT: Duration = Duration::from_secs(15 * 60);

pub(super) fn hold(bench: &Bench<'_>) -> Result<(), String> {
    command::build_as_tests(bench.root, &["--bin", "simulate"])?;
    for (scenario, seeds, minutes) in SEEDS {
        let (seeds, minutes) = (seeds.to_string(), minutes.to_string());
        let words = ["--scenario", scenario, "--seeds", &seeds, "--minutes", &minutes];
        command::run_within(Command::new(simulate(bench.root)).args(words), LIMIT)?;
    }
    Ok(())
}

pub(super) fn catch(bench: &Bench<'_>) -> Result<(), String> {
    command::build_as_tests(bench.root, &["--bin", "simulate", "--features", "tombolo-tests/planted-bugs"])?;
    let words = ["--catch", "all", "--seeds", CATCH_SEEDS];
    command::run_within(Command::new(simulate(bench.root)).args(words), LIMIT)
}

fn simulate(root: &Path) -> PathBuf {
    super::target(root).join("debug/simulate")
}
