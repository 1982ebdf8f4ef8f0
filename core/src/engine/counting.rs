//! Which entries of a document count, where members were removed or admins have judged entries.
//!
//! An entry beyond a removal's pins counts all the same if an entry that counts, by another device, in the
//! same stream, depends on it: the least fixed point over the dependencies that the entries name. The very entry that
//! is named must be here, as its hash says: who is removed could else let in, in advance, whatever another who is
//! removed, or another device of the same user, goes on to write. Work of this device that is not sealed
//! yet counts as depending on all that counted when it was made. Of a chain with two branches one is kept out before
//! that (`forks.rs`).
//!
//! Invariant: the outcome is a function of the document's entries and the records, but for that last rule,
//! which holds until the work is sealed and says so itself. Where nothing was ever removed or judged, nothing
//! here costs anything.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crypto::Body;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{ChainId, DeviceId, EntryHash, Stream};
use tombolo_protocol::membership::{Admission, Claim};

use super::covered::admit_covered;
use super::gather::Which;
use super::{Engine, Now};
use crate::document::Actor;
use crate::store::{DocumentRow, EntryState, StoreError, Tx};
use crate::sync::reason::SetAsideReason;
use crate::workspace::Workspace;

/// An entry of a document, opened.
pub(super) struct OpenedEntry {
    pub(super) arrival: i64,
    pub(super) chain: i64,
    pub(super) state: EntryState,
    pub(super) entry: Entry,
    pub(super) actor: Option<Actor>,
    pub(super) body: Body,
}

impl OpenedEntry {
    fn author(&self) -> DeviceId {
        self.entry.header().chain.device
    }
}

/// What does not count of a document's entries, so far.
#[derive(Default)]
pub(crate) struct Struck {
    entries: BTreeMap<EntryHash, (ChainId, SetAsideReason)>,
    /// Up to where entries that were opened build on each chain; unknown if some came that were not opened.
    named: Option<BTreeMap<ChainId, u64>>,
    /// Whether something counts only because work that is not sealed yet builds on it.
    leans: bool,
}

impl Struck {
    pub(crate) fn insert(&mut self, entry: EntryHash, chain: ChainId, reason: SetAsideReason) {
        self.entries.insert(entry, (chain, reason));
    }

    pub(crate) fn forget(&mut self, entry: &EntryHash) {
        self.entries.remove(entry);
    }

    fn has(&self, chain: &ChainId) -> bool {
        self.entries.values().any(|(struck, _)| struck == chain)
    }

    fn is_named(&self, chain: &ChainId, seq: u64) -> bool {
        self.named.as_ref().is_none_or(|named| named.get(chain).is_some_and(|up_to| *up_to >= seq))
    }
}

/// What the records and the other entries say of one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Counts,
    /// It counts if other work that counts builds on it.
    Beyond,
    Excluded,
    /// It is of the branch of its chain that does not stay.
    Forked,
}

/// Returns what the records are asked about an entry.
pub(crate) fn claim<'a>(entry: &'a Entry, hash: &'a EntryHash) -> Claim<'a> {
    let header = entry.header();
    Claim { chain: &header.chain, seq: header.seq, hash, members_head: &header.members_head }
}

