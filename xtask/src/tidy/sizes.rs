//! The rule of sizes: how long files and functions are, against the law and the listed exceptions.
//!
//! A file counts up to its tests; a function counts from its signature to its last brace. Tests have wider bounds.

use std::collections::BTreeMap;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::limits::{Kind, Limits, Subject};
use super::modules::{Scope, is_cfg_test};
use super::repo::{Finding, Repo, Source};

/// A file of production code is read in one sitting.
pub(super) const FILE_LINES_MAX: usize = 400;
/// No exception goes beyond this.
const FILE_LINES_HARD_MAX: usize = 600;
/// What the files of production code may come to on average.
const FILE_LINES_MEAN_MAX: usize = 250;
/// A function fits on a screen.
pub(super) const FUNCTION_LINES_MAX: usize = 40;
/// No exception goes beyond this, tests included.
const FUNCTION_LINES_HARD_MAX: usize = 70;
/// Stories may be long, and are still looked for by people.
const TEST_FILE_LINES_MAX: usize = 1000;

/// The present size of everything that is measured; of two functions with one name, the longer.
pub(super) struct Sizes {
    production: BTreeMap<Subject, Measured>,
    tests: BTreeMap<Subject, Measured>,
}

#[derive(Clone, Copy)]
pub(super) struct Measured {
    pub(super) lines: usize,
    at: usize,
}

impl Sizes {
    pub(super) fn of(repo: &Repo, scope: &Scope) -> Self {
        let mut sizes = Self { production: BTreeMap::new(), tests: BTreeMap::new() };
        for (path, source) in &repo.sources {
            let tests = scope.is_test_file(path);
            let lines = if tests { source.text.lines().count() } else { production_lines(source) };
            let file = Subject { kind: Kind::File, path: path.clone(), name: String::new() };
            sizes.note(tests, file, Measured { lines, at: 1 });
            let mut functions = Functions { owner: Vec::new(), found: Vec::new() };
            functions.visit_file(&source.syntax);
            for (name, measured) in functions.found {
                let function = Subject { kind: Kind::Function, path: path.clone(), name };
                sizes.note(scope.is_test_line(path, measured.at), function, measured);
            }
        }
        sizes
    }

    fn note(&mut self, tests: bool, subject: Subject, measured: Measured) {
        let map = if tests { &mut self.tests } else { &mut self.production };
        let kept = map.entry(subject).or_insert(measured);
        if measured.lines > kept.lines {
            *kept = measured;
        }
    }

    /// How long a subject of production code is now.
    pub(super) fn lines(&self, subject: &Subject) -> Option<usize> {
        self.production.get(subject).map(|measured| measured.lines)
    }

    /// The mean length of production files, and how many there are.
    pub(super) fn mean(&self) -> (usize, usize) {
        let files = self.production.iter().filter(|(subject, _)| subject.kind == Kind::File);
        let lengths: Vec<usize> = files.map(|(_, measured)| measured.lines).collect();
        (lengths.iter().sum::<usize>().checked_div(lengths.len()).unwrap_or_default(), lengths.len())
    }
}

/// Finds what is longer than the law allows.
pub(super) fn check(sizes: &Sizes, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (subject, measured) in &sizes.production {
        findings.extend(judge(subject, *measured, limits.allows(subject)));
    }
    for (subject, measured) in &sizes.tests {
        let most = match subject.kind {
            Kind::File => TEST_FILE_LINES_MAX,
            Kind::Function => FUNCTION_LINES_HARD_MAX,
        };
        if measured.lines > most {
            findings.push(too_long(subject, *measured, most));
        }
    }
    let (mean, files) = sizes.mean();
    if mean > FILE_LINES_MEAN_MAX {
        let words =
            format!("{files} files of production code have {mean} lines on average (at most {FILE_LINES_MEAN_MAX})");
        findings.push(Finding::new(".", 1, "size", words));
    }
    findings
}

fn judge(subject: &Subject, measured: Measured, listed: Option<usize>) -> Option<Finding> {
    let hard = match subject.kind {
        Kind::File => FILE_LINES_HARD_MAX,
        Kind::Function => FUNCTION_LINES_HARD_MAX,
    };
    let most = listed.unwrap_or(subject.kind.lines_max()).min(hard);
    (measured.lines > most).then(|| too_long(subject, measured, most))
}

