//! The suite in Kotlin: Maven fetches the compiler and what it needs, and runs JUnit against a relay.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::built::{Built, out, target};
use super::needs::{Program, missing};
use super::suites::run_suite;
use crate::command;

const PROGRAMS: &[Program] =
    &[Program { name: "Maven and a JDK", ask: &["mvn", "--version"], packages: &["maven", "default-jdk-headless"] }];

/// Installs what is missing; returns what this may not install. Maven fetches the rest when it is called.
pub(super) fn prepare(_: &Path) -> Result<Option<String>, String> {
    missing(PROGRAMS)
}

/// Generates the code, and runs the suite; `--slow` runs what takes minutes as well.
pub(super) fn test(built: &Built, options: &[&str]) -> Result<(), String> {
    let mut maven = maven(built, "test")?;
    for option in options {
        maven.arg(if *option == "--slow" { "-Dtombolo.without=timing" } else { option });
    }
    run_suite(&mut maven, built)
}

/// Compiles what a device of a play is made of, where no suite has done so.
pub(super) fn compile(built: &Built) -> Result<(), String> {
    command::run(maven(built, "process-test-classes")?.arg("--quiet"))
}

/// Returns the words that start a device of a play.
pub(super) fn device(built: &Built) -> Result<Vec<String>, String> {
    let built_here = out(built.root()).join("kotlin-build");
    let listing = built_here.join("class-path");
    let fetched = fs::read_to_string(&listing).map_err(|error| format!("cannot read the class path: {error}"))?;
    let classes = format!("{0}/classes:{0}/test-classes:{1}", built_here.display(), fetched.trim());
    let library = format!("-Djna.library.path={}", built.folder().display());
    let words = ["java", &library, "-cp", &classes, "tombolo.DeviceKt"];
    Ok(words.map(str::to_owned).to_vec())
}

/// Generates the code, and prepares Maven for it.
fn maven(built: &Built, phase: &str) -> Result<Command, String> {
    built.code("kotlin")?;
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", phase]);
    maven.arg(format!("-Dtombolo.target={}", target(built.root()).display()));
    maven.arg(format!("-Dtombolo.libraries={}", built.folder().display()));
    maven.current_dir(built.root().join("bindings/kotlin"));
    Ok(maven)
}
