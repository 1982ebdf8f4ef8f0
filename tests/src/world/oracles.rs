//! What is asked while things happen: does the status tell the truth, do reads go forward, is each change whole.
//!
//! Invariant: an oracle asks devices as an app does; what it holds against them it finds out by itself, in files and logs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo::document::{ReadError, Value};
use tombolo::protocol::ids::{DeviceId, UserId};
use tombolo::protocol::record::Role;
use tombolo::{Error, SetAsideReason, SyncDebt};

use super::fault::Fault;
use super::stage::{NEEDLE, Standing, World};
use crate::invariant::{Invariant, Violation};

/// For so long after a relay lost or restarted something, devices may not know it yet.
const NEWS: Duration = Duration::from_secs(45);
/// The code of [`SetAsideReason::Gap`] in a store.
const GAP: u8 = 4;

impl World {
    /// Starts a device that is down; what it showed before it must show again.
    pub(super) fn start(&mut self, actor: usize) -> Result<(), Violation> {
        if self.actors[actor].standing == Standing::Gone || self.is_up(actor) {
            return Ok(());
        }
        self.hear();
        self.net.start(self.actors[actor].replica);
        self.renew(actor);
        if !self.is_up(actor) {
            return Ok(());
        }
        self.look(actor)
    }

    /// Forgets what was asked of an earlier life of a device.
    pub(super) fn renew(&mut self, actor: usize) {
        self.actors[actor].waits.clear();
        self.actors[actor].sights.clear();
    }

    /// Reads everything on one device, and compares it with what it must show.
    pub(super) fn look(&mut self, actor: usize) -> Result<(), Violation> {
        for document in 0..self.documents.len() {
            let Some(value) = self.value_of(actor, document) else { continue };
            let held = self.judge_shape(actor, document, &value)?;
            if self.actors[actor].standing != Standing::Member {
                continue;
            }
            if let Some(missing) = self.ledger.show(actor, document, held) {
                let what = format!("d{actor} does not show {missing} in document {document} any more");
                return Err(Violation { invariant: Invariant::Causal, what });
            }
        }
        Ok(())
    }

    /// What devices were told that others have, those others have.
    pub(super) fn judge_claims(&mut self) -> Result<(), Violation> {
        for (words, other) in std::mem::take(&mut self.claims) {
            for word in words {
                let reads = other != self.unlucky && self.is_trusted(other);
                let Some(document) = self.ledger.due_in(&word).filter(|_| reads) else { continue };
                let Some(held) = self.words_of(other, document) else { continue };
                let what = || format!("it was told that d{other} has {word}, and it has not");
                Violation::unless(held.contains(&word), Invariant::NothingLost, what)?;
            }
        }
        Ok(())
    }

    /// Each word is a key, as many letters, and one step of the counter: all or nothing, and once.
    pub(super) fn judge_shape(
        &self,
        actor: usize,
        document: usize,
        value: &Value,
    ) -> Result<BTreeSet<String>, Violation> {
        let held = words_in(value);
        let strange = held.iter().find(|word| !self.ledger.knows(document, word));
        let what = || format!("d{actor} shows {strange:?} in document {document}, which nobody wrote there");
        Violation::unless(strange.is_none(), Invariant::Converges, what)?;
        let letters: usize = held.iter().map(String::len).sum();
        let body = match value.as_map().and_then(|map| map.get("body")) {
            Some(Value::Text(text)) => text.len(),
            _ => 0,
        };
        let tally = match value.as_map().and_then(|map| map.get("tally")) {
            Some(Value::Counter(tally)) => *tally,
            _ => 0,
        };
        // What is struck from under a yrs change takes parts of it along (docs/reliability.md).
        let strikes = [Fault::RoleChange, Fault::Removal, Fault::Revoke];
        if self.has_struck(&strikes) || self.may_be_said_twice() {
            return Ok(held);
        }
        let whole = body == letters && tally == i64::try_from(held.len()).unwrap_or(-1);
        let what = || {
            format!(
                "d{actor}, document {document}: {} words, {letters} letters, text {body}, tally {tally}",
                held.len()
            )
        };
        Violation::unless(whole, Invariant::ExactlyOnce, what)?;
        Ok(held)
    }

    fn has_struck(&self, faults: &[Fault]) -> bool {
        faults.iter().any(|fault| self.census.faults.contains_key(fault))
    }

    /// Tells whether a store was put back with work pending that a relay may know as said, while another does not, or
    /// not any more: who catches up with that one says it again (ADR 0015).
    fn may_be_said_twice(&self) -> bool {
        let losses = [Fault::RelayWipe, Fault::LogLost, Fault::RelayRollback];
        let put_back = self.pending_in_copy && self.has_struck(&[Fault::StoreRollback]);
        put_back && (self.relays.len() > 1 || self.has_struck(&losses))
    }

