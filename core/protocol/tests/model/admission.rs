//! Which entries count, by definition.

use std::collections::BTreeSet;

use tombolo_protocol::ids::{ChainKey, EntryHash, RecordId};
use tombolo_protocol::membership::Claim;
use tombolo_protocol::record::Role;

use super::graph::{has, members};
use super::{Fate, Model, Who};

/// An entry as far as its admission goes; `deps` are places in the list of all entries.
#[derive(Clone, Debug)]
pub struct Entry {
    pub chain: ChainKey,
    pub seq: u64,
    pub hash: EntryHash,
    pub members_head: RecordId,
    pub deps: Vec<usize>,
}

impl Entry {
    pub fn claim(&self) -> Claim<'_> {
        Claim { chain: &self.chain, seq: self.seq, hash: &self.hash, members_head: &self.members_head }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Own,
    Beyond,
    Excluded,
    Denied,
    Unknown,
}

impl Model {
    pub fn right(&self, entry: &Entry) -> Right {
        let now = self.view();
        let verdict = now.verdicts.get(&entry.hash);
        if verdict == Some(&false) {
            return Right::Excluded;
        }
        let Some(head) = self.at.get(&entry.members_head).copied() else { return Right::Unknown };
        if !matches!(self.fates[head], Fate::Valid(_)) {
            return Right::Unknown;
        }
        let then = self.view_at(head);
        let Some((user, _, true)) = then.devices.get(&entry.chain.device).copied() else { return Right::Denied };
        let writes = |role: Option<Role>| role.is_some_and(|role| role.may_write(entry.chain.stream));
        if !writes(then.role(&user)) {
            return Right::Denied;
        }
        if verdict == Some(&true) {
            return Right::Own;
        }
        if has(now.void, then.deciding[&user]) {
            return Right::Beyond;
        }
        for target in [Who::User(user), Who::Device(entry.chain.device)] {
            let strikes = |at: &usize| self.word(*at).hits.iter().any(|(who, floor)| *who == target && !writes(*floor));
            let later = |at: &usize| *at != head && !has(self.anc[head], *at);
            let counting = now.set & !now.void;
            if members(counting).filter(strikes).filter(later).any(|removal| self.is_cut(entry, target, removal)) {
                return Right::Beyond;
            }
        }
        Right::Own
    }

    /// Whether the author's role came from an act that does not count.
    pub fn rests_on_void(&self, entry: &Entry) -> bool {
        let Some(head) = self.at.get(&entry.members_head) else { return false };
        let then = self.view_at(*head);
        let user = then.devices.get(&entry.chain.device).map(|(user, ..)| *user);
        user.and_then(|user| then.deciding.get(&user).copied()).is_some_and(|at| has(self.view().void, at))
    }

    /// Whether the pins of a removal, of concurrent ones, and those added later all end before the entry.
    fn is_cut(&self, entry: &Entry, target: Who, removal: usize) -> bool {
        let now = self.view();
        let mut spoken = false;
        for at in members(now.set & !now.void) {
            let removes = self.word(at).hits.iter().any(|(who, _)| *who == target);
            let adds = self.word(at).adds_pins_to.is_some_and(|user| Who::User(user) == target);
            let concurrent = (removes || adds) && self.apart(at, removal);
            let added = adds && has(self.anc[at], removal);
            if at != removal && !concurrent && !added {
                continue;
            }
            let Some(pins) = self.records[at].body().pins() else {
                spoken = true;
                continue;
            };
            let listed = pins.chains.iter().find(|pin| pin.chain == entry.chain);
            let in_scope = pins.documents.as_ref().is_none_or(|documents| documents.contains(&entry.chain.document));
            match listed {
                Some(pin) if entry.seq < pin.seq || entry.seq == pin.seq && entry.hash == pin.hash => return false,
                Some(_) => spoken = true,
                None => spoken |= in_scope,
            }
        }
        spoken
    }

    /// The least set that holds what counts by its own right, and what another user's content rests on.
    pub fn admitted(&self, entries: &[Entry]) -> BTreeSet<usize> {
        let rights: Vec<Right> = entries.iter().map(|entry| self.right(entry)).collect();
        let mut admitted: BTreeSet<usize> = (0..entries.len()).filter(|at| rights[*at] == Right::Own).collect();
        loop {
            let carried = |at: &usize| rights[*at] == Right::Beyond && self.is_carried(*at, entries, &admitted);
            let more: Vec<usize> = (0..entries.len()).filter(|at| !admitted.contains(at)).filter(carried).collect();
            if more.is_empty() {
                return admitted;
            }
            admitted.extend(more);
        }
    }

    fn is_carried(&self, at: usize, entries: &[Entry], admitted: &BTreeSet<usize>) -> bool {
        let subject = &entries[at];
        admitted.iter().any(|other| {
            let carrier = &entries[*other];
            let same = carrier.chain.stream == subject.chain.stream && carrier.chain.document == subject.chain.document;
            carrier.deps.contains(&at)
                && same
                && self.user_of(carrier) != self.user_of(subject)
                && self.role_then(carrier) >= Some(Role::Writer)
        })
    }

    fn user_of(&self, entry: &Entry) -> Option<tombolo_protocol::ids::UserId> {
        let head = self.at.get(&entry.members_head)?;
        self.view_at(*head).devices.get(&entry.chain.device).map(|(user, ..)| *user)
    }

    fn role_then(&self, entry: &Entry) -> Option<Role> {
        let head = self.at.get(&entry.members_head).filter(|at| matches!(self.fates[**at], Fate::Valid(_)))?;
        self.user_of(entry).and_then(|user| self.view_at(*head).role(&user))
    }
}