impl Engine {
    /// Tells of each entry whether it counts, and notes what changes by that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn counting(
        &mut self,
        now: Now,
        row: &DocumentRow,
        opened: &[OpenedEntry],
        tx: &Tx<'_>,
    ) -> Result<Vec<Verdict>, StoreError> {
        let own = self.device.id();
        let Some(held) = self.workspaces.get_mut(&row.workspace) else {
            return Ok(vec![Verdict::Counts; opened.len()]);
        };
        let is_forked = held.branches.values().any(|branch| branch.document == row.row);
        if !held.membership.strikes_entries() && !held.struck.contains_key(&row.row) && !is_forked {
            return Ok(vec![Verdict::Counts; opened.len()]);
        }
        let mut verdicts = held.verdicts(opened);
        let covered = held.covered(opened);
        let admits = admit_covered(&covered, opened, &mut verdicts);
        held.note_by_cover(row.row, admits || (is_forked && !covered.is_empty()));
        let mut leans = is_forked && held.choose_branches(row.row, opened, &covered, &mut verdicts, tx)?;
        leans |= held.lean(row.row, &own, opened, &mut verdicts);
        held.admit_through_others(opened, &mut verdicts);
        let struck = held.struck.entry(row.row).or_default();
        struck.leans = leans;
        struck.named = Some(named(opened));
        for (one, verdict) in opened.iter().zip(&verdicts) {
            match verdict {
                Verdict::Counts => self.let_count(row, one),
                Verdict::Beyond => self.strike(now, row, (one.arrival, &one.entry), SetAsideReason::BeyondPin),
                Verdict::Excluded => self.strike(now, row, (one.arrival, &one.entry), SetAsideReason::Excluded),
                Verdict::Forked => self.strike(now, row, (one.arrival, &one.entry), SetAsideReason::Fork),
            }
        }
        if let Some(held) = self.workspaces.get_mut(&row.workspace) {
            held.struck.retain(|document, struck| *document != row.row || struck.leans || !struck.entries.is_empty());
        }
        Ok(verdicts)
    }

    fn let_count(&mut self, row: &DocumentRow, one: &OpenedEntry) {
        let struck = self.workspaces.get_mut(&row.workspace).and_then(|held| held.struck.get_mut(&row.row));
        let hash = one.entry.hash();
        let was_struck = struck.is_some_and(|struck| struck.entries.remove(&hash).is_some());
        if was_struck || one.state == EntryState::Beyond {
            self.findings.note_counts(one.arrival, row.workspace, hash);
        }
    }

    /// Keeps an entry out of its document until the records or other work say otherwise; says so once.
    pub(crate) fn strike(&mut self, now: Now, row: &DocumentRow, of: (i64, &Entry), reason: SetAsideReason) {
        let (arrival, entry) = of;
        let Some(held) = self.workspaces.get_mut(&row.workspace) else {
            return;
        };
        let (hash, chain) = (entry.hash(), entry.header().chain.id());
        let struck = held.struck.entry(row.row).or_default();
        if struck.entries.insert(hash, (chain, reason)).is_some_and(|before| before.1 == reason) {
            return;
        }
        self.note_struck(now, row, arrival, entry, reason);
    }

    /// Notes that an entry came that a removal keeps out already; what is here may build on it.
    pub(crate) fn came_struck(&mut self, now: Now, row: &DocumentRow, of: (i64, &Entry), reason: SetAsideReason) {
        self.strike(now, row, of, reason);
        let header = of.1.header();
        let struck = self.workspaces.get(&row.workspace).and_then(|held| held.struck.get(&row.row));
        let may_be_covered = self.workspaces.get(&row.workspace).is_some_and(|held| !held.attests.is_empty());
        if may_be_covered || struck.is_some_and(|struck| struck.is_named(&header.chain.id(), header.seq)) {
            self.again.recounts.insert(row.row);
        }
    }

    /// Notes that an entry came that counts; it may build on what does not so far. `body` is `None` if it was
    /// not opened.
    pub(crate) fn came_counting(&mut self, row: &DocumentRow, body: Option<&Body>) {
        let Some(struck) = self.workspaces.get_mut(&row.workspace).and_then(|held| held.struck.get_mut(&row.row))
        else {
            return;
        };
        let deps = body.map(|body| body.deps.as_slice());
        if deps.is_none_or(|deps| deps.iter().any(|dep| struck.has(&dep.chain))) {
            struck.named = None;
            self.again.recounts.insert(row.row);
        } else if let Some(named) = &mut struck.named {
            name(named, deps.unwrap_or_default());
        }
    }

    /// Notes that work was sealed: what counted only because of that work must be named by it now.
    pub(crate) fn sealed_on(&mut self, row: &DocumentRow, names: impl Iterator<Item = ChainId>) {
        let held = self.workspaces.get(&row.workspace);
        let Some(struck) = held.and_then(|held| held.struck.get(&row.row)) else {
            return;
        };
        let mut names = names;
        if struck.leans || names.any(|chain| struck.has(&chain)) {
            self.again.recounts.insert(row.row);
        }
    }

    /// Counts again what may count or not as members were removed, entries judged, and work has come.
    pub(super) fn recount_due(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        for workspace in std::mem::take(&mut self.again.rejudged) {
            self.tell_members(workspace);
            self.find_recounts(workspace, tx)?;
        }
        let rights = std::mem::take(&mut self.again.rights);
        for document in &rights {
            if let Some(row) = tx.document_by_row(*document)?.filter(|row| self.documents.is_open(row.row)) {
                self.reopen(now, &row, tx)?;
            }
        }
        // Whatever counted only because of that work may count no more.
        self.again.recounts.extend(rights);
        for document in std::mem::take(&mut self.again.recounts) {
            let Some(row) = tx.document_by_row(document)? else {
                continue;
            };
            let about = match self.about_of(&row, tx) {
                Ok(about) => about,
                Err(crate::error::Error::Store(error)) => return Err(error),
                // Nothing of it is shown; it is counted when it is opened.
                Err(_) => continue,
            };
            let before = self.struck_of(&row);
            self.gather(now, &row, &about, Which::All, tx)?;
            if self.documents.is_open(document) && self.struck_of(&row) != before {
                self.reopen(now, &row, tx)?;
            }
        }
        Ok(())
    }

    fn struck_of(&self, row: &DocumentRow) -> Vec<EntryHash> {
        let struck = self.workspaces.get(&row.workspace).and_then(|held| held.struck.get(&row.row));
        struck.map(|struck| struck.entries.keys().copied().collect()).unwrap_or_default()
    }

    /// Finds the documents of a workspace in which other entries may count than before.
    fn find_recounts(&mut self, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get_mut(&workspace) else {
            return Ok(());
        };
        let recount = held.view.recount_since(&held.counted);
        held.counted = held.view.clone();
        // Another number of words may be needed now, and others count.
        self.again.recounts.extend(&held.by_cover);
        if recount.devices.is_empty() && recount.entries.is_empty() {
            return Ok(());
        }
        self.again.recounts.extend(held.struck.keys());
        for device in &recount.devices {
            for (chain, document, head_seq) in tx.chains_of_device(workspace, device)? {
                if !self.again.recounts.contains(&document) && held.keeps_out(chain, head_seq, tx)? {
                    self.again.recounts.insert(document);
                }
            }
        }
        let known: BTreeSet<EntryHash> =
            held.struck.values().flat_map(|struck| struck.entries.keys().copied()).collect();
        let others: BTreeSet<EntryHash> = recount.entries.difference(&known).copied().collect();
        if !others.is_empty() {
            self.again.recounts.extend(tx.documents_of(workspace, &others)?);
        }
        Ok(())
    }
}