    /// Reads a document; `None` if the device does not have it, or died.
    pub(super) fn value_of(&mut self, actor: usize, document: usize) -> Option<Value> {
        let id = self.documents[document];
        let replica = self.actors[actor].replica;
        let read = self.net.act(replica, |engine, now, tx| engine.read(now, &id, |view| view.to_value(), tx));
        let panicked = matches!(read, Err(Error::Read(ReadError::Panicked)));
        assert!(!panicked, "the library of a document panicked while it was read");
        read.ok()??.ok()
    }

    /// Returns the words that a device shows of a document.
    pub(super) fn words_of(&mut self, actor: usize, document: usize) -> Option<BTreeSet<String>> {
        self.value_of(actor, document).map(|value| words_in(&value))
    }

    pub(super) fn debt_of(&mut self, actor: usize) -> Option<SyncDebt> {
        let workspace = self.net.workspace();
        let replica = self.actors[actor].replica;
        self.net.act(replica, |engine, _, tx| engine.sync_debt(&workspace, tx)).ok()?
    }

    /// Tells whether a device owes nothing, and waits only for entries that neither a relay nor another device has any
    /// more: their author's store was put back, say, and the one log that had them too.
    pub(super) fn waits_in_vain(&self, actor: usize, debt: &SyncDebt) -> bool {
        let only_waits = debt.documents.is_empty() && debt.records == 0 && debt.confirmed;
        if !only_waits || debt.held.keys().any(|reason| *reason != SetAsideReason::Gap) {
            return false;
        }
        let file = self.file_of(actor);
        let waiting =
            "SELECT held.chain, ifnull(max(chain.head_seq), 0) FROM held LEFT JOIN chain ON chain.id = held.chain
            WHERE held.reason = ?1 GROUP BY held.chain";
        let mut query = file.prepare(waiting).expect("the query is good");
        let rows = query.query_map([GAP], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)));
        let waiting: Vec<(Vec<u8>, i64)> = rows.expect("it reads").flatten().collect();
        let relays: Vec<_> = self.relays.iter().filter_map(|relay| self.net.durable_chains(*relay)).flatten().collect();
        let others = (0..self.actors.len()).filter(|other| *other != actor && self.is_up(*other));
        let files: Vec<_> = others.map(|other| self.file_of(other)).collect();
        !waiting.is_empty()
            && waiting.iter().all(|(chain, here)| {
                let has = |head: i64| head > *here;
                let of_file = |file: &rusqlite::Connection| {
                    let head = "SELECT max(head_seq) FROM chain WHERE id = ?1";
                    file.query_row(head, [chain], |row| row.get::<_, Option<i64>>(0)).expect("it reads").unwrap_or(0)
                };
                let at_relay = relays.iter().any(|(id, head)| id == chain && has(head.cast_signed()));
                !at_relay && !files.iter().any(|file| has(of_file(file)))
            })
    }

    pub(super) fn is_settled(&mut self, actor: usize) -> bool {
        self.actors[actor].replica.is_settled(&mut self.net)
    }

    /// Whoever says that nothing is owed has a session, and a relay has all of its chains.
    pub(super) fn judge_status(&mut self, actor: usize) -> Result<(), Violation> {
        let Some(debt) = self.debt_of(actor) else { return Ok(()) };
        if !debt.is_settled() {
            self.census.saw("a status was owing in the midst of it");
            return Ok(());
        }
        self.census.saw("a status was settled in the midst of it");
        let stands = self.net.has_session(self.actors[actor].replica);
        let what = || format!("d{actor} says that all is settled, and has no session");
        Violation::unless(stands, Invariant::StatusIsTrue, what)?;
        if self.net.now().mono < self.moved_at + NEWS || self.mishaps.anybody_lies() {
            return Ok(());
        }
        self.judge_chains(actor)
    }

    fn judge_chains(&self, actor: usize) -> Result<(), Violation> {
        let (pending, own) = self.own_chains(actor);
        let what = || format!("d{actor} says that all is settled, and {pending} changes are pending");
        Violation::unless(pending == 0, Invariant::StatusIsTrue, what)?;
        let mut behind = Vec::new();
        for relay in &self.relays {
            let Some(chains) = self.net.durable_chains(*relay) else { continue };
            let durable: BTreeMap<Vec<u8>, u64> = chains.into_iter().collect();
            let lacks = |(id, head): &&(Vec<u8>, u64)| durable.get(id).is_none_or(|seq| seq < head);
            match own.iter().find(lacks) {
                None => return Ok(()),
                Some((_, head)) => behind.push(format!("{relay:?} lacks a chain's entry {head}")),
            }
        }
        Violation::unless(own.is_empty(), Invariant::StatusIsTrue, || {
            format!("d{actor} says that all is settled: {}", behind.join("; "))
        })
    }

    /// Reads from a device's file what is pending, and the ends of its own chains.
    pub(super) fn own_chains(&self, actor: usize) -> (i64, Vec<(Vec<u8>, u64)>) {
        let file = self.file_of(actor);
        let pending = file.query_row("SELECT count(*) FROM pending", [], |row| row.get(0)).expect("it counts");
        (pending, chains_in(&file, &self.actors[actor].device))
    }

    /// Reads from a device's file how far it holds the chains of another.
    pub(super) fn chains_held(&self, actor: usize, of: usize) -> Vec<(Vec<u8>, u64)> {
        chains_in(&self.file_of(actor), &self.actors[of].device)
    }

    /// Tells whether a device has given up some of its own entries: nobody is sent less than all of those.
    pub(super) fn gave_up(&self, actor: usize) -> bool {
        let own = "SELECT EXISTS (SELECT 1 FROM chain WHERE device = ?1 AND branch_of IS NULL AND floor_seq > 0)";
        let device = self.actors[actor].device.as_bytes().as_slice();
        self.file_of(actor).query_row(own, [device], |row| row.get(0)).expect("it reads")
    }

    /// Opens a copy of a device's file: the store keeps its own to itself.
    pub(super) fn file_of(&self, actor: usize) -> rusqlite::Connection {
        let copy = self.net.copy_file(self.actors[actor].replica);
        rusqlite::Connection::open(copy).expect("a copy of the store opens")
    }

    /// Lists the members with their devices, as the founder knows them.
    pub(super) fn members(&mut self) -> Option<Vec<(UserId, Role, Vec<DeviceId>)>> {
        let workspace = self.net.workspace();
        let founder = self.actors[0].replica;
        let members = self.net.act(founder, |engine, _, _| engine.members(&workspace)).ok()??;
        Some(members.into_iter().map(|member| (member.user, member.role, member.devices)).collect())
    }

    /// Tells whether something that was intended is not stated yet.
    pub(super) fn intends(&mut self, actor: usize) -> bool {
        let workspace = self.net.workspace();
        let replica = self.actors[actor].replica;
        let intents = self.net.act(replica, |engine, _, tx| engine.intents(&workspace, tx));
        matches!(intents, Ok(Some(intents)) if !intents.is_empty())
    }

    /// Notes that a relay lost or restarted something: its devices hear of it in a while.
    pub(super) fn relay_moved(&mut self) {
        self.moved_at = self.net.now().mono;
    }

    /// Says for a person how each device stands.
    pub(super) fn describe_all(&mut self) {
        let mut lines = Vec::new();
        for actor in 0..self.actors.len() {
            let mut line = self.describe(actor);
            let counts: Vec<String> = (0..self.documents.len())
                .map(|document| self.words_of(actor, document).map_or("-".to_owned(), |held| held.len().to_string()))
                .collect();
            line.push_str(&format!("; words {}", counts.join(" ")));
            lines.push(line);
        }
        self.told.extend(lines);
    }

    /// Says what a device answers, for a person.
    pub(super) fn describe(&mut self, actor: usize) -> String {
        let debt = self.debt_of(actor);
        let standing = self.actors[actor].standing;
        let counted = self.actors[actor].replica.all_counted(&self.net);
        let engine = self.actors[actor].replica.engine(&self.net);
        let states: Vec<_> =
            engine.iter().flat_map(|engine| engine.workspaces()).map(|it| (it.state, it.role)).collect();
        format!("d{actor} ({standing:?}) {states:?} {debt:?}, counted {counted:?}")
    }
}

fn chains_in(file: &rusqlite::Connection, device: &DeviceId) -> Vec<(Vec<u8>, u64)> {
    let mut query = file.prepare("SELECT id, head_seq FROM chain WHERE device = ?1").expect("the query is good");
    let rows = query.query_map([device.as_bytes().as_slice()], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    });
    rows.expect("it reads").flatten().collect()
}

/// The keys of a document that are words.
pub(super) fn words_in(value: &Value) -> BTreeSet<String> {
    let map = value.as_map();
    map.into_iter().flat_map(|map| map.keys()).filter(|key| key.starts_with(NEEDLE)).cloned().collect()
}
