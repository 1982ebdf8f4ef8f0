//! The suite in Swift, in a Debian 13 of its own: Swift comes with it, and not with what runs here.
//!
//! The system lies outside of the repository and of `target/`, for it takes 3 GB and outlives both. Nothing of the
//! repository is mounted into it; what it needs is copied, so that taking it away takes nothing else away.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{SUITE_LIMIT, built, code, emptied, library};
use crate::command;

/// Names the folder of the system; `~/.cache/tombolo/swift` unless it is set.
const FOLDER: &str = "TOMBOLO_SWIFT_ROOT";
/// What is installed, beside a minimal system.
const PACKAGES: &str = "swiftlang libc6-dev libstdc++-14-dev binutils git ca-certificates";
/// Says which packages are there.
const READY: &str = ".tombolo-ready";
/// A download of 700 MB over a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(3600);
const MIRROR: &str = "http://deb.debian.org/debian";

/// Generates the code, and runs the suite; `--slow` runs what takes minutes as well, optimised.
pub(super) fn test(root: &Path, options: &[&str]) -> Result<(), String> {
    let Some(system) = staged(root)? else {
        return Ok(());
    };
    let slow = options.contains(&"--slow");
    let mut swift = swift(&system, "test", slow);
    swift.args(options.iter().filter(|option| **option != "--slow"));
    swift.env("TOMBOLO_RELAY", "/tombolo/bin/tombolo-relay").env("TOMBOLO_SCENARIOS", "/tombolo/scenarios.txt");
    if slow {
        swift.env("TOMBOLO_SLOW", "1");
    }
    command::run_within(&mut swift, SUITE_LIMIT)
}

/// Compiles, and returns the words that start a device of a play; none without root.
pub(super) fn device(root: &Path) -> Result<Option<Vec<String>>, String> {
    let Some(system) = staged(root)? else {
        return Ok(None);
    };
    command::run_within(swift(&system, "build", false).args(["--product", "tombolo-device"]), SUITE_LIMIT)?;
    let command = inside(&system, &["/tombolo/build/debug/tombolo-device"]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(Some(words.map(|word| word.to_string_lossy().into_owned()).collect()))
}

/// Prepares the system, with what the suite needs in it; returns nothing, after saying so, where that takes more rights.
fn staged(root: &Path) -> Result<Option<PathBuf>, String> {
    if command::output(Command::new("id").arg("-u"))?.trim() != "0" {
        eprintln!("\n!!! SWIFT IS NOT TESTED: its system is a chroot, and that takes root. Run this as root. !!!\n");
        return Ok(None);
    }
    let system = system()?;
    stage(root, &system.join("tombolo"))?;
    Ok(Some(system))
}

/// Swift's own tool, on the package inside of the system.
fn swift(system: &Path, verb: &str, optimised: bool) -> Command {
    let profile = if optimised { "release" } else { "debug" };
    let mut words = vec!["swift", verb, "--package-path", "/tombolo/package", "--scratch-path", "/tombolo/build"];
    words.extend(["-c", profile, "--disable-sandbox", "-Xlinker", "-L/tombolo/lib", "-Xlinker", "-rpath=/tombolo/lib"]);
    let mut swift = inside(system, &words);
    swift.env("TMPDIR", "/tombolo/tmp").env("HOME", "/root");
    swift
}

/// Copies what the suite needs; files that are the same are left alone, so that only what changed is compiled again.
fn stage(root: &Path, here: &Path) -> Result<(), String> {
    let generated = code(root, "swift")?;
    let package = here.join("package");
    for folder in ["Sources", "Tests"] {
        mirror(&root.join("bindings/swift").join(folder), &package.join(folder))?;
    }
    place(&root.join("bindings/swift/Package.swift"), &package.join("Package.swift"))?;
    place(&generated.join("TomboloFFI.swift"), &package.join("Generated/TomboloFFI/TomboloFFI.swift"))?;
    let native = package.join("Generated/CTomboloFFI");
    place(&generated.join("CTomboloFFI.h"), &native.join("CTomboloFFI.h"))?;
    place(&root.join("bindings/swift/module.modulemap"), &native.join("module.modulemap"))?;
    place(&library(root)?, &here.join("lib/libtombolo_ffi.so"))?;
    place(&built(root).join("tombolo-relay"), &here.join("bin/tombolo-relay"))?;
    place(&root.join("bindings/conformance/scenarios.txt"), &here.join("scenarios.txt"))?;
    emptied(&here.join("tmp"))?;
    made(&here.join("tmp"))
}

/// Returns the system's folder, after installing what is missing.
fn system() -> Result<PathBuf, String> {
    let system = match (env::var_os(FOLDER), env::var_os("HOME")) {
        (Some(named), _) => PathBuf::from(named),
        (None, Some(home)) => PathBuf::from(home).join(".cache/tombolo/swift"),
        (None, None) => return Err(format!("name a folder for Swift's system in {FOLDER}")),
    };
    if fs::read_to_string(system.join(READY)).is_ok_and(|packages| packages == PACKAGES) {
        return Ok(system);
    }
    if !system.join("usr/bin/apt-get").is_file() {
        if !command::answers(Command::new("debootstrap").arg("--version")) {
            return Err("debootstrap is missing: apt install debootstrap".to_owned());
        }
        made(&system)?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", "trixie"]).arg(&system).arg(MIRROR);
        command::run_within(&mut debootstrap, INSTALL_LIMIT)?;
    }
    let install = format!("apt-get update -q && apt-get install -y -q --no-install-recommends {PACKAGES}");
    let mut install = inside(&system, &["sh", "-c", &install]);
    command::run_within(install.env("DEBIAN_FRONTEND", "noninteractive"), INSTALL_LIMIT)?;
    fs::write(system.join(READY), PACKAGES).map_err(|error| format!("cannot write {READY}: {error}"))?;
    Ok(system)
}

/// A command inside of the system, with a `/proc` that nobody else sees and that goes with it.
fn inside(system: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", r#"mount -t proc proc "$0/proc" && exec chroot "$0" "$@""#]);
    command.arg(system).args(words).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
    command
}

/// Makes one folder the same as another.
fn mirror(from: &Path, to: &Path) -> Result<(), String> {
    made(to)?;
    let names = names(from)?;
    for name in &names {
        let (from, to) = (from.join(name), to.join(name));
        if from.is_dir() { mirror(&from, &to)? } else { place(&from, &to)? }
    }
    for name in self::names(to)?.difference(&names) {
        let extra = to.join(name);
        let gone = if extra.is_dir() { fs::remove_dir_all(&extra) } else { fs::remove_file(&extra) };
        gone.map_err(|error| format!("cannot remove {}: {error}", extra.display()))?;
    }
    Ok(())
}

fn names(folder: &Path) -> Result<BTreeSet<std::ffi::OsString>, String> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    entries.map_err(|error| format!("cannot read {}: {error}", folder.display()))
}

/// Copies a file, unless it is there as it is.
fn place(from: &Path, to: &Path) -> Result<(), String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    if to.is_file() && read(from)? == read(to)? {
        return Ok(());
    }
    made(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map(|_| ()).map_err(|error| format!("cannot write {}: {error}", to.display()))
}

fn made(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}
