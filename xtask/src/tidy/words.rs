//! The rules of single lines: how a file opens, what is never written, and when a test may wait.
//!
//! Code is matched by token, so that strings and comments cannot trip a rule; comments and paths are matched by text.

use super::modules::Scope;
use super::repo::{Finding, Repo, Source, Token};

/// Code that is never written, with what to do instead.
const FORBIDDEN_CODE: &[(&[&str], &str)] = &[
    (&["let", "_", "="], "name the value and use it, or say `drop(…)`: nothing is dropped unseen"),
    (&["todo", "!"], "write it, or leave it out"),
    (&["unimplemented", "!"], "write it, or leave it out"),
    (&["dbg", "!"], "use tracing"),
    (&["#", "[", "ignore"], "a test that does not run proves nothing: mend it or remove it"),
];

/// Words of unfinished work; the number of an issue must follow.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Where machines keep things; the repository must not know any machine.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("shared/", "design"),
];

/// What a comment says when a test has to wait for real time.
const REASON_TO_WAIT: &str = "// waits: ";

/// Every file says at its top what it is.
pub(crate) fn openings(repo: &Repo) -> Vec<Finding> {
    let silent = repo.sources.iter().filter(|(_, source)| !source.text.starts_with("//!"));
    silent.map(|(path, _)| Finding::new(path, 1, "opening", "a file opens with `//!`: what it is")).collect()
}

/// Finds code that is never written, and unfinished work that no issue tracks.
pub(crate) fn forbidden(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in &repo.sources {
        for (words, advice) in FORBIDDEN_CODE {
            let found = source.lines_with(words);
            findings.extend(found.map(|line| {
                let shown = words.join("");
                Finding::new(path, line, "forbidden", format!("`{shown}`: {advice}"))
            }));
        }
        for (at, line) in source.text.lines().enumerate() {
            let comment = line.find("//").and_then(|start| line.get(start..)).unwrap_or_default();
            if UNFINISHED.iter().any(|word| lacks_number(comment, word)) {
                findings.push(Finding::new(path, at + 1, "unfinished", "name the issue: (#12) follows the word"));
            }
        }
    }
    findings
}

fn lacks_number(comment: &str, word: &str) -> bool {
    comment.match_indices(word).any(|(at, _)| {
        let rest = comment.get(at + word.len()..).unwrap_or_default();
        let number = rest.strip_prefix("(#").and_then(|rest| rest.split_once(')'));
        !number.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Finds paths that only one machine has, in any text that git keeps.
pub(crate) fn machine_paths(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &repo.texts {
        for (at, line) in text.lines().enumerate() {
            if let Some(found) = MACHINE_PATHS.iter().find(|needle| names_path(line, needle)) {
                findings.push(Finding::new(path, at + 1, "machine-path", format!("`{found}` is one machine's")));
            }
        }
    }
    findings
}

/// Whether `line` names the absolute path `needle`, and not a longer path or an address that contains it.
fn names_path(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        let inner = needle.starts_with('/')
            && before.is_some_and(|letter| letter.is_alphanumeric() || "._-}~/*".contains(letter));
        let after = line.get(at + needle.len()..).and_then(|tail| tail.chars().next());
        !inner && (!needle.starts_with('/') || after.is_some_and(|letter| letter.is_alphanumeric() || letter == '.'))
    })
}

/// Finds tests that sleep without saying why they must.
pub(crate) fn waits(repo: &Repo, scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in &repo.sources {
        let lines: Vec<&str> = source.text.lines().collect();
        for line in sleeps(source).filter(|line| scope.is_test_line(path, *line)) {
            let beside = [line.checked_sub(1), line.checked_sub(2)];
            let reasoned = beside.iter().flatten().filter_map(|at| lines.get(*at)).any(|text| has_reason(text));
            if !reasoned {
                let words = format!("a test sleeps; wait for an event, or say `{REASON_TO_WAIT}why`");
                findings.push(Finding::new(path, line, "sleep", words));
            }
        }
    }
    findings
}

fn has_reason(line: &str) -> bool {
    line.split_once(REASON_TO_WAIT).is_some_and(|(_, reason)| !reason.trim().is_empty())
}

/// The lines that call a sleep of the thread or of tokio; a method of a virtual clock is none.
fn sleeps(source: &Source) -> impl Iterator<Item = usize> + '_ {
    source.tokens.windows(5).filter_map(|window| {
        let [scope, colon, colon_2, name, call] = window else {
            return None;
        };
        let is_sleep = (name.is("sleep") || name.is("sleep_until")) && call.is("(");
        let qualified = colon.is(":") && colon_2.is(":");
        let real = if qualified { scope.is("thread") || scope.is("time") } else { is_free_call(colon_2) };
        (is_sleep && real).then_some(name.line)
    })
}

