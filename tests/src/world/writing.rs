//! How people write: words, bursts, letter by letter, documents of their own.
//!
//! Each word is one change of three parts: a key, as many letters in a text, and one step of a counter; so that a
//! change that took effect twice, or by half, shows in the sums.
//!
//! Invariant: every word is distinct and names its author, so that a loss names the edit.

use tombolo::document::{Crdt, MapEdit};
use tombolo::{Error, Milestone};

use super::ledger::{Acknowledged, Word};
use super::script::{Planned, Style};
use super::stage::{NEEDLE, World};
use crate::invariant::{Invariant, Violation};

/// So many deeds pass before somebody asks for other documents.
const ASK_EVERY: usize = 4;
/// Most documents of one history.
const DOCUMENTS_MAX: usize = 7;

impl World {
    /// Lets somebody write.
    pub(super) fn write(&mut self, planned: &Planned, style: Style) -> Result<(), Violation> {
        let Some(actor) = Self::pick(&self.present(), planned.who) else { return Ok(()) };
        let numbers: Vec<usize> = (0..self.documents.len()).collect();
        let Some(document) = Self::pick(&numbers, planned.how) else { return Ok(()) };
        match style {
            Style::Create if self.documents.len() < DOCUMENTS_MAX => self.create(actor, planned.how),
            Style::Create | Style::Word => self.word(actor, document),
            Style::Burst(words) => (0..words).try_for_each(|_| self.word(actor, document)),
            Style::Letters(letters) => {
                for nth in 0..letters {
                    self.letter(actor, document, nth);
                    self.net.run_for(std::time::Duration::from_millis(80));
                }
                self.word(actor, document)
            }
        }
    }

    /// Now and then, where devices do so, somebody asks for other documents than before.
    pub(super) fn ask(&mut self, planned: &Planned) {
        if !self.asks || !planned.number.is_multiple_of(ASK_EVERY) {
            return;
        }
        let Some(actor) = Self::pick(&self.present(), planned.how >> 24) else { return };
        let (replica, chosen) = (self.actors[actor].replica, planned.who >> 32);
        if (planned.how >> 48).is_multiple_of(4) {
            return self.ask_for_all(actor);
        }
        let numbered = self.documents.iter().enumerate();
        let some: Vec<_> = numbered.filter(|(nth, _)| chosen >> nth & 1 == 1).map(|(_, id)| *id).collect();
        let workspace = self.net.workspace();
        let before = self.net.act(replica, |engine, _, _| engine.synced_only(&workspace));
        if replica.sync_only(&mut self.net, &some).is_err() {
            return;
        }
        if some.len() < self.documents.len() {
            self.census.saw("a device asked for some documents only");
        }
        if let Ok(Some(Some(before))) = before
            && some.iter().any(|id| !before.contains(id))
        {
            self.census.saw("a device asked for more documents");
        }
        self.told.push(format!("{:>14} d{actor} asks for {} documents", "", some.len()));
    }

    /// A device asks for all documents; one that is no member has nothing to ask for.
    pub(super) fn ask_for_all(&mut self, actor: usize) {
        let (workspace, replica) = (self.net.workspace(), self.actors[actor].replica);
        let asked = self.net.act(replica, |engine, now, tx| engine.sync_all(now, &workspace, tx));
        if let Ok(Some(())) = asked {
            self.told.push(format!("{:>14} d{actor} asks for all documents", ""));
        }
    }

