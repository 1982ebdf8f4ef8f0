//! UniFFI's own command line, in the version that the crate beside it is built with, and one command more.
//!
//! It reads the interface that `tombolo-ffi` carries in its library and writes Python, Kotlin and Swift from it. It is
//! a workspace of its own, so that what it needs to generate code stays out of the tree of what is generated.
//! `stub LIBRARY` prints the interface as Python's type checkers take it.

mod stub;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    let [_, command, library] = words.as_slice() else {
        return uniffis();
    };
    if command != "stub" {
        return uniffis();
    }
    match stub::of(library) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn uniffis() -> ExitCode {
    uniffi::uniffi_bindgen_main();
    ExitCode::SUCCESS
}
