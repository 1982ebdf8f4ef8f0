//! The step that runs each example to its end, as a reader of the repository would.
//!
//! Examples are the programs in `examples/src/bin`. One that takes commands has a story of its own in `examples/tests`,
//! which the tests run; every other takes no arguments and ends by itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Bench;
use crate::command;

/// An example shows one thing; one that runs longer is stuck.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    let names = names(bench.root)?;
    if names.is_empty() {
        return Err("examples/src/bin holds no program".to_owned());
    }
    let (with_story, alone): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| bench.root.join(format!("examples/tests/{name}.rs")).is_file());
    let chosen: Vec<&str> = alone.iter().flat_map(|name| ["--bin", name]).collect();
    command::build_as_tests(bench.root, &chosen)?;
    for name in &alone {
        let program = super::target(bench.root).join("debug").join(name);
        command::run_within(Command::new(program).current_dir(bench.root), EXAMPLE_LIMIT)?;
    }
    println!(
        "ran to the end: {}; driven by their own stories among the tests: {}",
        alone.join(", "),
        with_story.join(", ")
    );
    Ok(())
}

fn names(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("examples/src/bin");
    let listed = folder.read_dir().map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut names = Vec::new();
    for file in listed {
        let path = file.map_err(|error| format!("cannot list {}: {error}", folder.display()))?.path();
        if let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
