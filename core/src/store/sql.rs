//! Named SQL: the statements live in `queries.sql`, and a name that is not there fails the build.
//!
//! Invariant: `sql!("name")` is the text between `-- name: name` and the next `-- name:`.

/// The text of a named statement.
macro_rules! sql {
    ($name:literal) => {
        const { $crate::store::sql::find($name) }
    };
}
pub(crate) use sql;

const QUERIES: &str = include_str!("queries.sql");
const MARK: &[u8] = b"-- name: ";

/// Finds a statement; evaluated at compile time.
#[expect(clippy::panic, reason = "evaluated at compile time: an unknown name fails the build")]
pub(crate) const fn find(name: &str) -> &'static str {
    let bytes = QUERIES.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if starts_with(bytes, at, MARK) && is_line(bytes, at + MARK.len(), name.as_bytes()) {
            let start = at + MARK.len() + name.len() + 1;
            return between(start, next_mark(bytes, start));
        }
        at += 1;
    }
    panic!("no such statement in queries.sql")
}

const fn next_mark(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() && !starts_with(bytes, at, MARK) {
        at += 1;
    }
    at
}

const fn between(start: usize, end: usize) -> &'static str {
    let (head, _) = QUERIES.split_at(end);
    let (_, text) = head.split_at(start);
    text
}

const fn starts_with(bytes: &[u8], at: usize, what: &[u8]) -> bool {
    let mut index = 0;
    while index < what.len() {
        if at + index >= bytes.len() || bytes[at + index] != what[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn is_line(bytes: &[u8], at: usize, what: &[u8]) -> bool {
    starts_with(bytes, at, what) && at + what.len() < bytes.len() && bytes[at + what.len()] == b'\n'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_fits_the_layout() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for migration in crate::store::open::MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        let names: Vec<&str> = QUERIES.lines().filter_map(|line| line.strip_prefix("-- name: ")).collect();
        assert!(names.len() > 50);
        for name in names {
            connection.prepare(find(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
