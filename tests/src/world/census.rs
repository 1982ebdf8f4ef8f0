//! What has happened, so that a run can show that it proved something.
//!
//! Invariant: a count is of what was seen, never of what was planned.

use std::collections::BTreeMap;

use tombolo::SetAsideReason;
use tombolo::engine::Event;
use tombolo::protocol::entry::{Entry, EntryKind};
use tombolo::protocol::item::LogItem;

use super::fault::Fault;
use super::script::Scenario;

/// States that must come about somewhere in a run of enough seeds.
const SOMETIMES: &[&str] = &[
    "a device died before its commit",
    "a device died after its commit",
    "a power cut fell in the midst of a write",
    "a disk was full",
    "a relay was replaced",
    "a relay admitted a rollback",
    "a log contradicted itself",
    "something came twice",
    "something came before its predecessor",
    "an act waited for a session",
    "a guest became a member",
    "a device was linked",
    "a linked device was judged",
    "the keys of a linked device were hidden",
    "the secret of an epoch was hidden",
    "a member was removed",
    "a device was given up",
    "a clone was suspected",
    "poison was set aside",
    "an entry under an old key was set aside",
    "a fork was set aside",
    "an entry beyond a pin was set aside",
    "an edit was refused for its role",
    "a status was settled in the midst of it",
    "a status was owing in the midst of it",
    "a word was acknowledged by a relay",
    "a device was told that another has its word",
    "a relay alone gave everything back",
    "every relay was wiped at the end",
    "a clock was far off",
    "months went by",
];

/// What must come about as well where devices publish snapshots.
const OF_SNAPSHOTS: &[&str] = &[
    "a snapshot was published",
    "a snapshot was vouched for",
    "a relay deleted what a snapshot stands for",
    "a relay took from a device what a snapshot stands for",
    "a device gave up what a snapshot stands for",
];

/// What must come about as well where devices ask for some documents.
const OF_PARTIAL: &[&str] = &["a device asked for some documents only", "a device asked for more documents"];

/// What comes about in one history of a hundred: it is counted, and a run of two hundred may well go without.
const RARE: &[&str] = &["a relay took from a device what a snapshot stands for"];

/// Returns the states that must come about somewhere in a run of enough seeds of a scenario that has all classes.
pub fn states_of(scenario: Scenario) -> impl Iterator<Item = &'static str> {
    let besides = match scenario {
        Scenario::Snapshots => OF_SNAPSHOTS,
        Scenario::Partial => OF_PARTIAL,
        _ => &[],
    };
    SOMETIMES.iter().chain(besides).copied()
}

/// Counts of one history or of many.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// How often each class struck.
    pub faults: BTreeMap<Fault, u64>,
    /// How often each state came about.
    pub sometimes: BTreeMap<&'static str, u64>,
}

impl Census {
    /// Counts a class that struck.
    pub fn struck(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Counts a state.
    pub fn saw(&mut self, what: &'static str) {
        *self.sometimes.entry(what).or_default() += 1;
    }

    /// Counts a state so many times.
    pub fn saw_times(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.sometimes.entry(what).or_default() += times;
        }
    }

    /// Adds the counts of another history.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (what, count) in &other.sometimes {
            *self.sometimes.entry(what).or_default() += count;
        }
    }

    /// Returns the classes and states that never came about in a scenario that has all classes.
    #[must_use]
    pub fn missing(&self, scenario: Scenario) -> Vec<&'static str> {
        let faults = Fault::ALL.iter().filter(|fault| !self.faults.contains_key(fault)).map(|fault| fault.name());
        let lacks = |what: &&str| !RARE.contains(what) && !self.sometimes.contains_key(what);
        faults.chain(states_of(scenario).filter(lacks)).collect()
    }

    /// Counts what a log holds of snapshots.
    pub(crate) fn take_log(&mut self, items: &[Vec<u8>]) {
        if items.iter().any(Vec::is_empty) {
            self.saw("a relay deleted what a snapshot stands for");
        }
        for item in items {
            match LogItem::decode(item) {
                Ok(LogItem::Attest(_)) => self.saw("a snapshot was vouched for"),
                Ok(LogItem::Entry(bytes)) if is_snapshot(bytes) => self.saw("a snapshot was published"),
                _ => {}
            }
        }
    }

    /// Counts what a device told its app.
    pub(crate) fn take_event(&mut self, event: &Event) {
        match event {
            Event::RelayReplaced { .. } => self.saw("a relay was replaced"),
            Event::RelayRollback { .. } => self.saw("a relay admitted a rollback"),
            Event::RelayFork { .. } => self.saw("a log contradicted itself"),
            Event::CloneSuspected { .. } => self.saw("a clone was suspected"),
            Event::DeviceLinked { .. } => self.saw("a device was linked"),
            _ => {}
        }
    }

    /// Counts what a device has met in all its lives.
    pub(crate) fn take_counted(&mut self, counted: impl Fn(SetAsideReason) -> u64) {
        self.saw_times("something came twice", counted(SetAsideReason::Duplicate));
        self.saw_times("something came before its predecessor", counted(SetAsideReason::Gap));
        self.saw_times("poison was set aside", counted(SetAsideReason::Poison));
        self.saw_times("an entry under an old key was set aside", counted(SetAsideReason::EpochMismatch));
        self.saw_times("a fork was set aside", counted(SetAsideReason::Fork));
        self.saw_times("an entry beyond a pin was set aside", counted(SetAsideReason::BeyondPin));
    }
}

fn is_snapshot(bytes: &[u8]) -> bool {
    Entry::decode(bytes).is_ok_and(|entry| entry.header().kind == EntryKind::Snapshot)
}
