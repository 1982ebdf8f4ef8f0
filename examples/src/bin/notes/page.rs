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
    match role {
        Role::Carrier => "carrier",
        Role::Reader => "reader",
        Role::Commenter => "commenter",
        Role::Writer => "writer",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}
