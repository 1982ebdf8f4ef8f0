//! What people would pick instead, each driven by its own native client (`tests/bench/peers`).
//!
//! Invariant: a peer that is missing, or fails, is said so on standard error and costs nobody else's figures.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::BenchError;
use crate::note;
use crate::report::{BYTES, CPU, KEPT, P50, P99, RSS, RSS_PER_SESSION, Report, SECONDS, System};

/// Where they are installed, by `setup` there.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
const PEERS: [&str; 4] = ["y-sweet", "y-websocket", "hocuspocus", "automerge-repo"];
const METRICS: [(&str, &str); 8] = [P50, P99, CPU, RSS, RSS_PER_SESSION, SECONDS, BYTES, KEPT];
/// The exit code that says that something is not installed, or not to be had from this peer.
const MISSING: i32 = 3;

/// Runs a workload on all peers once; `name` is the figures' workload, `driven` that of `drive.mjs`.
pub(crate) fn run(name: &str, driven: &str, options: &[(&str, String)], report: &mut Report) -> Result<(), BenchError> {
    for peer in PEERS {
        let mut command = Command::new("node");
        command.arg(Path::new(FOLDER).join("drive.mjs")).args([peer, driven]);
        for (option, value) in options {
            command.arg(format!("--{option}")).arg(value);
        }
        let output = match command.stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) => {
                note(&format_args!("{name}: peers: MISSING: node can not be started: {error}"));
                return Ok(());
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let word = if output.status.code() == Some(MISSING) { "MISSING" } else { "FAILED" };
            note(&format_args!("{name}: {peer}: {word}: {}", said.trim().lines().last().unwrap_or_default()));
            continue;
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (metric, value) = figure(line).ok_or(BenchError::Answer("a peer's figures"))?;
            report.add(name, System::Peer(peer), metric, value);
        }
    }
    Ok(())
}

fn figure(line: &str) -> Option<((&'static str, &'static str), f64)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let name = line.get("metric")?.as_str()?;
    let metric = METRICS.into_iter().find(|(metric, _)| *metric == name)?;
    Some((metric, line.get("value")?.as_f64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_figure_is_read_and_anything_else_is_not() {
        assert_eq!(figure(r#"{"metric":"p50_ms","unit":"ms","value":1.5}"#), Some((P50, 1.5)));
        assert_eq!(figure(r#"{"metric":"p51_ms","unit":"ms","value":1.5}"#), None);
        assert_eq!(figure("listening"), None);
    }
}
