//! The step that proves what may depend on what: arrows point down only.
//!
//! 1. The relay's tree names nothing that could read content. 2. `tombolo` builds without its `network` feature, and
//!    then knows no socket and no TLS. 3. Below `core/`, only the runtime lifts the ban on clocks, randomness and
//!    spawning, and the leaf crates know neither tokio nor SQLite.

use std::collections::BTreeSet;
use std::path::Path;

use super::Bench;
use crate::command;
use crate::tidy::{Finding, Repo};

/// What could read content; the relay is blind because it links none of it.
const CONTENT: &[&str] = &["tombolo", "tombolo-crypto", "automerge", "yrs"];

/// What reaches a network; an app that brings its own transport links none of it.
const NETWORK: &[&str] = &["tokio-tungstenite", "tungstenite", "rustls", "tokio-rustls", "webpki-roots"];

/// What belongs to the driver and the store; the leaf crates are functions over bytes.
const DRIVER: &[&str] = &["tokio", "rusqlite", "libsqlite3-sys", "tokio-tungstenite", "rustls", "axum"];

/// Features for simulations: a product has not a byte of them.
const SIMULATED: &[&str] = &["verify-memo", "planted-bugs"];

/// The folders that a `clippy.toml` with the law of the engine must guard.
const GUARDED: &[&str] = &["core", "core/protocol", "core/crypto"];

/// The only place below `core/` that may ask the machine for anything.
const RUNTIME: &[&str] = &["core/src/runtime.rs", "core/src/runtime/"];

/// The lint that is the ban, and the groups that would lift it with themselves.
const BAN: &[&str] = &["disallowed_methods", "all", "style"];

/// How the workspace's lints turn the ban on.
const DENIED: &str = "disallowed_methods = \"deny\"";

pub(super) fn prove(bench: &Bench<'_>) -> Result<(), String> {
    let root = bench.root;
    tree_is_free(root, &["-p", "tombolo-relay"], CONTENT)?;
    command::run(&mut command::cargo(root, &["check", "-p", "tombolo", "--no-default-features"]))?;
    tree_is_free(root, &["-p", "tombolo", "--no-default-features"], NETWORK)?;
    tree_is_free(root, &["-p", "tombolo-protocol"], DRIVER)?;
    tree_is_free(root, &["-p", "tombolo-crypto"], DRIVER)?;
    features_are_real(root, &["-p", "tombolo", "-p", "tombolo-relay"])?;
    let repo = Repo::read(root)?;
    let findings = [lifted_bans(&repo), unguarded(&repo)].concat();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("the ban on clocks, randomness and spawning holds in core/, outside its runtime");
        return Ok(());
    }
    Err(format!("{} hole(s) in the ban on clocks, randomness and spawning", findings.len()))
}

