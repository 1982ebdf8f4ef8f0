//! The suite in Python: from a plain folder that holds the façade, the generated module and the library, against a relay.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::built::{Built, bindgen, emptied, mirror, out, place, target};
use super::needs::{Program, missing};
use super::suites::run_suite;
use crate::command;

const PROGRAMS: &[Program] = &[Program {
    name: "Python 3.11 or newer with venv",
    ask: &["python3", "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"],
    packages: &["python3", "python3-venv"],
}];
/// What checks the types and runs the tests.
const TOOLS: &[&str] = &["mypy==2.4.1", "pytest==9.2.0"];
/// What builds a wheel.
const MATURIN: &str = "maturin==1.16.0";
/// What the package has beside its own files, as maturin writes it.
const GENERATED: &str = "from .tombolo_ffi import *  # NOQA\n";
/// What UniFFI generates.
const MODULE: &str = "tombolo_ffi.py";

/// Installs what is missing; returns what this may not install.
pub(super) fn prepare(root: &Path) -> Result<Option<String>, String> {
    let missing = missing(PROGRAMS)?;
    if missing.is_none() {
        environment(root, TOOLS)?;
    }
    Ok(missing)
}

/// Checks the types of the package, its sample and its tests, and runs the suite against a relay.
pub(super) fn test(built: &Built, options: &[&str]) -> Result<(), String> {
    let (root, package) = (built.root(), package(built)?);
    let mut mypy = Command::new(interpreter(root));
    mypy.args(["-m", "mypy", "--cache-dir"]).arg(out(root).join("mypy")).arg("--python-executable");
    mypy.arg(interpreter(root)).arg(package.join("tombolo")).args(["samples", "tests"]);
    mypy.env("MYPYPATH", &package);
    command::run(mypy.current_dir(root.join("bindings/python")))?;
    let mut pytest = Command::new(interpreter(root));
    pytest.env("PYTHONPATH", package).env("PYTHONDONTWRITEBYTECODE", "1");
    pytest.args(["-m", "pytest", "-p", "no:cacheprovider", "--durations", "5"]).args(options);
    run_suite(pytest.current_dir(root.join("bindings/python")), built)
}

/// Returns the words that start a device of a play.
pub(super) fn device(built: &Built) -> Result<Vec<String>, String> {
    let package = package(built)?;
    let script = built.root().join("bindings/python/tests/device.py");
    let path = format!("PYTHONPATH={}", package.display());
    let words = ["env".to_owned(), path, interpreter(built.root()).display().to_string(), "-B".to_owned()];
    Ok(words.into_iter().chain([script.display().to_string()]).collect())
}

/// Builds an optimised wheel, and says where it is.
pub(super) fn wheel(root: &Path) -> Result<(), String> {
    if let Some(missing) = missing(PROGRAMS)? {
        return Err(missing);
    }
    environment(root, &[MATURIN])?;
    let (bindgen, wheels) = (bindgen(root)?, out(root).join("wheels"));
    // Only the newest is installed.
    emptied(&wheels)?;
    let mut maturin = Command::new(interpreter(root).with_file_name("maturin"));
    maturin.args(["build", "--release", "--out"]).arg(&wheels).current_dir(root.join("bindings/python"));
    maturin.env("CARGO_TARGET_DIR", target(root)).env("PATH", path_with(&bindgen));
    command::run(&mut maturin)
}

/// Puts the package together as a wheel would, so that no build of its own is needed for it.
fn package(built: &Built) -> Result<PathBuf, String> {
    let (root, generated) = (built.root(), built.code("python")?);
    let folder = out(root).join("python-package");
    let native = folder.join("tombolo/_ffi");
    emptied(&folder)?;
    mirror(&root.join("bindings/python/src"), &folder)?;
    place(&generated.join(MODULE), &native.join(MODULE))?;
    let library = built.library();
    place(&library, &native.join(library.file_name().unwrap_or_default()))?;
    let init = native.join("__init__.py");
    fs::write(&init, GENERATED).map_err(|error| format!("cannot write {}: {error}", init.display()))?;
    Ok(folder)
}

fn interpreter(root: &Path) -> PathBuf {
    out(root).join("venv/bin/python")
}

/// Makes an environment for Python with some tools, once.
fn environment(root: &Path, tools: &[&str]) -> Result<(), String> {
    let python = interpreter(root);
    if !python.is_file() {
        command::run(Command::new("python3").args(["-m", "venv"]).arg(out(root).join("venv")))?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(tools);
    command::run(&mut pip)
}

/// A program's folder first on the path, where maturin looks for it.
fn path_with(program: &Path) -> OsString {
    let mut path = program.parent().map(|folder| folder.as_os_str().to_owned()).unwrap_or_default();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}
