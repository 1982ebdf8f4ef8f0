//! The suite in Kotlin: Maven fetches the compiler and what it needs, and runs JUnit against a relay.

use std::path::Path;
use std::process::Command;

use super::{code, run_suite, target};
use crate::command;

/// Generates the code, and runs the suite; `--slow` runs what takes minutes as well.
pub(super) fn test(root: &Path, options: &[&str]) -> Result<(), String> {
    if !command::answers(Command::new("mvn").arg("--version")) {
        return Err("Maven or a JDK is missing: apt install maven openjdk-17-jdk-headless".to_owned());
    }
    code(root, "kotlin")?;
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", "test"]);
    maven.arg(format!("-Dtombolo.target={}", target(root).display())).current_dir(root.join("bindings/kotlin"));
    for option in options {
        maven.arg(if *option == "--slow" { "-Dtombolo.without=none" } else { option });
    }
    run_suite(&mut maven, root)
}
