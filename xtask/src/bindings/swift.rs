//! The suite in Swift, in a Debian 13 of its own: Swift comes with it, and not with what runs here.
//!
//! The system lies outside of the repository and of `target/`, for it takes 3 GB and outlives both. Nothing of the
//! repository is mounted into it; what it needs is copied, so that taking it away takes nothing else away.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::built::{Built, emptied, made, mirror, out, place};
use super::needs::{Program, is_root, missing};
use super::suites::SUITE_LIMIT;
use crate::command;

const PROGRAMS: &[Program] = &[
    Program { name: "debootstrap", ask: &["debootstrap", "--version"], packages: &["debootstrap"] },
    Program { name: "unshare", ask: &["unshare", "--version"], packages: &["util-linux"] },
];
/// Names the folder of the system; `~/.cache/tombolo/swift` unless it is set.
const FOLDER: &str = "TOMBOLO_SWIFT_ROOT";
/// What is installed, beside a minimal system.
const PACKAGES: &str = "swiftlang libc6-dev libstdc++-14-dev binutils git ca-certificates";
/// Says how far the system has come: begun, minimal, or which packages it has.
const READY: &str = ".tombolo-ready";
const BEGUN: &str = "begun";
const MINIMAL: &str = "minimal";
/// A download of 700 MB over a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(3600);
const MIRROR: &str = "http://deb.debian.org/debian";

/// Installs the programs and the system; returns what this may not install.
pub(super) fn prepare(root: &Path) -> Result<Option<String>, String> {
    if !is_root()? {
        return Ok(Some("its system is a chroot, and that takes root: run this as root".to_owned()));
    }
    let missing = missing(PROGRAMS)?;
    if missing.is_none() {
        install(&system()?, &out(root).join("swift-system.log"))?;
    }
    Ok(missing)
}

/// Generates the code, and runs the suite; `--slow` runs what takes minutes as well, optimised.
pub(super) fn test(built: &Built, options: &[&str]) -> Result<(), String> {
    let system = staged(built)?;
    place(&built.relay(), &system.join("tombolo/bin/tombolo-relay"))?;
    let slow = options.contains(&"--slow");
    let mut swift = swift(&system, "test", slow);
    swift.args(options.iter().filter(|option| **option != "--slow"));
    swift.env("TOMBOLO_RELAY", "/tombolo/bin/tombolo-relay").env("TOMBOLO_SCENARIOS", "/tombolo/scenarios.txt");
    if slow {
        swift.env("TOMBOLO_SLOW", "1");
    }
    command::run_within(&mut swift, SUITE_LIMIT)
}

/// Compiles what a device of a play is made of, where no suite has done so.
pub(super) fn compile(built: &Built, optimised: bool) -> Result<(), String> {
    let system = staged(built)?;
    command::run_within(swift(&system, "build", optimised).args(["--product", "tombolo-device"]), SUITE_LIMIT)
}

/// Returns the words that start a device of a play.
pub(super) fn device(optimised: bool) -> Result<Vec<String>, String> {
    let profile = if optimised { "release" } else { "debug" };
    let command = inside(&system()?, &[&format!("/tombolo/build/{profile}/tombolo-device")]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(words.map(|word| word.to_string_lossy().into_owned()).collect())
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
fn staged(built: &Built) -> Result<PathBuf, String> {
    let system = system()?;
    let (sources, here, generated) =
        (built.root().join("bindings/swift"), system.join("tombolo"), built.code("swift")?);
    let package = here.join("package");
    for folder in ["Sources", "Tests"] {
        mirror(&sources.join(folder), &package.join(folder))?;
    }
    place(&sources.join("Package.swift"), &package.join("Package.swift"))?;
    if place(&generated.join("TomboloFFI.swift"), &package.join("Generated/TomboloFFI/TomboloFFI.swift"))? {
        // The compiler does not see through a module that another one exports again: who uses its types only that way
        // would keep their old layout, and take one event for another.
        emptied(&here.join("build"))?;
    }
    let native = package.join("Generated/CTomboloFFI");
    place(&generated.join("CTomboloFFI.h"), &native.join("CTomboloFFI.h"))?;
    place(&sources.join("module.modulemap"), &native.join("module.modulemap"))?;
    place(&built.library(), &here.join("lib/libtombolo_ffi.so"))?;
    place(&built.root().join("bindings/conformance/scenarios.txt"), &here.join("scenarios.txt"))?;
    emptied(&here.join("tmp"))?;
    Ok(system)
}

/// Runs the sample against a relay, as the suite has built it.
pub(super) fn sample(relay: &str) -> Result<(), String> {
    const PROGRAM: &str = "/tombolo/build/debug/two-devices";
    let system = system()?;
    if !system.join(PROGRAM.trim_start_matches('/')).exists() {
        return Err("`cargo xtask bindings test swift` builds the sample: run that first".to_owned());
    }
    command::run(&mut inside(&system, &[PROGRAM, relay]))
}

/// Returns the system's folder.
fn system() -> Result<PathBuf, String> {
    match (env::var_os(FOLDER), env::var_os("HOME")) {
        (Some(named), _) => Ok(PathBuf::from(named)),
        (None, Some(home)) => Ok(PathBuf::from(home).join(".cache/tombolo/swift")),
        (None, None) => Err(format!("name a folder for Swift's system in {FOLDER}")),
    }
}

/// Installs what the system lacks; what that says goes to a file, for other work goes on beside it.
fn install(system: &Path, log: &Path) -> Result<(), String> {
    let ready = system.join(READY);
    let noted = |state| fs::write(&ready, state).map_err(|error| format!("cannot write {}: {error}", ready.display()));
    match fs::read_to_string(&ready) {
        Ok(packages) if packages == PACKAGES => return Ok(()),
        Ok(state) if state != BEGUN => {}
        // What was interrupted half-way is made anew; what is not ours is left alone.
        begun => {
            made(system)?;
            if begun.is_err() && fs::read_dir(system).is_ok_and(|mut found| found.next().is_some()) {
                return Err(format!("{} is not empty, and no system of this chore's", system.display()));
            }
            emptied(system)?;
            noted(BEGUN)?;
            let mut debootstrap = Command::new("debootstrap");
            debootstrap.args(["--variant=minbase", "trixie"]).arg(system).arg(MIRROR);
            command::run_into(&mut debootstrap, log, INSTALL_LIMIT)?;
            noted(MINIMAL)?;
        }
    }
    let install = format!("apt-get update -q && apt-get install -y -q --no-install-recommends {PACKAGES}");
    let mut install = inside(system, &["sh", "-c", &install]);
    command::run_into(install.env("DEBIAN_FRONTEND", "noninteractive"), log, INSTALL_LIMIT)?;
    noted(PACKAGES)
}

/// A command inside of the system, with a `/proc` that nobody else sees and that goes with it.
fn inside(system: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", r#"mount -t proc proc "$0/proc" && exec chroot "$0" "$@""#]);
    command.arg(system).args(words).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
    command
}