/// How many entries of a chain are read at once to see which of them a removal keeps out.
const PAGE_ENTRIES: usize = 256;

impl Workspace {
    /// Tells whether the records keep out some entry of a chain.
    fn keeps_out(&self, chain: i64, head_seq: u64, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if let Some(head) = tx.entry(chain, head_seq)?
            && self.membership.admits_up_to(&claim(&head, &head.hash()))
        {
            return Ok(false);
        }
        let mut next = self.floor_of(chain) + 1;
        loop {
            let run = tx.entries_of_chain(chain, next, PAGE_ENTRIES)?;
            let is_out = |entry: &Entry| self.verdict(entry) != Verdict::Counts;
            if run.entries.iter().any(is_out) {
                return Ok(true);
            }
            next += run.entries.len() as u64;
            // What the disk has changed is judged once it is whole again.
            if run.entries.len() < PAGE_ENTRIES {
                return Ok(false);
            }
        }
    }

    fn verdict(&self, entry: &Entry) -> Verdict {
        match self.membership.admission(&claim(entry, &entry.hash())) {
            Admission::BeyondPin { .. } => Verdict::Beyond,
            Admission::Excluded => Verdict::Excluded,
            _ => Verdict::Counts,
        }
    }

    fn verdicts(&self, opened: &[OpenedEntry]) -> Vec<Verdict> {
        let mut struck: BTreeMap<DeviceId, bool> = BTreeMap::new();
        let judged = self.view.has_verdicts();
        let verdict = |one: &OpenedEntry| {
            let membership = &self.membership;
            let strikes = struck.entry(one.author()).or_insert_with_key(|device| membership.strikes_device(device));
            if *strikes || judged { self.verdict(&one.entry) } else { Verdict::Counts }
        };
        opened.iter().map(verdict).collect()
    }

