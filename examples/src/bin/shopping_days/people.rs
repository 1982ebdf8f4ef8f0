//! The household that uses the list: what each of them does, and what they remember.
//!
//! Invariant: what somebody was shown as added, and nobody struck off, is on every list in the end; what was struck
//! off stays off.

use std::collections::BTreeSet;

use tombolo::Error;
use tombolo::document::Crdt;
use tombolo::protocol::ids::DocumentId;
use tombolo_testkit::{App, AppDevice, Chance, Fate};

use crate::list::{self, Naming};

/// What the household remembers.
pub(crate) struct Household {
    naming: Naming,
    items: u64,
    added: BTreeSet<String>,
    struck: BTreeSet<String>,
    /// Items that are on the list or not: the phone died while they were added or struck off.
    unsure: BTreeSet<String>,
}

impl Household {
    pub(crate) fn with(naming: Naming) -> Self {
        let nothing = BTreeSet::new;
        Self { naming, items: 0, added: nothing(), struck: nothing(), unsure: nothing() }
    }

    fn add(&mut self, device: &mut AppDevice<'_>, list: DocumentId) -> Result<(), Error> {
        self.items += 1;
        let (item, naming) = (format!("item {}", self.items), self.naming);
        match device.edit(list, |edit| list::add(edit, naming, &item))? {
            Fate::Done(()) => self.added.insert(item),
            Fate::Died => self.unsure.insert(item),
        };
        Ok(())
    }

    fn strike(&mut self, device: &mut AppDevice<'_>, list: DocumentId, chance: &mut Chance) -> Result<(), Error> {
        let Fate::Done(shown) = device.read(list, list::shown)? else { return Ok(()) };
        let Some(item) = shown.iter().nth(chance.index(shown.len())).cloned() else { return Ok(()) };
        match device.edit(list, |edit| list::strike(edit, &item))? {
            Fate::Done(()) => self.struck.insert(item),
            Fate::Died => self.unsure.insert(item),
        };
        Ok(())
    }
}

impl App for Household {
    fn found(&mut self, device: &mut AppDevice<'_>) -> Result<(), Error> {
        for crdt in [Crdt::Automerge, Crdt::Yrs] {
            device.create(crdt, |edit| edit.put("title", 1))?.done();
        }
        Ok(())
    }

    fn act(&mut self, device: &mut AppDevice<'_>, chance: &mut Chance) -> Result<(), Error> {
        let lists = device.documents()?;
        let Some(list) = lists.get(chance.index(lists.len())).copied() else { return Ok(()) };
        if chance.one_in(4) { self.strike(device, list, chance) } else { self.add(device, list) }
    }

    fn judge(&mut self, device: &mut AppDevice<'_>) -> Result<(), String> {
        let say = |error: Error| error.to_string();
        let mut shown = BTreeSet::new();
        for list in device.documents().map_err(say)? {
            shown.extend(device.read(list, list::shown).map_err(say)?.done().unwrap_or_default());
        }
        let must = |item: &&String| !self.struck.contains(*item) && !self.unsure.contains(*item);
        if let Some(lost) = self.added.iter().filter(must).find(|item| !shown.contains(*item)) {
            return Err(format!("{lost} was added, and is not on the list"));
        }
        match self.struck.iter().find(|item| shown.contains(*item)) {
            Some(back) => Err(format!("{back} was struck off, and is on the list again")),
            None => Ok(()),
        }
    }
}
