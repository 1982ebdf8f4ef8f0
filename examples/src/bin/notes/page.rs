//! What is printed: answers on standard output, progress and complaints on standard error.
//!
//! Invariant: a reader that has gone away (`notes list | head`) is no failure.

use std::io::{ErrorKind, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tombolo::protocol::record::Role;

use crate::failure::Failure;

/// Prints an answer.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(&mut std::io::stdout().lock(), text)
}

/// Prints progress: not part of the answer.
pub(crate) fn tell(text: &str) -> Result<(), Failure> {
    write(&mut std::io::stderr().lock(), &format!("{text}\n"))
}

fn write(to: &mut dyn Write, text: &str) -> Result<(), Failure> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Io { what: "printing".to_owned(), error }),
        _ => Ok(()),
    }
}

/// Returns a text without the control characters that could move a terminal's cursor: titles and
/// workspace names are written by others.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Returns the body of a note for a terminal: lines and tabs stay.
pub(crate) fn plain_body(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Asks for one line on the terminal, or takes it from a pipe.
pub(crate) fn ask(question: &str) -> Result<String, Failure> {
    write(&mut std::io::stderr().lock(), question)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(Failure::io("reading the answer"))?;
    Ok(line.trim().to_owned())
}

/// Asks for words, on as many lines as they are written on; an empty line or the end of input ends it.
pub(crate) fn ask_words(question: &str, count: usize) -> Result<String, Failure> {
    let mut words = ask(question)?;
    let is_word = |word: &&str| word.chars().any(char::is_alphabetic);
    while words.split_whitespace().filter(is_word).count() < count {
        let more = ask("")?;
        if more.is_empty() {
            break;
        }
        words.push(' ');
        words.push_str(&more);
    }
    Ok(words)
}

/// Returns the machine's time, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Returns how long it is until a time.
pub(crate) fn left(until_ms: i64) -> String {
    // Rounded to what a person said: "7 days", not "6 days and 23 hours".
    match (until_ms.saturating_sub(now_ms()).max(0) + 30_000) / 60_000 {
        minutes @ 0..60 => count(minutes.cast_unsigned(), "minute", "minutes"),
        minutes @ 60..1440 => count((minutes / 60).cast_unsigned(), "hour", "hours"),
        minutes => count((minutes / 1440).cast_unsigned(), "day", "days"),
    }
}

/// Returns "1 change" or "3 changes".
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Returns how long ago something was.
pub(crate) fn ago(since_ms: i64) -> String {
    let since = UNIX_EPOCH + Duration::from_millis(since_ms.max(0).cast_unsigned());
    let age = SystemTime::now().duration_since(since).unwrap_or_default();
    match age.as_secs() {
        0..60 => "less than a minute ago".to_owned(),
        seconds @ 60..3600 => format!("{} ago", count(seconds / 60, "minute", "minutes")),
        seconds @ 3600..86_400 => format!("{} ago", count(seconds / 3600, "hour", "hours")),
        seconds => format!("{} ago", count(seconds / 86_400, "day", "days")),
    }
}

/// Returns the word for a role.
pub(crate) fn role_name(role: Role) -> &'static str {
    role.name()
}
