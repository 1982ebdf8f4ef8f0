//! What people would pick instead, each driven by its own native client (`tests/bench/peers`, where `setup` installs them).
//!
//! Invariant: a peer that is missing, or fails, is said so on standard error and costs nobody else's figures.

use std::process::{Command, Stdio};

use crate::error::BenchError;
use crate::note;
use crate::report::{BYTES, CPU, KEPT, P50, P99, RSS, RSS_PER_SESSION, Report, SECONDS, System};

/// A peer: its name in the figures, the program that drives it, and that program's first arguments.
type Peer = (&'static str, &'static str, &'static [&'static str]);
const PEERS: [Peer; 5] = [
    ("y-sweet", "node", &[DRIVER, "y-sweet"]),
    ("y-websocket", "node", &[DRIVER, "y-websocket"]),
    ("hocuspocus", "node", &[DRIVER, "hocuspocus"]),
    ("automerge-repo", "node", &[DRIVER, "automerge-repo"]),
    ("samod", concat!(env!("CARGO_MANIFEST_DIR"), "/peers/bin/samod-peer"), &[]),
];
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/drive.mjs");
const METRICS: [(&str, &str); 8] = [P50, P99, CPU, RSS, RSS_PER_SESSION, SECONDS, BYTES, KEPT];
/// The exit code that says that something is not installed, or not to be had from this peer.
const MISSING: i32 = 3;

/// Runs a workload on all peers once; `name` is the figures' workload, `driven` what their programs call it.
pub(crate) fn run(name: &str, driven: &str, options: &[(&str, String)], report: &mut Report) -> Result<(), BenchError> {
    for (peer, program, first) in PEERS {
        let mut command = Command::new(program);
        command.args(first).arg(driven);
        for (option, value) in options {
            command.arg(format!("--{option}")).arg(value);
        }
        let output = match command.stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) => {
                let advice = "run tests/bench/peers/setup";
                note(&format_args!("{name}: {peer}: MISSING: its program can not be started: {error}: {advice}"));
                continue;
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
