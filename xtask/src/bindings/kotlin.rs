//! The suite in Kotlin: Maven fetches the compiler and what it needs, and runs JUnit against a relay.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{built, code, out, run_suite, target};
use crate::command;

/// Generates the code, and runs the suite; `--slow` runs what takes minutes as well.
pub(super) fn test(root: &Path, options: &[&str]) -> Result<(), String> {
    let mut maven = maven(root, &["test"])?;
    for option in options {
        maven.arg(if *option == "--slow" { "-Dtombolo.without=none" } else { option });
    }
    run_suite(&mut maven, root)
}

/// Compiles, and returns the words that start a device of a play.
pub(super) fn device(root: &Path) -> Result<Vec<String>, String> {
    let listing = out(root).join("kotlin-classpath");
    let plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath";
    let mut maven = maven(root, &["test-compile", plugin, "--quiet"])?;
    command::run(maven.arg(format!("-Dmdep.outputFile={}", listing.display())))?;
    let fetched = fs::read_to_string(&listing).map_err(|error| format!("cannot read the class path: {error}"))?;
    let built_here = out(root).join("kotlin-build");
    let classes = format!("{0}/classes:{0}/test-classes:{1}", built_here.display(), fetched.trim());
    let library = format!("-Djna.library.path={}", built(root).display());
    let words = ["java", &library, "-cp", &classes, "tombolo.DeviceKt"];
    Ok(words.map(str::to_owned).to_vec())
}

/// Generates the code, and prepares Maven for it.
fn maven(root: &Path, goals: &[&str]) -> Result<Command, String> {
    if !command::answers(Command::new("mvn").arg("--version")) {
        return Err("Maven or a JDK is missing: apt install maven openjdk-17-jdk-headless".to_owned());
    }
    code(root, "kotlin")?;
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress"]).args(goals);
    maven.arg(format!("-Dtombolo.target={}", target(root).display())).current_dir(root.join("bindings/kotlin"));
    Ok(maven)
}
