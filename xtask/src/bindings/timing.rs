//! What things cost in each language, beside Rust: every device of a play also times calls, by words that all share.
//!
//! Languages take turns, so that a busy moment of the machine meets all of them; what is shown is the best run of each,
//! which the machine disturbed least, and the worst, which says how much it did.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::built::Built;
use super::{kotlin, python, suites, swift};
use crate::command;

const RUNS: usize = 5;
/// What is timed, how often in a run, and what it is called.
const TIMED: &[(&str, &str, &str)] = &[
    ("call", "20000", "a call that waits for nothing (`document.id()`)"),
    ("read", "5000", "reading a string"),
    ("read-large", "100", "reading a string of 1 MiB"),
    ("edit", "1000", "an edit, written and not flushed (`Durability::Process`)"),
    ("event", "1000", "the same and its event, one after the other"),
    ("edit-durable", "100", "an edit, flushed"),
];

/// Nanoseconds of each run, by what was timed and by language.
type Figures = BTreeMap<(String, &'static str), Vec<u64>>;

/// Times all languages, and prints a table. Rust and the library are as the suites have them (dependencies optimised, own
/// crates at level 2) unless a release build is asked for; Swift's own code is optimised in either case.
pub(super) fn run(root: &Path, release: bool) -> Result<(), String> {
    suites::install(root)?;
    let built = if release { Built::for_apps(root)? } else { Built::for_tests(root)? };
    swift::compile(&built, true)?;
    kotlin::compile(&built)?;
    let rust = vec![built.runner().display().to_string(), "device".to_owned()];
    let devices = [
        ("Rust", rust),
        ("Swift", swift::device(true)?),
        ("Kotlin", kotlin::device(&built)?),
        ("Python", python::device(&built)?),
    ];
    let mut figures = Figures::new();
    for number in 1..=RUNS {
        for (language, words) in &devices {
            println!("{language}, run {number} of {RUNS}");
            measure(language, words, &mut figures)?;
        }
    }
    let languages: Vec<&str> = devices.iter().map(|(language, _)| *language).collect();
    print!("\n{}", table(&languages, &figures));
    Ok(())
}

fn measure(language: &'static str, words: &[String], figures: &mut Figures) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(format!("{language} has no command"));
    };
    let mut device = Command::new(program);
    device.args(arguments).arg("time").args(TIMED.iter().flat_map(|(what, count, _)| [*what, *count]));
    for line in command::output(&mut device)?.lines() {
        if let ["time", what, nanoseconds] = line.split(' ').collect::<Vec<_>>().as_slice() {
            let nanoseconds = nanoseconds.parse().map_err(|_| format!("{language} said {line}"))?;
            figures.entry(((*what).to_owned(), language)).or_default().push(nanoseconds);
        }
    }
    Ok(())
}

fn table(languages: &[&'static str], figures: &Figures) -> String {
    let mut out = format!("| best of {RUNS} runs to worst | {} |\n", languages.join(" | "));
    out.push_str(&format!("|---|{}\n", "---|".repeat(languages.len())));
    for (what, _, name) in TIMED {
        let row: Vec<String> =
            languages.iter().map(|language| shown(figures.get(&((*what).to_owned(), *language)))).collect();
        out.push_str(&format!("| {name} | {} |\n", row.join(" | ")));
    }
    out
}

fn shown(runs: Option<&Vec<u64>>) -> String {
    let runs = runs.map(Vec::as_slice).unwrap_or_default();
    match (runs.iter().min(), runs.iter().max()) {
        (Some(best), Some(worst)) => format!("{} to {}", time(*best), time(*worst)),
        _ => "–".to_owned(),
    }
}

/// Shows a time in the unit that leaves it a few digits.
fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{}.{} µs", nanoseconds / 1_000, nanoseconds % 1_000 / 100),
        _ => format!("{}.{:02} ms", nanoseconds / 1_000_000, nanoseconds % 1_000_000 / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_and_the_worst_run_stand_in_the_row_of_what_was_timed() {
        let runs = vec![1_250, 42, 3_456_789];
        let figures = Figures::from([(("call".to_owned(), "Rust"), runs)]);
        let table = table(&["Rust", "Swift"], &figures);
        assert!(table.contains("(`document.id()`) | 42 ns to 3.45 ms | – |"), "{table}");
        assert_eq!(time(1_250), "1.2 µs");
    }
}
