//! What clippy cannot check: sizes, names, dead files and forbidden words.
//!
//! The repository is read once, each rule returns findings, and any finding fails the chore.

mod limits;
mod modules;
mod names;
mod repo;
mod sizes;
mod words;

use std::fs;
use std::path::Path;

use limits::{LIMITS_PATH, Limits};
use modules::Scope;
pub(crate) use repo::{Finding, Repo};
use sizes::Sizes;

/// Checks the repository and prints what is wrong with it.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let repo = Repo::read(root)?;
    let limits = Limits::parse(&read_limits(root)?)?;
    let scope = Scope::of(&repo);
    let sizes = Sizes::of(&repo, &scope);
    let mut findings = check(&repo, &scope, &sizes, &limits);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let (mean, files) = sizes.mean();
    println!("{files} production files, {mean} lines each on average; {} Rust files read", repo.sources.len());
    let slack = limits.slack(&sizes);
    if slack > 0 {
        println!("{slack} listed size(s) fell: `cargo xtask tidy --bless` takes them down");
    }
    if findings.is_empty() { Ok(()) } else { Err(format!("{} thing(s) to tidy", findings.len())) }
}

/// Lowers the listed limits to what the code needs now.
pub(crate) fn bless(root: &Path) -> Result<(), String> {
    let repo = Repo::read(root)?;
    let listed = read_limits(root)?;
    Limits::parse(&listed)?;
    let lowered = limits::lower(&listed, &Sizes::of(&repo, &Scope::of(&repo)));
    fs::write(root.join(LIMITS_PATH), lowered).map_err(|error| format!("cannot write {LIMITS_PATH}: {error}"))
}

fn check(repo: &Repo, scope: &Scope, sizes: &Sizes, limits: &Limits) -> Vec<Finding> {
    let mut findings = repo.unreadable.clone();
    findings.extend(modules::check(repo, scope));
    findings.extend(names::check(repo));
    findings.extend(words::openings(repo));
    findings.extend(words::forbidden(repo));
    findings.extend(words::machine_paths(repo));
    findings.extend(words::waits(repo, scope));
    findings.extend(sizes::check(sizes, limits));
    findings.extend(limits.check(sizes));
    findings
}

fn read_limits(root: &Path) -> Result<String, String> {
    fs::read_to_string(root.join(LIMITS_PATH)).map_err(|error| format!("cannot read {LIMITS_PATH}: {error}"))
}
