//! The chores of the bindings: code for other languages is generated, never kept; what is kept is a listing of it.
//!
//! The interface is read out of the built library by UniFFI's own program, a workspace of its own that is built here.
//! What it writes goes below `target/`; `bindings/interface.txt` says in the repository what apps in all languages
//! see, so that a change of it shows in a review.

mod built;
mod interface;
mod kotlin;
mod needs;
mod python;
mod suites;
mod swift;
mod timing;

use std::fs;
use std::path::Path;

use built::{Built, out};

/// The listing of the surface.
const INTERFACE: &str = "bindings/interface.txt";

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
        ["test"] => suites::all(root),
        ["test", "together"] => suites::together(root),
        ["test", language, options @ ..] => suites::one(root, language, options),
        _ => Err("`bindings` knows generate, check, install, test, time and wheel; `cargo xtask --help` says more"
            .to_owned()),
    }
}

fn generate(built: &Built) -> Result<(), String> {
    let listing = listing(built)?;
    let path = built.root().join(INTERFACE);
    fs::write(&path, listing).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("{INTERFACE} is what the library says; the code is below {}", out(built.root()).display());
    Ok(())
}

fn check(built: &Built) -> Result<(), String> {
    let path = built.root().join(INTERFACE);
    let kept = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let listing = listing(built)?;
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
fn listing(built: &Built) -> Result<String, String> {
    built.code("kotlin")?;
    built.code("swift")?;
    let path = built.code("python")?.join("tombolo_ffi.py");
    let code = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(interface::list(&code))
}
