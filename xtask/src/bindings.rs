//! The chores of the bindings: code for other languages is generated, never kept; what is kept is a listing of it.
//!
//! The interface is read out of the built library by UniFFI's own program, a workspace of its own that is built here.
//! What it writes goes below `target/`; `bindings/interface.txt` says in the repository what apps in all languages
//! see, so that a change of it shows in a review.

mod interface;
mod kotlin;
mod python;
mod swift;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::command;

/// The listing of the surface.
const INTERFACE: &str = "bindings/interface.txt";
/// What is generated to be looked at, and to see that it can be.
const LANGUAGES: &[&str] = &["python", "kotlin", "swift"];
/// What the generated code is named.
const NAMES: &str = "bindings/names.toml";
/// A good run of the suite takes less than a tenth.
const SUITE_LIMIT: Duration = Duration::from_secs(1800);

/// Runs the chore that `words` name.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate"] => generate(root),
        ["check"] => check(root),
        ["test", "together"] => together(root),
        ["test", language, options @ ..] => test(root, language, options),
        _ => Err("`bindings` knows generate, check and test; `cargo xtask --help` says more".to_owned()),
    }
}

/// Runs the suite of one language, and says what each part of it took.
fn test(root: &Path, language: &str, options: &[&str]) -> Result<(), String> {
    let suite = match language {
        "python" => python::test,
        "kotlin" => kotlin::test,
        "swift" => swift::test,
        _ => return Err(format!("there is no suite in {language}; python, kotlin and swift are there")),
    };
    let started = Instant::now();
    library(root)?;
    command::run(&mut command::cargo(root, &["build", "-p", "tombolo-relay", "--bin", "tombolo-relay"]))?;
    let built = started.elapsed();
    suite(root, options)?;
    let suite = started.elapsed().saturating_sub(built);
    println!("{language}: {:.0} s for cargo, {:.0} s for the suite", built.as_secs_f64(), suite.as_secs_f64());
    Ok(())
}

/// Has a device in each language share a workspace with the others.
fn together(root: &Path) -> Result<(), String> {
    let Some(swift) = swift::device(root)? else {
        return Ok(());
    };
    let (kotlin, python) = (kotlin::device(root)?, python::device(root)?);
    command::run(&mut command::cargo(root, &["build", "-p", "tombolo-conformance"]))?;
    let leader = built(root).join("tombolo-conformance");
    let mut play = Command::new(&leader);
    play.args(["together", "rust"]).arg(&leader).arg("device");
    for (name, words) in [("swift", swift), ("kotlin", kotlin), ("python", python)] {
        play.args(["--", name]).args(words);
    }
    command::run_within(&mut play, SUITE_LIMIT)
}

fn generate(root: &Path) -> Result<(), String> {
    let listing = listing(root)?;
    let path = root.join(INTERFACE);
    fs::write(&path, listing).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("{INTERFACE} is what the library says; the code is below {}", out(root).display());
    Ok(())
}

fn check(root: &Path) -> Result<(), String> {
    let path = root.join(INTERFACE);
    let kept = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let listing = listing(root)?;
    let differs = listing.lines().zip(kept.lines()).position(|(new, old)| new != old);
    match differs {
        None if listing == kept => {
            println!("{INTERFACE} is what the library says");
            Ok(())
        }
        line => {
            let line = line.unwrap_or_else(|| listing.lines().count().min(kept.lines().count())) + 1;
            Err(format!("{INTERFACE} is stale from line {line} on; run `cargo xtask bindings generate`"))
        }
    }
}

/// Generates the code of all languages, and lists what the Python has.
fn listing(root: &Path) -> Result<String, String> {
    for language in LANGUAGES {
        code(root, language)?;
    }
    let path = out(root).join("python/tombolo_ffi.py");
    let code = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(interface::list(&code))
}

/// Generates the code of one language, and returns the folder that has nothing else in it.
fn code(root: &Path, language: &str) -> Result<PathBuf, String> {
    let (bindgen, library) = (bindgen(root)?, library(root)?);
    let folder = out(root).join(language);
    emptied(&folder)?;
    let mut generate = Command::new(&bindgen);
    generate.args(["generate", "--no-format", "--language", language, "--config"]).arg(root.join(NAMES));
    generate.arg("--out-dir").arg(&folder).arg(library);
    command::run(generate.current_dir(root.join("bindings/ffi")))?;
    Ok(folder)
}

/// Takes away what an earlier run has left in a folder.
fn emptied(folder: &Path) -> Result<(), String> {
    if folder.is_dir() {
        fs::remove_dir_all(folder).map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;
    }
    Ok(())
}

/// Builds the library, as it is in all suites, and returns where it is.
fn library(root: &Path) -> Result<PathBuf, String> {
    command::run(&mut command::cargo(root, &["build", "-p", "tombolo-ffi", "--lib"]))?;
    Ok(built(root).join(format!("{DLL_PREFIX}tombolo_ffi{DLL_SUFFIX}")))
}

/// Builds UniFFI's program, and returns where it is.
fn bindgen(root: &Path) -> Result<PathBuf, String> {
    let folder = target(root).join("bindgen");
    let mut cargo = command::cargo(root, &["build", "--locked", "--manifest-path", "bindings/bindgen/Cargo.toml"]);
    command::run(cargo.arg("--target-dir").arg(&folder))?;
    Ok(folder.join("debug/uniffi-bindgen"))
}

/// Runs a suite with a relay at hand.
fn run_suite(suite: &mut Command, root: &Path) -> Result<(), String> {
    command::run_within(suite.env("TOMBOLO_RELAY", built(root).join("tombolo-relay")), SUITE_LIMIT)
}

/// Where cargo has put the library and the relay.
fn built(root: &Path) -> PathBuf {
    target(root).join("debug")
}

fn out(root: &Path) -> PathBuf {
    target(root).join("bindings")
}

fn target(root: &Path) -> PathBuf {
    crate::ci::target(root)
}
