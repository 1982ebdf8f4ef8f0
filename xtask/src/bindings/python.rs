//! The suite in Python: a wheel, in an environment where nothing else is, against a relay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{bindgen, emptied, out, run_suite, target};
use crate::command;

/// What builds a wheel, and what runs its tests.
const TOOLS: &[&str] = &["maturin==1.16.0", "pytest==9.2.0"];

/// Builds the wheel, installs it where nothing else is, and runs the suite against a relay.
pub(super) fn test(root: &Path, options: &[&str]) -> Result<(), String> {
    let mut pytest = Command::new(installed(root)?);
    pytest.args(["-m", "pytest", "-p", "no:cacheprovider", "--durations", "5"]).args(options);
    run_suite(pytest.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root.join("bindings/python")), root)
}

/// Returns the words that start a device of a play.
pub(super) fn device(root: &Path) -> Result<Vec<String>, String> {
    let script = root.join("bindings/python/tests/device.py");
    Ok(vec![installed(root)?.display().to_string(), "-B".to_owned(), script.display().to_string()])
}

/// Builds the wheel, installs it, and returns the interpreter that has it.
fn installed(root: &Path) -> Result<PathBuf, String> {
    let python = python(root)?;
    let bindgen = bindgen(root)?;
    let wheels = out(root).join("wheels");
    // Only the newest is installed.
    emptied(&wheels)?;
    let mut maturin = Command::new(python.with_file_name("maturin"));
    maturin.args(["build", "--profile", "dev", "--out"]).arg(&wheels).current_dir(root.join("bindings/python"));
    maturin.env("CARGO_TARGET_DIR", target(root));
    command::run(with_path(&mut maturin, &bindgen))?;
    let wheel = fs::read_dir(&wheels).ok().and_then(|mut found| found.next()?.ok()).map(|entry| entry.path());
    let wheel = wheel.ok_or("maturin has built no wheel")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"]);
    command::run(pip.arg(wheel))?;
    Ok(python)
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
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(TOOLS);
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
