//! The one build that every suite shares: the library, a relay, the runner in Rust, and the code that is generated.
//!
//! Invariant: cargo is asked for the same selection, and so resolves the same features, as by `cargo test --workspace`;
//! whoever has run the tests has built all of it.

use std::collections::BTreeSet;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;

/// What the suites run.
const SELECTION: &[&str] = &["--lib", "--bin", "tombolo-relay", "--bin", "tombolo-conformance"];
/// What of it is timed with `--release`: here the features are those that an app's build has.
const OPTIMISED: &[&str] = &["--release", "-p", "tombolo-ffi", "-p", "tombolo-conformance", "--lib", "--bins"];
/// How the generated code is named.
const NAMES: &str = "bindings/names.toml";

/// What cargo has built.
pub(super) struct Built {
    root: PathBuf,
    bindgen: PathBuf,
    optimised: bool,
}

impl Built {
    /// Builds what the suites run.
    pub(super) fn for_tests(root: &Path) -> Result<Self, String> {
        command::build_as_tests(root, SELECTION)?;
        Self::in_place(root, false)
    }

    /// Builds what is timed, as an app would have it.
    pub(super) fn for_apps(root: &Path) -> Result<Self, String> {
        command::run(command::cargo(root, &["build"]).args(OPTIMISED))?;
        Self::in_place(root, true)
    }

    fn in_place(root: &Path, optimised: bool) -> Result<Self, String> {
        Ok(Self { root: root.to_owned(), bindgen: bindgen(root)?, optimised })
    }

    /// The top of the repository.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo has put what is built.
    pub(super) fn folder(&self) -> PathBuf {
        target(&self.root).join(if self.optimised { "release" } else { "debug" })
    }

    /// The library that all languages load.
    pub(super) fn library(&self) -> PathBuf {
        self.folder().join(format!("{DLL_PREFIX}tombolo_ffi{DLL_SUFFIX}"))
    }

    /// A relay.
    pub(super) fn relay(&self) -> PathBuf {
        self.folder().join(format!("tombolo-relay{EXE_SUFFIX}"))
    }

    /// The runner of the scenarios in Rust.
    pub(super) fn runner(&self) -> PathBuf {
        self.folder().join(format!("tombolo-conformance{EXE_SUFFIX}"))
    }

    /// Generates the code of one language, and returns the folder that has nothing else in it; what is there as it
    /// should be stays untouched, so that nothing is compiled again for it.
    pub(super) fn code(&self, language: &str) -> Result<PathBuf, String> {
        let (folder, fresh) = (out(&self.root).join(language), out(&self.root).join("fresh").join(language));
        emptied(&fresh)?;
        let mut generate = Command::new(&self.bindgen);
        generate.args(["generate", "--no-format", "--language", language, "--config"]).arg(self.root.join(NAMES));
        generate.arg("--out-dir").arg(&fresh).arg(self.library());
        // It asks cargo for the crate's name, from here.
        command::run(generate.current_dir(self.root.join("bindings/ffi")))?;
        mirror(&fresh, &folder)?;
        Ok(folder)
    }

    /// Returns the interface that the library carries, as a stub of Python.
    pub(super) fn stub(&self) -> Result<String, String> {
        command::output(Command::new(&self.bindgen).arg("stub").arg(self.library()))
    }
}

/// Builds UniFFI's program, and returns where it is.
pub(super) fn bindgen(root: &Path) -> Result<PathBuf, String> {
    let folder = target(root).join("bindgen");
    let mut cargo = command::cargo(root, &["build", "--locked", "--manifest-path", "bindings/bindgen/Cargo.toml"]);
    command::run(cargo.arg("--target-dir").arg(&folder))?;
    Ok(folder.join("debug").join(format!("uniffi-bindgen{EXE_SUFFIX}")))
}

/// Where the chores of the bindings put what they make.
pub(super) fn out(root: &Path) -> PathBuf {
    target(root).join("bindings")
}

/// Where cargo puts what it builds.
pub(super) fn target(root: &Path) -> PathBuf {
    crate::ci::target(root)
}

/// Makes a folder, and takes away what an earlier run has left in it.
pub(super) fn emptied(folder: &Path) -> Result<(), String> {
    if folder.is_dir() {
        fs::remove_dir_all(folder).map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;
    }
    made(folder)
}

/// Makes one folder the same as another.
pub(super) fn mirror(from: &Path, to: &Path) -> Result<(), String> {
    made(to)?;
    let names = names(from)?;
    for name in &names {
        let (from, to) = (from.join(name), to.join(name));
        if from.is_dir() {
            mirror(&from, &to)?;
        } else {
            place(&from, &to)?;
        }
    }
    for name in self::names(to)?.difference(&names) {
        let extra = to.join(name);
        let gone = if extra.is_dir() { fs::remove_dir_all(&extra) } else { fs::remove_file(&extra) };
        gone.map_err(|error| format!("cannot remove {}: {error}", extra.display()))?;
    }
    Ok(())
}

/// Copies a file, unless it is there as it is; says whether it was not.
pub(super) fn place(from: &Path, to: &Path) -> Result<bool, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    if to.is_file() && read(from)? == read(to)? {
        return Ok(false);
    }
    made(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map(|_| true).map_err(|error| format!("cannot write {}: {error}", to.display()))
}

/// Makes a folder, unless it is there.
pub(super) fn made(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

fn names(folder: &Path) -> Result<BTreeSet<OsString>, String> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    entries.map_err(|error| format!("cannot read {}: {error}", folder.display()))
}