fn is_free_call(before: &Token) -> bool {
    ![".", "fn", ":"].iter().any(|sign| before.is(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: (&str, &str) = ("core/Cargo.toml", "");

    fn lib(text: &str) -> Repo {
        Repo::planted(&[MANIFEST, ("core/src/lib.rs", text)])
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_caught() {
        assert_eq!(openings(&lib("fn f() {}")).len(), 1);
        assert_eq!(openings(&lib("//! The tour.\nfn f() {}")).len(), 0);
    }

    #[test]
    fn each_forbidden_phrase_is_caught_in_code_and_in_macros() {
        let planted = [
            "fn f() { let _ = g(); }",
            "fn f() { select! { a => { let _ = a; } } }",
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"later\") }",
            "fn f() { dbg!(1); }",
            "#[ignore = \"slow\"] #[test] fn f() {}",
        ];
        for text in planted {
            assert_eq!(forbidden(&lib(text)).len(), 1, "{text}");
        }
        let sound = "fn f() { let _kept = g(); match x { _ => {} } print(\"let _ = dbg!(1)\"); } // let _ = x";
        assert_eq!(forbidden(&lib(sound)), []);
    }

    #[test]
    fn unfinished_work_names_its_issue() {
        let word = concat!("TO", "DO");
        assert_eq!(forbidden(&lib(&format!("fn f() {{}} // {word}: later"))).len(), 1);
        assert_eq!(forbidden(&lib(&format!("fn f() {{}} // {word}(#): later"))).len(), 1);
        assert_eq!(forbidden(&lib(&format!("fn f() {{}} // {word}(#12): later"))), []);
    }

    #[test]
    fn a_path_of_one_machine_is_caught_in_any_file() {
        for path in [concat!("/wo", "rk/main"), concat!("/ho", "me/ann/x"), concat!("/ro", "ot/.cargo")] {
            let text = format!("see \"{path}\"");
            assert_eq!(machine_paths(&Repo::planted(&[("docs/a.md", &text)])).len(), 1, "{text}");
        }
        for sound in ["https://example.org/home/ann", "../shared/data", "a/work/b", "/home directory"] {
            assert_eq!(machine_paths(&Repo::planted(&[("docs/a.md", sound)])), [], "{sound}");
        }
    }

    #[test]
    fn a_test_that_sleeps_without_a_reason_is_caught() {
        let planted = [
            "#[cfg(test)] mod tests { fn f() { std::thread::sleep(ONE); } }",
            "#[cfg(test)] mod tests { async fn f() { tokio::time::sleep(ONE).await; } }",
            "#[cfg(test)] mod tests { async fn f() { sleep(ONE).await; } }",
            "#[tokio::test] async fn f() { sleep_until(THEN).await; }",
            "#[cfg(test)] mod tests { fn f() {\n// waits: \nthread::sleep(ONE); } }",
        ];
        for text in planted {
            let repo = lib(text);
            assert_eq!(waits(&repo, &Scope::of(&repo)).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_reasoned_wait_a_virtual_clock_and_production_code_may_sleep() {
        let sound = [
            "#[cfg(test)] mod tests { fn f() {\n// waits: the kernel closes sockets late\nthread::sleep(ONE); } }",
            "#[cfg(test)] mod tests { fn f() { thread::sleep(ONE); // waits: for the disk\n } }",
            "#[cfg(test)] mod tests { fn f() { net.sleep(ONE); Clock::sleep(ONE); fn sleep() {} } }",
            "fn f() { std::thread::sleep(ONE); }",
        ];
        for text in sound {
            let repo = lib(text);
            assert_eq!(waits(&repo, &Scope::of(&repo)), [], "{text}");
        }
    }
}
