//! The chores of the bindings: code for other languages is generated, never kept; what is kept is a listing of it.
//!
//! The interface is read out of the built library by UniFFI's own program, a workspace of its own that is built here.
//! What it writes goes below `target/`; `bindings/interface.txt` says in the repository what apps in all languages
//! see, so that a change of it shows in a review.

mod interface;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command;

/// The listing of the surface.
const INTERFACE: &str = "bindings/interface.txt";
/// What is generated to be looked at, and to see that it can be.
const LANGUAGES: &[&str] = &["python", "kotlin", "swift"];
/// What builds a wheel, and what runs its tests.
const PYTHON_TOOLS: &[&str] = &["maturin==1.16.0", "pytest==9.2.0"];
/// A good run of the suite takes less than a tenth.
const SUITE_LIMIT: Duration = Duration::from_secs(1800);

/// Runs the chore that `words` name.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate"] => generate(root),
        ["check"] => check(root),
        ["test", "python", options @ ..] => test_python(root, options),
        ["test", language, ..] => Err(format!("there is no suite in {language} yet; `python` is there")),
        _ => Err("`bindings` knows generate, check and test python; `cargo xtask --help` says more".to_owned()),
    }
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
    let bindgen = bindgen(root)?;
    command::run(&mut command::cargo(root, &["build", "-p", "tombolo-ffi", "--lib"]))?;
    let library = target(root).join("debug").join(format!("{DLL_PREFIX}tombolo_ffi{DLL_SUFFIX}"));
    for language in LANGUAGES {
        let mut generate = Command::new(&bindgen);
        generate.args(["generate", "--no-format", "--language", language, "--library"]).arg(&library);
        command::run(generate.arg("--out-dir").arg(out(root).join(language)).current_dir(root.join("bindings/ffi")))?;
    }
    let path = out(root).join("python/tombolo_ffi.py");
    let code = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(interface::list(&code))
}

/// Builds UniFFI's program, and returns where it is.
fn bindgen(root: &Path) -> Result<PathBuf, String> {
    let folder = target(root).join("bindgen");
    let mut cargo = command::cargo(root, &["build", "--locked", "--manifest-path", "bindings/bindgen/Cargo.toml"]);
    command::run(cargo.arg("--target-dir").arg(&folder))?;
    Ok(folder.join("debug/uniffi-bindgen"))
}

/// Builds the wheel, installs it where nothing else is, and runs the suite against a relay.
fn test_python(root: &Path, options: &[&str]) -> Result<(), String> {
    let python = python(root)?;
    let bindgen = bindgen(root)?;
    let wheels = out(root).join("wheels");
    // Only the newest is installed.
    if wheels.is_dir() {
        fs::remove_dir_all(&wheels).map_err(|error| format!("cannot empty {}: {error}", wheels.display()))?;
    }
    let mut maturin = Command::new(python.with_file_name("maturin"));
    maturin.args(["build", "--profile", "dev", "--out"]).arg(&wheels).current_dir(root.join("bindings/python"));
    maturin.env("CARGO_TARGET_DIR", target(root));
    command::run(with_path(&mut maturin, &bindgen))?;
    let wheel = fs::read_dir(&wheels).ok().and_then(|mut found| found.next()?.ok()).map(|entry| entry.path());
    let wheel = wheel.ok_or("maturin has built no wheel")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"]);
    command::run(pip.arg(wheel))?;
    command::run(&mut command::cargo(root, &["build", "-p", "tombolo-relay", "--bin", "tombolo-relay"]))?;
    let mut pytest = Command::new(&python);
    pytest.args(["-m", "pytest", "-p", "no:cacheprovider", "--durations", "5"]).args(options);
    pytest.env("TOMBOLO_RELAY", target(root).join("debug/tombolo-relay")).env("PYTHONDONTWRITEBYTECODE", "1");
    command::run_within(pytest.current_dir(root.join("bindings/python")), SUITE_LIMIT)
}

/// Makes an environment for Python with what is needed, once, and returns its interpreter.
fn python(root: &Path) -> Result<PathBuf, String> {
    let folder = out(root).join("venv");
    let python = folder.join("bin/python");
    if !python.is_file() {
        let made = command::run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        made.map_err(|reason| format!("{reason}; it takes Python 3.11 or newer with venv: apt install python3-venv"))?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYTHON_TOOLS);
    command::run(&mut pip)?;
    Ok(python)
}

/// Puts a program's folder first on the path, where maturin looks for it.
fn with_path<'a>(command: &'a mut Command, program: &Path) -> &'a mut Command {
    let mut path = program.parent().map(|folder| folder.as_os_str().to_owned()).unwrap_or_default();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    command.env("PATH", path)
}

fn out(root: &Path) -> PathBuf {
    target(root).join("bindings")
}

fn target(root: &Path) -> PathBuf {
    crate::ci::target(root)
}
