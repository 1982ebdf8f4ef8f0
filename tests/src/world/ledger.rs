//! Which words were acknowledged, and which may be missing with a reason.
//!
//! Invariant: a word is written once, in one document, by one actor; once it may be missing, it may for ever.

use std::collections::{BTreeMap, BTreeSet};

/// How far a word was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acknowledged {
    /// Its author died before it was told; or a reason is known why it may be missing.
    Perhaps,
    /// Its author's device told that it is durable there.
    Locally,
}

/// One word.
#[derive(Clone, Debug)]
pub struct Word {
    /// In which document, by its number.
    pub document: usize,
    /// By which actor, by its number.
    pub author: usize,
    /// How far it was acknowledged.
    pub acknowledged: Acknowledged,
    /// Whether a relay's receipt for it was told to its author.
    pub at_relay: bool,
}

/// All words.
#[derive(Default)]
pub struct Ledger {
    words: BTreeMap<String, Word>,
    /// What each actor has written or shown, by document.
    shown: BTreeMap<(usize, usize), BTreeSet<String>>,
}

impl Ledger {
    /// Notes a word.
    pub fn write(&mut self, word: String, entry: Word) {
        if entry.acknowledged == Acknowledged::Locally {
            self.shown.entry((entry.author, entry.document)).or_default().insert(word.clone());
        }
        self.words.insert(word, entry);
    }

    /// Returns the words of a document that must be there, with their authors.
    pub fn must(&self, document: usize) -> impl Iterator<Item = (&str, usize)> {
        let must =
            move |(_, word): &(&String, &Word)| word.document == document && word.acknowledged == Acknowledged::Locally;
        self.words.iter().filter(must).map(|(name, word)| (name.as_str(), word.author))
    }

    /// Tells whether a word was written into a document.
    #[must_use]
    pub fn knows(&self, document: usize, word: &str) -> bool {
        self.words.get(word).is_some_and(|known| known.document == document)
    }

    /// Returns in which document a word must be; `None` if it may be missing.
    #[must_use]
    pub fn due_in(&self, word: &str) -> Option<usize> {
        self.words.get(word).filter(|word| word.acknowledged == Acknowledged::Locally).map(|word| word.document)
    }

    /// Returns how many words there are, and how many must be there.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let must = self.words.values().filter(|word| word.acknowledged == Acknowledged::Locally).count();
        (self.words.len(), must)
    }

    /// Notes that relays have the words of an actor in a document that were written up to now.
    pub fn reached_relay(&mut self, words: &[String]) {
        for name in words {
            if let Some(word) = self.words.get_mut(name) {
                word.at_relay = true;
            }
        }
    }

    /// From now on an actor's words may be missing, but those that `kept` vouches for.
    pub fn excuse(&mut self, author: usize, mut kept: impl FnMut(&str, &Word) -> bool) {
        for (name, word) in self.words.iter_mut().filter(|(_, word)| word.author == author) {
            if !kept(name, word) {
                word.acknowledged = Acknowledged::Perhaps;
            }
        }
    }

    /// Notes what an actor shows now; returns a word that it has shown or written before, must still show, and does not.
    pub fn show(&mut self, actor: usize, document: usize, held: BTreeSet<String>) -> Option<String> {
        let before = self.shown.insert((actor, document), held.clone()).unwrap_or_default();
        before.into_iter().filter(|word| self.is_due(word)).find(|word| !held.contains(word))
    }

    /// Forgets what an actor has shown: its store is an older one now.
    pub fn forget_shown(&mut self, actor: usize) {
        self.shown.retain(|(of, _), _| *of != actor);
    }

    fn is_due(&self, word: &str) -> bool {
        self.words.get(word).is_some_and(|word| word.acknowledged == Acknowledged::Locally)
    }
}