fn too_long(subject: &Subject, measured: Measured, most: usize) -> Finding {
    let what = if subject.name.is_empty() { "the file" } else { subject.name.as_str() };
    Finding::new(&subject.path, measured.at, "size", format!("{what} has {} lines (at most {most})", measured.lines))
}

/// The lines before the file's test module.
fn production_lines(source: &Source) -> usize {
    let tests = source.syntax.items.iter().find_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_some() && is_cfg_test(&module.attrs) => Some(item.span()),
        _ => None,
    });
    tests.map_or_else(|| source.text.lines().count(), |span| span.start().line.saturating_sub(1))
}

/// Collects each function with the type it belongs to.
struct Functions {
    owner: Vec<String>,
    found: Vec<(String, Measured)>,
}

impl Functions {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let name = match self.owner.last() {
            Some(owner) => format!("{owner}::{}", signature.ident),
            None => signature.ident.to_string(),
        };
        let at = signature.span().start().line;
        let last = body.brace_token.span.close().end().line;
        self.found.push((name, Measured { lines: last.saturating_sub(at) + 1, at }));
    }

    fn within(&mut self, owner: String, visit: impl FnOnce(&mut Self)) {
        self.owner.push(owner);
        visit(self);
        self.owner.pop();
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.note(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let owner = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        self.within(owner.unwrap_or_else(|| "_".to_owned()), |inner| visit::visit_item_impl(inner, item));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.within(item.ident.to_string(), |inner| visit::visit_item_trait(inner, item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str, limits: &str) -> Vec<String> {
        let repo = Repo::planted(&[("core/Cargo.toml", ""), (path, text)]);
        let sizes = Sizes::of(&repo, &Scope::of(&repo));
        check(&sizes, &Limits::parse(limits).unwrap()).into_iter().map(|finding| finding.words).collect()
    }

    fn file(lines: usize) -> String {
        "// A line.\n".repeat(lines)
    }

    fn function(lines: usize) -> String {
        format!("impl Engine {{\nfn handle() {{\n{}}}\n}}\n", "let x = 1;\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_file_is_caught_and_its_tests_do_not_count() {
        let path = "core/src/lib.rs";
        let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", file(200), file(900));
        assert_eq!(found(path, &with_tests, ""), Vec::<String>::new());
        assert!(found(path, &file(401), "")[0].contains("401 lines (at most 400)"));
        assert_eq!(found("core/tests/story.rs", &file(1000), ""), Vec::<String>::new());
        assert_eq!(found("core/tests/story.rs", &file(1001), "").len(), 1);
    }

    #[test]
    fn a_listed_file_may_keep_its_size_and_not_one_line_more_and_never_pass_the_hard_limit() {
        let path = "core/src/lib.rs";
        let small = ("core/src/a.rs", "core/src/b.rs");
        let repo = |lines| {
            let text = file(lines);
            let repo = Repo::planted(&[("core/Cargo.toml", ""), (path, &text), (small.0, ""), (small.1, "")]);
            Sizes::of(&repo, &Scope::of(&repo))
        };
        let limits = Limits::parse("file 450 core/src/lib.rs").unwrap();
        assert!(check(&repo(450), &limits).is_empty());
        assert_eq!(check(&repo(451), &limits).len(), 1);
        let lax = Limits::parse("file 700 core/src/lib.rs").unwrap();
        assert_eq!(check(&repo(601), &lax).len(), 1);
    }

    #[test]
    fn a_long_function_is_caught_by_its_type_and_name() {
        let path = "core/src/lib.rs";
        assert_eq!(found(path, &function(40), ""), Vec::<String>::new());
        assert_eq!(found(path, &function(41), ""), ["Engine::handle has 41 lines (at most 40)"]);
        assert_eq!(found(path, &function(41), "function 41 core/src/lib.rs Engine::handle"), Vec::<String>::new());
        assert_eq!(found(path, &function(71), "function 99 core/src/lib.rs Engine::handle").len(), 1);
        assert_eq!(found("core/tests/story.rs", &function(71), "").len(), 1);
    }

    #[test]
    fn the_mean_of_production_files_is_held() {
        assert_eq!(found("core/src/lib.rs", &file(250), ""), Vec::<String>::new());
        assert_eq!(found("core/src/lib.rs", &file(251), "").len(), 1);
    }
}
