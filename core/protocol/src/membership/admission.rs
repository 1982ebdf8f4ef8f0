//! Which entries count: the role at their members_head, the pins of later removals, verdicts of admins.
//!
//! Invariant: the answer is a function of the entry's header and the set of records. What it leaves to
//! the device is the last way in: that an entry which counts, by another user, depends on it.

use super::Membership;
use super::facts::Target;
use crate::ids::{ChainKey, DeviceId, EntryHash, RecordId};
use crate::record::Role;

/// What the records say of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// It counts in its own right.
    Admitted,
    /// It counts only if an entry that counts, by another user, depends on it, or an admin admits it.
    BeyondPin {
        /// The removal that does not reach it, or the void act that its author's role came from.
        by: RecordId,
    },
    /// An admin excluded it.
    Excluded,
    /// Its author's role never allowed it.
    RoleDenied,
    /// The record that it was sealed on is not here, or does not count yet.
    UnknownRecord,
}

/// What is asked about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Its chain.
    pub chain: &'a ChainKey,
    /// Its place in the chain.
    pub seq: u64,
    /// Its name.
    pub hash: &'a EntryHash,
    /// The record it was sealed on.
    pub members_head: &'a RecordId,
}

impl Membership {
    /// Judges an entry by all the records that are here.
    #[must_use]
    pub fn admission(&self, claim: &Claim<'_>) -> Admission {
        let view = self.current();
        let verdict = view.verdict(claim.hash);
        if verdict == Some(false) {
            return Admission::Excluded;
        }
        let Some(then) = self.view_at(claim.members_head) else {
            return Admission::UnknownRecord;
        };
        let Some(device) = then.device(&claim.chain.device).filter(|standing| standing.is_active()) else {
            return Admission::RoleDenied;
        };
        let writes = |role: Option<Role>| role.is_some_and(|role| role.may_write(claim.chain.stream));
        if !writes(then.role(&device.user)) {
            return Admission::RoleDenied;
        }
        if verdict == Some(true) {
            return Admission::Admitted;
        }
        if let Some(by) = then.decided_by(&device.user).filter(|record| view.is_void(record)) {
            return Admission::BeyondPin { by };
        }
        for target in [Target::User(device.user), Target::Device(claim.chain.device)] {
            let removals: Vec<(RecordId, Option<Role>)> = view.removals(target).collect();
            let strikes = |removal: &&(RecordId, Option<Role>)| !writes(removal.1) && !self.adds_pins(&removal.0);
            for (removal, _) in removals.iter().filter(strikes) {
                if !self.descends(claim.members_head, removal) && self.is_beyond(claim, removal, &removals) {
                    return Admission::BeyondPin { by: *removal };
                }
            }
        }
        Admission::Admitted
    }

    /// Tells whether the pins of a removal, of those concurrent with it and of those added to it later
    /// speak for an entry's chain, and all end before the entry.
    fn is_beyond(&self, claim: &Claim<'_>, removal: &RecordId, all: &[(RecordId, Option<Role>)]) -> bool {
        let speaks = |other: &RecordId| {
            let later = self.descends(other, removal);
            other == removal || (later && self.adds_pins(other)) || (!later && !self.descends(removal, other))
        };
        let limits = all.iter().map(|(record, _)| record).filter(|record| speaks(record));
        let spoken: Vec<bool> = limits.filter_map(|record| self.is_within(claim, record)).collect();
        !spoken.is_empty() && !spoken.contains(&true)
    }

    /// Tells whether a removal's pins reach an entry; `None` if they do not speak for its chain.
    fn is_within(&self, claim: &Claim<'_>, removal: &RecordId) -> Option<bool> {
        let Some(pins) = self.record(removal).and_then(|record| record.body().pins()) else {
            return Some(false);
        };
        let limit = pins.limit(claim.chain)?;
        let at_pin = |hash: &EntryHash| pins.hash_at(claim.chain) == Some(*hash);
        Some(claim.seq < limit || claim.seq == limit && at_pin(claim.hash))
    }

    fn adds_pins(&self, record: &RecordId) -> bool {
        self.facts_of(record).is_some_and(|facts| !facts.adds_pins_to.is_empty())
    }

    /// Tells whether an entry counts in its own right, and with it whatever is below it in its chain and was
    /// not judged by an admin.
    #[must_use]
    pub fn admits_up_to(&self, claim: &Claim<'_>) -> bool {
        let view = self.current();
        if view.verdict(claim.hash).is_some() || self.admission(claim) != Admission::Admitted || view.has_void() {
            return false;
        }
        let user = view.device(&claim.chain.device).map(|standing| Target::User(standing.user));
        let mut targets = user.into_iter().chain([Target::Device(claim.chain.device)]);
        // What was written before a removal is not carried by what was written after it.
        !targets.any(|target| view.removals(target).any(|(removal, _)| self.descends(claim.members_head, &removal)))
    }

    /// Tells whether anything but a verdict may keep out an entry of a device: if not, every entry whose
    /// author had the role counts.
    #[must_use]
    pub fn strikes_device(&self, device: &DeviceId) -> bool {
        self.current().strikes_device(device)
    }

    /// Returns whether removals could keep any entry of a view's members out: if none ever counted,
    /// every entry whose author had the role counts.
    #[must_use]
    pub fn strikes_entries(&self) -> bool {
        self.current().keeps_entries_out()
    }
}
