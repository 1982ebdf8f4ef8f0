//! Running other programs: what is run is printed, its output passes through untouched, and it gets no standard input.
//!
//! A command comes in, its exit code is judged, and a reason goes out when it failed.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a child with a time limit is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Makes a command that runs `cargo` with `words`, from the top of the repository.
pub(crate) fn cargo(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(words).current_dir(root);
    command
}

/// Makes a `cargo` command for `toolchain`, free of the choice that the running cargo left in the environment.
pub(crate) fn cargo_of(root: &Path, toolchain: &str, words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.arg(toolchain).args(words).current_dir(root);
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    command
}

/// Runs a command to its end and fails unless it exits with zero.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let shown = announce(command);
    let status = command.stdin(Stdio::null()).status().map_err(|error| format!("`{shown}` did not start: {error}"))?;
    judge(&shown, status)
}

/// Runs a command and ends it when it takes longer than `limit`.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<(), String> {
    let shown = announce(command);
    let mut child =
        command.stdin(Stdio::null()).spawn().map_err(|error| format!("`{shown}` did not start: {error}"))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| format!("`{shown}` was lost: {error}"))? {
            return judge(&shown, status);
        }
        if started.elapsed() > limit {
            return Err(end(&mut child, &shown, limit));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Runs a command quietly and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let shown = show(command);
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("`{shown}` did not start: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("`{shown}` failed: {}", complaint.trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{shown}` did not print text: {error}"))
}

/// Whether a command can be run at all and exits with zero.
pub(crate) fn answers(command: &mut Command) -> bool {
    output(command).is_ok()
}

fn end(child: &mut Child, shown: &str, limit: Duration) -> String {
    let outcome = child.kill().and_then(|()| child.wait());
    let seconds = limit.as_secs();
    match outcome {
        Ok(_) => format!("`{shown}` was ended after {seconds} s"),
        Err(error) => {
            format!("`{shown}` took longer than {seconds} s and could not be ended: {error}")
        }
    }
}

fn judge(shown: &str, status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

fn announce(command: &Command) -> String {
    let shown = show(command);
    println!("$ {shown}");
    shown
}

fn show(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={:?}", name.to_string_lossy(), value));
        }
    }
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_exits_with_a_fault_is_a_failure_that_names_it() {
        let reason = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(reason.contains("sh -c exit 3"), "{reason}");
        assert!(reason.contains('3'), "{reason}");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let reason = run_within(Command::new("sleep").arg("60"), Duration::from_millis(200)).unwrap_err();
        assert!(reason.contains("was ended"), "{reason}");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure_and_not_a_panic() {
        assert!(!answers(&mut Command::new("tombolo-has-no-such-program")));
    }
}
