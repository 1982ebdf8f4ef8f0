//! Which files the compiler reaches, and which of them only as tests.
//!
//! Roots come from the layout cargo knows and from each `path = "….rs"` in a `Cargo.toml`; from there `mod` and
//! `include!` are followed. A file that is not reached is dead; one reached only below `#[cfg(test)]` is a test.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::repo::{Finding, Repo, Source};

/// Where tests stand.
pub(crate) struct Scope {
    reached: BTreeSet<String>,
    production: BTreeSet<String>,
    test_lines: BTreeMap<String, Vec<RangeInclusive<usize>>>,
}

impl Scope {
    pub(crate) fn of(repo: &Repo) -> Self {
        let mut scope = Self { reached: BTreeSet::new(), production: BTreeSet::new(), test_lines: BTreeMap::new() };
        for (path, source) in &repo.sources {
            scope.test_lines.insert(path.clone(), test_lines(source));
        }
        for root in roots(repo) {
            let tests = is_test_folder(&root);
            scope.walk(repo, &root, true, tests);
        }
        scope
    }

    /// Whether the whole file is a test, or part of what only tests use.
    pub(crate) fn is_test_file(&self, path: &str) -> bool {
        is_test_folder(path) || (self.reached.contains(path) && !self.production.contains(path))
    }

    /// Whether this line of the file is compiled for tests only.
    pub(crate) fn is_test_line(&self, path: &str, line: usize) -> bool {
        let ranges = self.test_lines.get(path);
        self.is_test_file(path) || ranges.is_some_and(|ranges| ranges.iter().any(|range| range.contains(&line)))
    }

    fn walk(&mut self, repo: &Repo, path: &str, is_root: bool, tests: bool) {
        let seen = if tests { &self.reached } else { &self.production };
        let Some(source) = repo.sources.get(path).filter(|_| !seen.contains(path)) else {
            return;
        };
        self.reached.insert(path.to_owned());
        if !tests {
            self.production.insert(path.to_owned());
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = name.trim_end_matches(".rs");
        let below = if is_root || stem == "mod" { folder.to_owned() } else { join(folder, stem) };
        let mut links = Links { below, beside: folder.to_owned(), tests, found: Vec::new() };
        links.visit_file(&source.syntax);
        for (file, tests) in links.found {
            self.walk(repo, &file, false, tests);
        }
        for included in includes(source) {
            self.walk(repo, &join(folder, &included), true, tests);
        }
    }
}

/// Finds the files that nothing reaches, and the `mod.rs` that the house does not use.
pub(crate) fn check(repo: &Repo, scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in repo.sources.keys() {
        if !scope.reached.contains(path) {
            findings.push(Finding::new(path, 1, "dead-file", "no `mod`, target or `include!` reaches this file"));
        }
        if path.ends_with("/mod.rs") {
            findings.push(Finding::new(path, 1, "mod-rs", "call it foo.rs beside its folder foo/"));
        }
    }
    findings
}

/// Whether an item's attributes keep it for tests: `#[cfg(test)]`, or `#[cfg(all(test, …))]`.
pub(crate) fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

fn is_test_folder(path: &str) -> bool {
    let mut folders = path.split('/').rev().skip(1);
    path.starts_with("fuzz/") || folders.any(|folder| folder == "tests" || folder == "benches")
}

fn roots(repo: &Repo) -> Vec<String> {
    let mut roots = Vec::new();
    for (manifest, text) in repo.texts.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        let package = manifest.trim_end_matches("Cargo.toml");
        roots.extend(repo.sources.keys().filter(|path| is_root_by_layout(path, package)).cloned());
        for line in text.lines() {
            let value = line.split_once("path").and_then(|(_, rest)| rest.trim_start().strip_prefix('='));
            let quoted = value.and_then(|value| value.split('"').nth(1));
            if let Some(path) = quoted.filter(|path| path.ends_with(".rs")) {
                roots.push(format!("{package}{path}"));
            }
        }
    }
    roots
}

fn is_root_by_layout(path: &str, package: &str) -> bool {
    let Some(inner) = path.strip_prefix(package) else {
        return false;
    };
    let parts: Vec<&str> = inner.split('/').collect();
    matches!(
        parts.as_slice(),
        ["build.rs"]
            | ["src", "lib.rs" | "main.rs"]
            | ["src", "bin", _]
            | ["tests" | "examples" | "benches", _]
            | ["src", "bin", _, "main.rs"]
            | ["tests" | "examples" | "benches", _, "main.rs"]
    )
}

