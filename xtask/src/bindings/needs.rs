//! Programs of the system that a suite needs: installed where this runs as root on Debian, else named.
//!
//! Invariant: as root nothing is missing when this returns without an error, so that whoever may install never skips.

use std::process::Command;
use std::time::Duration;

use crate::command;

/// Downloads over a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);

/// A program, how to ask whether it is there and good enough, and the Debian packages that bring it.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) ask: &'static [&'static str],
    pub(super) packages: &'static [&'static str],
}

impl Program {
    fn answers(&self) -> bool {
        let [program, words @ ..] = self.ask else {
            return false;
        };
        command::answers(Command::new(program).args(words))
    }
}

/// Sees to it that programs are there; returns what is missing, in words, where this may not install it.
pub(super) fn missing(programs: &[Program]) -> Result<Option<String>, String> {
    let absent: Vec<&Program> = programs.iter().filter(|program| !program.answers()).collect();
    if absent.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = absent.iter().map(|program| program.name).collect();
    let packages: Vec<&str> = absent.iter().flat_map(|program| program.packages).copied().collect();
    let (names, packages) = (names.join(", "), packages.join(" "));
    if !is_root()? {
        return Ok(Some(format!("missing: {names}. On Debian: apt-get install {packages}")));
    }
    println!("installing {names}");
    apt(&["update", "-qq"])?;
    let mut words = vec!["install", "-qq", "-y", "--no-install-recommends"];
    words.extend(packages.split(' '));
    apt(&words)?;
    match absent.iter().find(|program| !program.answers()) {
        Some(program) => Err(format!("{} is still missing after `apt-get install {packages}`", program.name)),
        None => Ok(None),
    }
}

/// Whether this may install, and make a system of its own.
pub(super) fn is_root() -> Result<bool, String> {
    Ok(command::output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn apt(words: &[&str]) -> Result<(), String> {
    let mut apt = Command::new("apt-get");
    command::run_within(apt.args(words).env("DEBIAN_FRONTEND", "noninteractive"), INSTALL_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_missing_and_what_no_package_brings_is_told() {
        let there = Program { name: "a shell", ask: &["sh", "-c", "true"], packages: &[] };
        assert_eq!(missing(&[there]), Ok(None));
        let absent = Program { name: "a flute", ask: &["tombolo-has-no-flute"], packages: &[] };
        assert!(!absent.answers());
    }
}