    fn create(&mut self, actor: usize, how: u64) -> Result<(), Violation> {
        let crdt = if how.is_multiple_of(2) { Crdt::Automerge } else { Crdt::Yrs };
        let workspace = self.net.workspace();
        let made = self.net.act(self.actors[actor].replica, |engine, now, tx| {
            let document = engine.create_document(now, &workspace, crdt, tx)?;
            // Made once, here: what two make at the same time under one key are two things, of which one is seen.
            let begin = |edit: &mut MapEdit<'_>| {
                edit.text("body").map(|_| ())?;
                edit.counter("tally")?.increment(0)
            };
            engine.edit(now, &document, begin, tx)?;
            Ok(document)
        });
        match made {
            Ok(Some(id)) => {
                self.documents.push(id);
                self.net.share_document(id);
                self.word(actor, self.documents.len() - 1)
            }
            Ok(None) => Ok(()),
            Err(error) => self.judge_refusal(actor, &error),
        }
    }

    /// A letter into a text that nobody counts.
    fn letter(&mut self, actor: usize, document: usize, nth: u64) {
        let id = self.documents[document];
        let done = self.net.act(self.actors[actor].replica, |engine, now, tx| {
            engine.edit(now, &id, |edit| edit.text("draft")?.push_str(&nth.to_string()), tx)
        });
        // Whether it is taken is asked by the word that follows.
        drop(done);
    }

    /// Writes one word.
    pub(super) fn word(&mut self, actor: usize, document: usize) -> Result<(), Violation> {
        self.words += 1;
        let word = format!("{NEEDLE}-{}-d{actor}", self.words);
        let (id, place) = (self.documents[document], self.chance.below(u64::MAX));
        let replica = self.actors[actor].replica;
        let text = word.clone();
        let edited =
            self.net.act(replica, |engine, now, tx| engine.edit(now, &id, |edit| put_word(edit, &text, place), tx));
        let acknowledged = match edited {
            Ok(Some(())) if self.is_trusted(actor) => Acknowledged::Locally,
            Ok(_) => Acknowledged::Perhaps,
            Err(error) => return self.judge_refusal(actor, &error),
        };
        let done = acknowledged == Acknowledged::Locally;
        let at_relay = false;
        self.ledger.write(word.clone(), Word { document, author: actor, acknowledged, at_relay });
        if done && self.chance.one_in(4) {
            self.await_words(actor, document, word)?;
        }
        Ok(())
    }

    /// Asks to be told when a relay has a word, or another device.
    fn await_words(&mut self, actor: usize, document: usize, word: String) -> Result<(), Violation> {
        let id = self.documents[document];
        let others: Vec<usize> = self.present().into_iter().filter(|other| *other != actor).collect();
        let other = if self.chance.one_in(3) { Self::pick(&others, self.chance.below(u64::MAX)) } else { None };
        let milestone = match other {
            Some(other) => Milestone::SeenBy(self.actors[other].replica.ids(&self.net).0),
            None => Milestone::RelayDurable,
        };
        let replica = self.actors[actor].replica;
        let asked = self.net.act(replica, |engine, _, tx| engine.await_milestone(&id, milestone, tx));
        let Ok(Some(wait)) = asked else { return Ok(()) };
        let actor = &mut self.actors[actor];
        match other {
            Some(other) => drop(actor.sights.insert(wait, (vec![word], other))),
            None => drop(actor.waits.insert(wait, vec![word])),
        }
        Ok(())
    }

    /// An edit may be refused for a role, or for what is not here yet; for nothing else.
    fn judge_refusal(&mut self, actor: usize, error: &Error) -> Result<(), Violation> {
        let trusted = self.is_trusted(actor);
        match error {
            Error::RoleDenied if !trusted => {
                self.census.saw("an edit was refused for its role");
                Ok(())
            }
            Error::NoDocument(_) | Error::NotReady | Error::NoWorkspace(_) => Ok(()),
            // Whoever came late may know of the workspace before it knows of itself.
            Error::RoleDenied if actor >= self.cast => Ok(()),
            error => Err(Violation {
                invariant: Invariant::ApplyIsSafe,
                what: format!("d{actor} may write and is told: {error}"),
            }),
        }
    }
}

fn put_word(edit: &mut MapEdit<'_>, word: &str, place: u64) -> Result<(), tombolo::document::EditError> {
    edit.put(word, 1)?;
    edit.counter("tally")?.increment(1)?;
    let mut body = edit.text("body")?;
    let at = usize::try_from(place).unwrap_or(usize::MAX) % (body.len_utf16() + 1);
    body.splice(at, 0, word)
}