    /// Lets entries of others count that this device's unsealed work was made on; tells whether there are any.
    fn lean(&self, document: i64, own: &DeviceId, opened: &[OpenedEntry], verdicts: &mut [Verdict]) -> bool {
        if !self.unsealed.contains(&(document, Stream::CONTENT)) || self.keeps_own_aside() {
            return false;
        }
        let mut leans = false;
        for (one, verdict) in opened.iter().zip(verdicts) {
            let seen = one.state != EntryState::Beyond && one.author() != *own;
            if *verdict == Verdict::Beyond && seen {
                (*verdict, leans) = (Verdict::Counts, true);
            }
        }
        leans
    }

    /// Lets entries count that others, who count, have built on.
    fn admit_through_others(&self, opened: &[OpenedEntry], verdicts: &mut [Verdict]) {
        if !verdicts.contains(&Verdict::Beyond) {
            return;
        }
        let mut by_chain: BTreeMap<ChainId, Vec<usize>> = BTreeMap::new();
        let stays = |at: &usize| verdicts.get(*at) != Some(&Verdict::Forked);
        for (at, one) in opened.iter().enumerate().filter(|(at, _)| stays(at)) {
            by_chain.entry(one.entry.header().chain.id()).or_default().push(at);
        }
        let mut open: Vec<usize> = (0..opened.len()).filter(|at| verdicts.get(*at) == Some(&Verdict::Counts)).collect();
        while let Some(one) = open.pop().and_then(|at| opened.get(at)) {
            for dep in &one.body.deps {
                let below = by_chain.get(&dep.chain).map(Vec::as_slice).unwrap_or_default();
                let below = || below.iter().filter_map(|at| opened.get(*at).map(|other| (*at, &other.entry)));
                let is_named = |(_, other): (usize, &Entry)| {
                    let header = other.header();
                    let is_of_another = header.chain.device != one.author();
                    is_of_another && header.seq == dep.seq && other.hash().as_bytes().starts_with(&dep.hash_prefix)
                };
                if !below().any(is_named) {
                    continue;
                }
                for (at, _) in below().filter(|(_, other)| other.header().seq <= dep.seq) {
                    if let Some(verdict) = verdicts.get_mut(at).filter(|verdict| **verdict == Verdict::Beyond) {
                        *verdict = Verdict::Counts;
                        open.push(at);
                    }
                }
            }
        }
    }
}

fn named(opened: &[OpenedEntry]) -> BTreeMap<ChainId, u64> {
    let mut named = BTreeMap::new();
    opened.iter().for_each(|one| name(&mut named, &one.body.deps));
    named
}

fn name(named: &mut BTreeMap<ChainId, u64>, deps: &[tombolo_crypto::Dep]) {
    for dep in deps {
        let up_to = named.entry(dep.chain).or_insert(0);
        *up_to = dep.seq.max(*up_to);
    }
}
