//! The rule of names: types, functions and modules are called by the glossary, not by words that say nothing.
//!
//! Methods of a trait's implementation are left alone, for the trait may be a library's; so are tests, which are
//! sentences.

use syn::visit::{self, Visit};

use super::modules::is_test;
use super::repo::{Finding, Repo};

/// Words that say nothing about the thing they name.
const EMPTY_WORDS: &[&str] =
    &["manager", "managers", "helper", "helpers", "util", "utils", "utility", "utilities", "data", "info", "infos"];

/// Verbs that say nothing about what a function does.
const EMPTY_VERBS: &[&str] = &["process_", "do_", "get_"];

/// The literature's own terms, which would only be harder to know under another name.
const TERMS: &[&str] = &["associated_data", "AssociatedData"];

/// Finds names that say nothing.
pub(crate) fn check(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in &repo.sources {
        let mut names = Names { path, findings: &mut findings };
        names.visit_file(&source.syntax);
    }
    findings
}

struct Names<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Names<'_> {
    fn noun(&mut self, ident: &syn::Ident) {
        let name = TERMS.iter().fold(ident.to_string(), |name, term| name.replace(term, ""));
        if let Some(word) = segments(&name).into_iter().find(|word| EMPTY_WORDS.contains(&word.as_str())) {
            self.find(ident, &format!("`{ident}` says `{word}`; name what it is, from the glossary"));
        }
    }

    fn function(&mut self, signature: &syn::Signature) {
        let ident = &signature.ident;
        self.noun(ident);
        let name = ident.to_string();
        if let Some(verb) = EMPTY_VERBS.iter().find(|verb| name.starts_with(*verb)) {
            self.find(ident, &format!("`{ident}` begins with `{verb}`; say what it does"));
        }
    }

    fn find(&mut self, ident: &syn::Ident, words: &str) {
        self.findings.push(Finding::new(self.path, ident.span().start().line, "name", words));
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.noun(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.noun(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.noun(&item.ident);
        visit::visit_item_union(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.noun(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.noun(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.noun(&item.ident);
        visit::visit_item_mod(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig);
        }
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if item.trait_.is_none() {
            for member in &item.items {
                if let syn::ImplItem::Fn(function) = member {
                    self.function(&function.sig);
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig);
        visit::visit_trait_item_fn(self, item);
    }
}

/// Cuts `snake_case` and `CamelCase` into lower-case words; `HTTPData` is `http`, `data`.
fn segments(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| letters.get(before));
        let after_small = before.is_some_and(|before| !before.is_uppercase());
        let before_small = letters.get(at + 1).is_some_and(|after| after.is_lowercase());
        let begins = letter.is_uppercase() && (after_small || before_small);
        if *letter == '_' || begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| *letter != '_') {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&Repo::planted(&[("core/src/lib.rs", text)])).len()
    }

    #[test]
    fn each_empty_word_is_caught_in_types_functions_and_modules() {
        let planted = [
            "struct KeyManager;",
            "enum UserInfo {}",
            "trait Helper {}",
            "type Data = u8;",
            "mod utils {}",
            "fn entry_data() {}",
            "impl Entry { fn get_id(&self) {} }",
            "trait Store { fn process_entry(&self); }",
            "fn do_sync() {}",
            "struct HTTPData;",
        ];
        for text in planted {
            assert_eq!(found(text), 1, "{text}");
        }
    }

    #[test]
    fn words_that_only_contain_an_empty_word_pass_and_so_does_what_a_library_forces() {
        let sound = [
            "struct Metadata;",
            "struct Database;",
            "fn inform() {}",
            "fn undo_change() {}",
            "fn document() {}",
            "impl Entry { fn get(&self) {} }",
            "impl Acquire for Key { fn get_key(&self) {} }",
            "fn associated_data() {}",
            "#[tokio::test] async fn damaged_data_is_refused() {}",
        ];
        for text in sound {
            assert_eq!(found(text), 0, "{text}");
        }
    }
}
