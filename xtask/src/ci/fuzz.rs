//! The step that fuzzes: every target in `fuzz/fuzz_targets`, each for the time that the request names.
//!
//! The kept corpus in `fuzz/corpus` is read and never written; what a run finds on top goes below `target`.
//! From a clean checkout a run takes the same path each time ([`SEED`]): what it finds there came with a change.
//! To search on from another place, run `cargo fuzz run TARGET` by hand, which draws its own seed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Bench;
use crate::command;

/// The release that continuous integration installs too.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Memory a target may take before it counts as a finding.
const RSS_MIB_MAX: u32 = 4096;

/// Seconds that one input may take before it counts as a finding.
const INPUT_SECONDS_MAX: u32 = 20;

/// Targets that run side by side: one for each core of a small machine.
const AT_A_TIME: usize = 2;

/// Where every run starts, so that a commit which passed once passes again.
const SEED: u32 = 1;

/// Targets that leak on purpose: a yrs transaction that failed is forgotten, since rolling it back
/// would run more of the library on a state that it did not expect.
const LEAKING: [&str; 1] = ["change"];

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    let targets = targets(bench.root)?;
    if targets.is_empty() {
        println!("there are no fuzz targets yet");
        return Ok(());
    }
    let toolchain = Toolchain::pick(bench.root);
    toolchain.install(bench.root)?;
    command::run(&mut toolchain.fuzz(bench.root, &["build"]))?;
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            fuzz(bench, &toolchain, target)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let ended: Vec<Result<(), String>> =
            workers.into_iter().map(|worker| worker.join().unwrap_or(Err("a thread fell over".to_owned()))).collect();
        ended.into_iter().collect::<Result<(), String>>()
    })?;
    println!("{} target(s) fuzzed for {} s each: {}", targets.len(), bench.fuzz_seconds, targets.join(", "));
    Ok(())
}

/// The compiler that can instrument for coverage: a nightly, or a stable one told to act as such.
enum Toolchain {
    Nightly,
    Stable,
}

impl Toolchain {
    fn pick(root: &Path) -> Self {
        let nightly = command::answers(&mut command::cargo_of(root, "+nightly", &["--version"]));
        if nightly { Self::Nightly } else { Self::Stable }
    }

    fn fuzz(&self, root: &Path, words: &[&str]) -> Command {
        let mut all = vec!["fuzz"];
        all.extend_from_slice(words);
        match self {
            Self::Nightly => command::cargo_of(root, "+nightly", &all),
            Self::Stable => {
                let mut cargo = command::cargo(root, &all);
                cargo.env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        }
    }

    fn install(&self, root: &Path) -> Result<(), String> {
        if command::answers(&mut self.fuzz(root, &["--version"])) {
            return Ok(());
        }
        let words = ["install", "cargo-fuzz", "--version", CARGO_FUZZ_VERSION, "--locked"];
        command::run(&mut command::cargo(root, &words))
    }
}

fn fuzz(bench: &Bench<'_>, toolchain: &Toolchain, target: &str) -> Result<(), String> {
    let found = bench.root.join("target/fuzz-corpus").join(target);
    let kept = bench.root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&found).map_err(|error| format!("cannot make {}: {error}", found.display()))?;
    let corpora: Vec<PathBuf> = if kept.is_dir() { vec![found, kept] } else { vec![found] };
    let mut cargo = toolchain.fuzz(bench.root, &["run", target]);
    cargo.args(corpora).arg("--").args([
        format!("-max_total_time={}", bench.fuzz_seconds),
        format!("-seed={SEED}"),
        format!("-rss_limit_mb={RSS_MIB_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ]);
    if LEAKING.contains(&target) {
        // The option of libFuzzer leaves out the check at the end, which the sanitizer does by itself.
        cargo.env("ASAN_OPTIONS", "detect_leaks=0");
    }
    command::run(&mut cargo)
}

fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/fuzz_targets");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let listed = folder.read_dir().map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut names = Vec::new();
    for file in listed {
        let path = file.map_err(|error| format!("cannot list {}: {error}", folder.display()))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let (Some("rs"), Some(stem)) = (path.extension().and_then(|end| end.to_str()), stem) {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
