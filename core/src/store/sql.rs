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
    use rusqlite::{Connection, StatementStatus};

    use super::*;

    fn laid_out() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        for migration in crate::store::open::MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        connection
    }

    /// A workspace of so many documents, of which a relay has all but three.
    fn in_step_but_for_three(documents: u32) -> Connection {
        let connection = laid_out();
        let fill = format!(
            "INSERT INTO workspace (workspace, id, state) VALUES (1, x'01', 1);
             INSERT INTO relay (relay, address, allow_proxy) VALUES (1, 'wss://relay.example.org', 0);
             WITH RECURSIVE nth (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM nth WHERE n < {documents})
             INSERT INTO document (document, workspace, tag, id) SELECT n, 1, CAST(n AS BLOB), CAST(n AS BLOB) FROM nth;
             INSERT INTO chain (chain, workspace, document, stream, device, incarnation, id, head_seq, head_hash, members_head)
             SELECT document, 1, document, 0, x'02', 1, tag, 1, x'03', x'04' FROM document;
             INSERT INTO entry (chain, seq, hash, state, bytes) SELECT chain, 1, id, 1, zeroblob(400) FROM chain;
             INSERT INTO placed (relay, chain, seq, position) SELECT 1, chain, 1, chain FROM chain;
             UPDATE chain SET head_seq = 2 WHERE chain IN (7, 8, {documents});
             INSERT INTO entry (chain, seq, hash, state, bytes) SELECT chain, 2, id, 1, zeroblob(400) FROM chain WHERE head_seq = 2;"
        );
        connection.execute_batch(&fill).unwrap();
        connection
    }

    /// Runs a statement to its end; returns how many steps SQLite's machine took, and how many rows it gave.
    fn steps_of(connection: &Connection, name: &str, bound: &[i64]) -> (i32, usize) {
        let mut statement = connection.prepare(find(name)).unwrap();
        let mut rows = statement.query(rusqlite::params_from_iter(bound)).unwrap();
        let mut count = 0;
        while rows.next().unwrap().is_some() {
            count += 1;
        }
        drop(rows);
        (statement.get_status(StatementStatus::VmStep), count)
    }

    #[test]
    fn what_a_device_asks_at_every_opening_and_turn_costs_the_same_however_many_documents_are_in_step() {
        let asked: [(&str, &[i64], usize); 9] = [
            ("unplaced_chains", &[1, 1], 3),
            ("contradicts_owed", &[], 1),
            ("branches", &[1], 0),
            ("pending_documents", &[1], 0),
            ("struck", &[1], 0),
            ("quarantined_places", &[1, 14], 0),
            ("quarantined", &[1], 0),
            ("held_by_reason", &[1], 0),
            ("statuses", &[1], 0),
        ];
        let (few, many) = (in_step_but_for_three(100), in_step_but_for_three(2000));
        for (name, bound, rows) in asked {
            let (one, other) = (steps_of(&few, name, bound), steps_of(&many, name, bound));
            assert_eq!((one.1, other.1), (rows, rows), "{name}");
            assert_eq!(one.0, other.0, "{name}: what is in step is looked through");
        }
        let (all, none) = (steps_of(&few, "all_chains", &[1]), steps_of(&many, "all_chains", &[1]));
        assert!(none.0 > 10 * all.0, "steps do not count what is looked through");
    }

    #[test]
    fn documents_are_listed_as_they_lie_and_not_sorted() {
        let connection = in_step_but_for_three(100);
        let mut statement = connection.prepare(find("documents")).unwrap();
        let listed = statement.query_map([1], |row| row.get::<_, Vec<u8>>(0)).unwrap().count();
        assert_eq!((listed, statement.get_status(StatementStatus::Sort)), (100, 0));
    }

    #[test]
    fn a_workspace_is_forgotten_in_steps_that_are_in_proportion_to_its_documents() {
        let forgotten = |documents: u32| {
            let connection = in_step_but_for_three(documents);
            let gone = ["forget_all_placed", "forget_all_owed", "forget_entries", "forget_chains", "forget_documents"];
            gone.iter().map(|name| i64::from(steps_of(&connection, name, &[1]).0)).sum::<i64>()
        };
        let (few, many) = (forgotten(100), forgotten(2000));
        assert!(many < 25 * few, "20 times as many documents took {many} steps, the few {few}");
    }

    #[test]
    fn every_statement_fits_the_layout() {
        let connection = laid_out();
        let names: Vec<&str> = QUERIES.lines().filter_map(|line| line.strip_prefix("-- name: ")).collect();
        assert!(names.len() > 50);
        for name in names {
            connection.prepare(find(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
