//! The ratchet: the exceptions to the law of sizes, each with the size it has now, which may only fall.
//!
//! They come from `xtask/limits.txt`, one a line: `file 450 path` or `function 52 path Type::name`. `tidy --bless`
//! lowers numbers and drops lines; to raise one is a deliberate edit that a reviewer sees.

use std::collections::BTreeMap;

use super::repo::Finding;
use super::sizes::{FILE_LINES_MAX, FUNCTION_LINES_MAX, Sizes};

/// Where the exceptions are listed.
pub(super) const LIMITS_PATH: &str = "xtask/limits.txt";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    File,
    Function,
}

impl Kind {
    /// How long one may be without being listed.
    pub(super) fn lines_max(self) -> usize {
        match self {
            Self::File => FILE_LINES_MAX,
            Self::Function => FUNCTION_LINES_MAX,
        }
    }
}

/// A file, or a function in it; the name of a file's subject is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) name: String,
}

#[derive(Debug)]
struct Limit {
    lines: usize,
    at: usize,
}

/// The listed exceptions.
#[derive(Debug)]
pub(super) struct Limits(BTreeMap<Subject, Limit>);

impl Limits {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut limits = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (subject, lines) = parse_line(line).ok_or_else(|| format!("{LIMITS_PATH}:{}: `{line}`", at + 1))?;
            limits.insert(subject, Limit { lines, at: at + 1 });
        }
        Ok(Self(limits))
    }

    /// The size that is listed for a subject.
    pub(super) fn allows(&self, subject: &Subject) -> Option<usize> {
        self.0.get(subject).map(|limit| limit.lines)
    }

    /// Finds lines that no longer except anything.
    pub(super) fn check(&self, sizes: &Sizes) -> Vec<Finding> {
        let idle = self
            .0
            .iter()
            .filter(|(subject, _)| sizes.lines(subject).is_none_or(|lines| lines <= subject.kind.lines_max()));
        let words = "this exception is no longer needed: cargo xtask tidy --bless";
        idle.map(|(_, limit)| Finding::new(LIMITS_PATH, limit.at, "limits", words)).collect()
    }

    /// How many exceptions are longer than what they except.
    pub(super) fn slack(&self, sizes: &Sizes) -> usize {
        self.0.iter().filter(|(subject, limit)| sizes.lines(subject).is_some_and(|lines| lines < limit.lines)).count()
    }
}

/// Rewrites the list so that each number is the present size and no line is idle; nothing is added or raised.
pub(super) fn lower(text: &str, sizes: &Sizes) -> String {
    let mut lowered = String::new();
    for line in text.lines() {
        let kept = match parse_line(line) {
            None => Some(line.to_owned()),
            Some((subject, listed)) => sizes
                .lines(&subject)
                .filter(|lines| *lines > subject.kind.lines_max())
                .map(|lines| write_line(&subject, lines.min(listed))),
        };
        if let Some(kept) = kept {
            lowered.push_str(&kept);
            lowered.push('\n');
        }
    }
    lowered
}

fn parse_line(line: &str) -> Option<(Subject, usize)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (kind, lines, path, name) = match words.as_slice() {
        ["file", lines, path] => (Kind::File, lines, path, ""),
        ["function", lines, path, name] => (Kind::Function, lines, path, *name),
        _ => return None,
    };
    Some((Subject { kind, path: (*path).to_owned(), name: name.to_owned() }, lines.parse().ok()?))
}

fn write_line(subject: &Subject, lines: usize) -> String {
    match subject.kind {
        Kind::File => format!("file {lines} {}", subject.path),
        Kind::Function => format!("function {lines} {} {}", subject.path, subject.name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::modules::Scope;
    use super::super::repo::Repo;
    use super::*;

    fn sizes(lines: usize) -> Sizes {
        let text = "// A line.\n".repeat(lines);
        let repo = Repo::planted(&[("core/Cargo.toml", ""), ("core/src/lib.rs", &text)]);
        Sizes::of(&repo, &Scope::of(&repo))
    }

    #[test]
    fn an_exception_that_is_no_longer_needed_is_caught() {
        let limits = Limits::parse("# Why.\nfile 450 core/src/lib.rs\n").unwrap();
        assert_eq!(limits.check(&sizes(450)), []);
        assert_eq!(limits.check(&sizes(400))[0].line, 2);
        let gone = Limits::parse("file 450 core/src/gone.rs").unwrap();
        assert_eq!(gone.check(&sizes(450)).len(), 1);
    }

    #[test]
    fn blessing_lowers_and_drops_and_never_raises_or_adds() {
        let listed = "# Why.\nfile 450 core/src/lib.rs\n";
        assert_eq!(lower(listed, &sizes(420)), "# Why.\nfile 420 core/src/lib.rs\n");
        assert_eq!(lower(listed, &sizes(500)), listed);
        assert_eq!(lower(listed, &sizes(300)), "# Why.\n");
        assert_eq!(lower("", &sizes(500)), "");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_refused_and_named() {
        assert!(Limits::parse("# Why.\nfile many core/src/lib.rs").unwrap_err().contains(":2:"));
    }
}
