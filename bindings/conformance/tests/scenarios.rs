//! The scenarios that all languages run alike, in Rust, against a relay that is a process.

use std::path::Path;

use tombolo_conformance::fault::Fault;
use tombolo_conformance::scenario::{SCENARIOS, TOGETHER, read};
use tombolo_conformance::stage::Stage;
use tombolo_conformance::together;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tombolo-conformance");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_goes_in_rust_as_it_does_in_the_other_languages() {
    let scenarios = read(SCENARIOS);
    assert!(scenarios.len() > 9, "a scenario for each CRDT counts twice");
    for scenario in scenarios {
        let folder = tempfile::tempdir().expect("there is room");
        let played = Stage::new(folder.path(), Path::new(PROGRAM)).play(&scenario).await;
        assert!(played.is_ok(), "{}", played.map_err(|fault| fault.to_string()).unwrap_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_are_processes_share_a_workspace_edit_offline_and_converge() {
    // Here all are Rust; `cargo xtask bindings test together` has them in four languages.
    let commands: Vec<&str> = ["rust", "swift", "kotlin", "python"]
        .into_iter()
        .flat_map(|name| ["--", name, PROGRAM, "device"])
        .skip(1)
        .collect();
    let played: Result<(), Fault> = together::play_all(Path::new(PROGRAM), &commands).await;
    assert!(played.is_ok(), "{}", played.map_err(|fault| fault.to_string()).unwrap_err());
    assert_eq!(read(TOGETHER).len(), 2);
}
