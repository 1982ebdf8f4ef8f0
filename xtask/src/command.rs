//! Running other programs: what is run is printed, its output passes through untouched, and it gets no standard input.
//!
//! A command comes in, its exit code is judged, and a reason goes out when it failed.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a child with a time limit is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much of a file is shown when what wrote it has failed.
const TAIL_LINES: usize = 20;

/// What `cargo run` tells this program about itself. Build scripts look at the same names (ring's asks to be run again
/// when they change), so a cargo that inherited them would build half the tree again, and so would the next one without.
const OURS_ALONE: &[&str] = &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// Makes a command that runs `cargo` with `words`, from the top of the repository, as somebody at a prompt would.
pub(crate) fn cargo(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(words).current_dir(root);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| OURS_ALONE.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds what is named of the whole workspace, with the features that `cargo test --workspace` gives it: whoever has run
/// the tests has built all of it. A test among what is asked for, here a small one, makes cargo count what tests depend
/// on; without it there would be other features, and libc and all that stands on it would be built twice.
pub(crate) fn build_as_tests(root: &Path, words: &[&str]) -> Result<(), String> {
    run(cargo(root, &["build", "--workspace", "--test", "vouching"]).args(words))
}

/// Makes a `cargo` command for `toolchain`, free of the choice that the running cargo left in the environment.
pub(crate) fn cargo_of(root: &Path, toolchain: &str, words: &[&str]) -> Command {
    let mut command = cargo(root, &[toolchain]);
    command.args(words);
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

/// Runs a command whose output goes to the end of a file, and ends it when it takes longer than `limit`.
pub(crate) fn run_into(command: &mut Command, file: &Path, limit: Duration) -> Result<(), String> {
    let shown = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
    fs::create_dir_all(file.parent().unwrap_or(file)).map_err(shown)?;
    let output = File::options().create(true).append(true).open(file).map_err(shown)?;
    command.stdout(output.try_clone().map_err(shown)?).stderr(output);
    run_within(command, limit).map_err(|reason| {
        let said = fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n");
        format!("{reason}; {} ends with:\n{last}", file.display())
    })
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
    fn a_cargo_below_this_one_is_not_told_which_package_this_is() {
        // The variable is cargo's own: it is set in every test that cargo runs.
        assert_eq!(env::var("CARGO_PKG_NAME").as_deref(), Ok("xtask"));
        let kept: Vec<_> = cargo(Path::new("."), &["build"])
            .get_envs()
            .filter(|(name, _)| *name == "CARGO_PKG_NAME" || *name == "CARGO_MANIFEST_DIR")
            .map(|(_, value)| value.is_none())
            .collect();
        assert_eq!(kept, [true, true]);
    }

    #[test]
    fn what_wrote_to_a_file_and_failed_is_told_with_its_last_words() {
        let file = std::env::temp_dir().join(format!("tombolo-xtask-{}.log", std::process::id()));
        let limit = Duration::from_secs(60);
        let reason = run_into(Command::new("sh").args(["-c", "echo no room; exit 1"]), &file, limit).unwrap_err();
        fs::remove_file(&file).unwrap();
        assert!(reason.contains("ends with:\nno room"), "{reason}");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure_and_not_a_panic() {
        assert!(!answers(&mut Command::new("tombolo-has-no-such-program")));
    }
}