/// Collects the files that `mod name;` points at.
struct Links {
    below: String,
    beside: String,
    tests: bool,
    found: Vec<(String, bool)>,
}

impl<'ast> Visit<'ast> for Links {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let tests = self.tests || is_cfg_test(&module.attrs);
        let name = module.ident.to_string();
        if module.content.is_some() {
            let outer = (self.below.clone(), self.tests);
            (self.below, self.tests) = (join(&self.below, &name), tests);
            visit::visit_item_mod(self, module);
            (self.below, self.tests) = outer;
        } else if let Some(path) = path_attribute(&module.attrs) {
            self.found.push((join(&self.beside, &path), tests));
        } else {
            self.found.push((join(&self.below, &format!("{name}.rs")), tests));
            self.found.push((join(&self.below, &format!("{name}/mod.rs")), tests));
        }
    }
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

fn includes(source: &Source) -> Vec<String> {
    let calls = source
        .tokens
        .windows(4)
        .filter(|window| window.iter().zip(["include", "!", "("]).all(|(token, word)| token.is(word)));
    calls.filter_map(|window| window.get(3)).map(|token| token.text.trim_matches('"').to_owned()).collect()
}

fn test_lines(source: &Source) -> Vec<RangeInclusive<usize>> {
    struct Ranges(Vec<RangeInclusive<usize>>);
    impl<'ast> Visit<'ast> for Ranges {
        fn visit_item(&mut self, item: &'ast syn::Item) {
            let attributes = match item {
                syn::Item::Mod(module) => &module.attrs,
                syn::Item::Fn(function) => &function.attrs,
                syn::Item::Impl(block) => &block.attrs,
                _ => return,
            };
            if is_cfg_test(attributes) || is_test(attributes) {
                self.0.push(item.span().start().line..=item.span().end().line);
            } else {
                visit::visit_item(self, item);
            }
        }
    }
    let mut ranges = Ranges(Vec::new());
    ranges.visit_file(&source.syntax);
    ranges.0
}

/// Whether a function is a test: its attribute's last word says so, whichever library runs it.
pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|segment| segment.ident == "test")
    })
}

/// Joins a folder and a relative path, resolving `..`.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: (&str, &str) = ("core/Cargo.toml", "[[bin]]\npath = \"tools/odd.rs\"\n");

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let repo = Repo::planted(files);
        let scope = Scope::of(&repo);
        check(&repo, &scope).into_iter().map(|finding| format!("{} {}", finding.rule, finding.path)).collect()
    }

    #[test]
    fn a_file_that_no_module_names_is_dead() {
        let files = [MANIFEST, ("core/src/lib.rs", "mod sync;"), ("core/src/sync.rs", ""), ("core/src/old.rs", "")];
        assert_eq!(found(&files), ["dead-file core/src/old.rs"]);
    }

    #[test]
    fn nested_inline_included_and_listed_files_are_alive() {
        let files = [
            MANIFEST,
            ("core/src/lib.rs", "mod a; mod inner { mod c; } #[path = \"odd/place.rs\"] mod d;"),
            ("core/src/a.rs", "mod b; include!(\"a/made.rs\");"),
            ("core/src/a/b.rs", ""),
            ("core/src/a/made.rs", ""),
            ("core/src/inner/c.rs", ""),
            ("core/src/odd/place.rs", ""),
            ("core/src/bin/tool.rs", ""),
            ("core/tests/story.rs", "mod parts;"),
            ("core/tests/parts.rs", ""),
            ("core/tools/odd.rs", ""),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn a_mod_rs_is_told_to_move() {
        let files = [MANIFEST, ("core/src/lib.rs", "mod a;"), ("core/src/a/mod.rs", "")];
        assert_eq!(found(&files), ["mod-rs core/src/a/mod.rs"]);
    }

    #[test]
    fn a_file_behind_cfg_test_is_a_test_and_one_that_production_uses_too_is_not() {
        let repo = Repo::planted(&[
            MANIFEST,
            ("core/src/lib.rs", "#[cfg(all(test, unix))] mod planted; mod real;\n#[cfg(test)]\nmod tests {\n}\n"),
            ("core/src/planted.rs", ""),
            ("core/src/real.rs", ""),
        ]);
        let scope = Scope::of(&repo);
        assert!(scope.is_test_file("core/src/planted.rs"));
        assert!(!scope.is_test_file("core/src/real.rs"));
        assert!(scope.is_test_line("core/src/lib.rs", 3));
        assert!(!scope.is_test_line("core/src/real.rs", 1));
    }
}