fn tree_is_free(root: &Path, of: &[&str], forbidden: &[&str]) -> Result<(), String> {
    let mut cargo = command::cargo(root, &["tree", "-e", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let tree = command::output(cargo.args(of))?;
    let names = names_in(&tree);
    let found: Vec<&str> = forbidden.iter().copied().filter(|name| names.contains(name)).collect();
    let (of, packages) = (of.join(" "), names.len());
    if packages < 2 {
        return Err(format!("`cargo tree {of}` printed no tree: {tree}"));
    }
    if !found.is_empty() {
        return Err(format!("`cargo tree {of}` names {}", found.join(", ")));
    }
    println!("`cargo tree {of}`: {packages} packages, none of {}", forbidden.join(", "));
    Ok(())
}

/// Proves that these packages enable nothing that is there for simulations alone.
fn features_are_real(root: &Path, of: &[&str]) -> Result<(), String> {
    let mut cargo = command::cargo(root, &["tree", "-e", "normal", "--prefix", "none", "--format", "{p} {f}"]);
    let tree = command::output(cargo.args(of))?;
    match SIMULATED.iter().find(|feature| tree.contains(**feature)) {
        Some(feature) => Err(format!("`cargo tree {}` enables {feature}", of.join(" "))),
        None => Ok(()),
    }
}

/// The package names of a tree printed without its branches; the first is the package asked about, and stays out.
fn names_in(tree: &str) -> BTreeSet<&str> {
    tree.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}

/// Finds each attribute below `core/` that lifts the ban outside the runtime.
fn lifted_bans(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Tests may time what they print: a story never reaches the engine's own files.
    let production = |path: &str| path.starts_with("core/") && !path.contains("/tests/");
    let core = repo.sources.iter().filter(|(path, _)| production(path));
    for (path, source) in core.filter(|(path, _)| !RUNTIME.iter().any(|allowed| path.starts_with(allowed))) {
        for lint in BAN {
            let lines = source.lines_with(&["clippy", ":", ":", lint]).collect::<Vec<_>>();
            let words = format!("`clippy::{lint}` is touched; only core/src/runtime may ask the machine");
            findings.extend(lines.into_iter().map(|line| Finding::new(path, line, "arrows", words.clone())));
        }
    }
    findings
}

/// Finds crates below `core/` whose lints or clippy file do not carry the ban.
fn unguarded(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    let denied = repo.texts.get("Cargo.toml").is_some_and(|text| text.contains(DENIED));
    if !denied {
        let words = format!("the workspace's lints must say {DENIED}");
        findings.push(Finding::new("Cargo.toml", 1, "arrows", words));
    }
    let law = repo.texts.get("core/clippy.toml");
    for folder in GUARDED {
        let (clippy, manifest) = (format!("{folder}/clippy.toml"), format!("{folder}/Cargo.toml"));
        let bans = law.filter(|text| text.contains("disallowed-methods"));
        if bans.is_none() || repo.texts.get(&clippy) != bans {
            findings.push(Finding::new(&clippy, 1, "arrows", "must say what core/clippy.toml says: the ban"));
        }
        let lints = repo.texts.get(&manifest).is_some_and(|text| text.contains("[lints]\nworkspace = true"));
        if !lints {
            findings.push(Finding::new(&manifest, 1, "arrows", "must take the workspace's lints"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_crate_in_a_tree_is_seen_and_the_package_itself_is_not() {
        let tree = "tombolo v0.1.0 (core)\nautomerge v0.12.0\nyrs-kin v1.0.0 (*)\nrustls v0.23.1 (*)\n";
        let names = names_in(tree);
        assert!(names.contains("rustls") && names.contains("automerge"));
        assert!(!names.contains("tombolo") && !names.contains("yrs"));
    }

    #[test]
    fn lifting_the_ban_outside_the_runtime_is_caught() {
        let lift = "#[allow(clippy::disallowed_methods, reason = \"planted\")] fn f() {}";
        for path in ["core/src/sync.rs", "core/protocol/src/ids.rs", "core/src/runtime_too.rs", "core/src/tests.rs"] {
            assert_eq!(lifted_bans(&Repo::planted(&[(path, lift)])).len(), 1, "{path}");
        }
        for path in ["core/src/runtime.rs", "core/src/runtime/driver.rs", "sync-server/src/lib.rs", "core/tests/a.rs"] {
            assert_eq!(lifted_bans(&Repo::planted(&[(path, lift)])), [], "{path}");
        }
        let whole_group = "#![allow(clippy::all)]";
        assert_eq!(lifted_bans(&Repo::planted(&[("core/src/lib.rs", whole_group)])).len(), 1);
    }

    #[test]
    fn a_crate_of_core_without_the_ban_is_caught() {
        let law = "disallowed-methods = []\n";
        let lints = "[lints]\nworkspace = true\n";
        let mut files = vec![
            ("Cargo.toml", DENIED),
            ("core/clippy.toml", law),
            ("core/protocol/clippy.toml", law),
            ("core/crypto/clippy.toml", law),
            ("core/Cargo.toml", lints),
            ("core/protocol/Cargo.toml", lints),
            ("core/crypto/Cargo.toml", lints),
        ];
        assert_eq!(unguarded(&Repo::planted(&files)), []);
        files[0].1 = "";
        files[3].1 = "# nothing\n";
        files[5].1 = "[package]\n";
        let found = unguarded(&Repo::planted(&files));
        let places: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(places, ["Cargo.toml", "core/protocol/Cargo.toml", "core/crypto/clippy.toml"]);
    }
}
