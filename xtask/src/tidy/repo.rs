//! The repository as tidy sees it: the text of every file git would keep, and each Rust file parsed and cut into tokens.
//!
//! Files come from `git ls-files`, new ones included; rules read them and return `Finding`s. Nothing here is changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{fmt, fs};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use crate::command;

/// One thing that a rule found wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) words: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, rule: &'static str, words: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, words: words.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.words)
    }
}

/// A token with its line; delimiters are tokens too, and a literal never equals a word of code.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    literal: bool,
}

impl Token {
    /// Whether this is the word or sign `text`, and not a literal that happens to spell it.
    pub(crate) fn is(&self, text: &str) -> bool {
        !self.literal && self.text == text
    }
}

/// A Rust file, parsed.
pub(crate) struct Source {
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    fn parse(path: &str, text: &str) -> Result<Self, Finding> {
        let unreadable = |line, error: String| Finding::new(path, line, "parse", error);
        let stream: TokenStream = text
            .parse()
            .map_err(|error: proc_macro2::LexError| unreadable(error.span().start().line, error.to_string()))?;
        let mut tokens = Vec::new();
        flatten(stream.clone(), &mut tokens);
        let syntax = syn::parse2(stream).map_err(|error| unreadable(error.span().start().line, error.to_string()))?;
        Ok(Self { text: text.to_owned(), syntax, tokens })
    }

    /// The lines on which `words` follow one another as tokens.
    pub(crate) fn lines_with<'a>(&'a self, words: &'a [&'a str]) -> impl Iterator<Item = usize> + 'a {
        self.tokens.windows(words.len()).filter_map(move |window| {
            let matches = window.iter().zip(words).all(|(token, word)| token.is(word));
            if matches { window.first().map(|token| token.line) } else { None }
        })
    }
}

/// Everything that the rules look at, by path from the top of the repository.
pub(crate) struct Repo {
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) unreadable: Vec<Finding>,
}

impl Repo {
    /// Reads every file that git tracks or would track; files that are not text are left out.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut git = Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
        let listing = command::output(&mut git)?;
        let mut texts = BTreeMap::new();
        for path in listing.lines() {
            let file = root.join(path);
            if !file.is_file() {
                continue;
            }
            let bytes = fs::read(&file).map_err(|error| format!("cannot read {path}: {error}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                texts.insert(path.to_owned(), text);
            }
        }
        Ok(Self::parse(texts))
    }

    fn parse(texts: BTreeMap<String, String>) -> Self {
        let mut sources = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
            match Source::parse(path, text) {
                Ok(source) => {
                    sources.insert(path.clone(), source);
                }
                Err(finding) => unreadable.push(finding),
            }
        }
        Self { texts, sources, unreadable }
    }

    /// Makes a repository of files that exist only in a test.
    #[cfg(test)]
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let texts = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self::parse(texts)
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String, line, literal| tokens.push(Token { text, line, literal });
        match tree {
            TokenTree::Ident(word) => push(word.to_string(), line, false),
            TokenTree::Literal(literal) => push(literal.to_string(), line, true),
            TokenTree::Punct(sign) if sign.spacing() == Spacing::Joint && sign.as_char() == '\'' => {
                // The tick of a lifetime: the name that follows is no word of its own.
                push("'".to_owned(), line, true);
            }
            TokenTree::Punct(sign) => push(sign.as_char().to_string(), line, false),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned(), group.span_open().start().line, false);
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: group.span_close().end().line, literal: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_macros_and_never_in_strings_or_comments() {
        let text = "//! Top.\n// drop ( x )\nfn f() { show!({ drop (1) }); print(\"drop (2)\"); }\n";
        let repo = Repo::planted(&[("core/src/lib.rs", text)]);
        let lines: Vec<usize> = repo.sources["core/src/lib.rs"].lines_with(&["drop", "("]).collect();
        assert_eq!(lines, [3]);
    }

    #[test]
    fn a_file_that_does_not_parse_is_a_finding() {
        let repo = Repo::planted(&[("core/src/lib.rs", "fn f( {")]);
        assert_eq!(repo.unreadable[0].rule, "parse");
    }
}
