//! The chores of the bindings: code for other languages is generated, never kept; what is kept is a listing of it.
//!
//! The interface is read out of the built library by UniFFI's own program, a workspace of its own that is built here.
//! What it writes goes below `target/`. What apps in all languages see is in the repository as a stub of Python: there a
//! change of it shows in a review, and type checkers read it.

mod built;
mod kotlin;
mod needs;
mod python;
mod suites;
mod swift;
mod timing;

use std::fs;
use std::path::Path;

use built::{Built, out};

/// The stub.
const INTERFACE: &str = "bindings/python/src/tombolo/_ffi/tombolo_ffi.pyi";

/// Runs the chore that `words` name.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate"] => generate(&Built::for_tests(root)?),
        ["check"] => check(&Built::for_tests(root)?),
        ["install"] => suites::install(root),
        ["time"] => timing::run(root, false),
        ["time", "--release"] => timing::run(root, true),
        ["wheel"] => python::wheel(root),
        ["sample", "swift", relay] => swift::sample(relay),
        ["test"] => suites::all(root),
        ["test", "together"] => suites::together(root),
        ["test", language, options @ ..] => suites::one(root, language, options),
        _ => Err(
            "`bindings` knows generate, check, install, test, time, wheel and sample; `cargo xtask --help` says more"
                .to_owned(),
        ),
    }
}

fn generate(built: &Built) -> Result<(), String> {
    let stub = stub(built)?;
    let path = built.root().join(INTERFACE);
    fs::write(&path, stub).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("{INTERFACE} is what the library says; the code is below {}", out(built.root()).display());
    Ok(())
}

fn check(built: &Built) -> Result<(), String> {
    let path = built.root().join(INTERFACE);
    let kept = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let stub = stub(built)?;
    let differs = stub.lines().zip(kept.lines()).position(|(new, old)| new != old);
    match differs {
        None if stub == kept => {
            println!("{INTERFACE} is what the library says");
            Ok(())
        }
        line => {
            let line = line.unwrap_or_else(|| stub.lines().count().min(kept.lines().count())) + 1;
            Err(format!("{INTERFACE} is stale from line {line} on; run `cargo xtask bindings generate`"))
        }
    }
}

/// Generates the code of all languages, and returns the stub.
fn stub(built: &Built) -> Result<String, String> {
    for language in ["python", "kotlin", "swift"] {
        built.code(language)?;
    }
    built.stub()
}
