//! How nets, relays, clocks and disks fail.
//!
//! Invariant: what a mishap takes from a store on purpose is excused in the ledger, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_testkit::mishap::Mishaps;

use super::fault::Fault;
use super::script::Planned;
use super::stage::{Standing, World};
use crate::invariant::Violation;
use crate::station::RelayNode;

impl World {
    /// Lets one class strike.
    pub(super) fn strike(&mut self, planned: &Planned, fault: Fault) -> Result<(), Violation> {
        let struck = match fault.place() {
            "network" => self.weather(planned, fault),
            "relay" => self.trouble_relay(planned, fault),
            "device" => self.trouble_device(planned, fault)?,
            "clock" => self.trouble_clock(planned, fault),
            "members" => self.harm(planned, fault),
            _ => self.change_people(planned, fault)?,
        };
        if struck {
            self.census.struck(fault);
            self.told.push(format!("{:>14} it struck", ""));
        }
        Ok(())
    }

    fn relay_of(&self, planned: &Planned) -> RelayNode {
        Self::pick(&self.relays, planned.how >> 8).unwrap_or(RelayNode::FIRST)
    }

    fn weather(&mut self, planned: &Planned, fault: Fault) -> bool {
        let Some(actor) = Self::pick(&self.present(), planned.who) else { return false };
        let (replica, relay) = (self.actors[actor].replica, self.relay_of(planned));
        self.mishaps.weather(&mut self.net, fault, (replica, relay), planned.how);
        true
    }

    fn trouble_relay(&mut self, planned: &Planned, fault: Fault) -> bool {
        let relay = self.relay_of(planned);
        self.relay_moved();
        self.mishaps.trouble_relay(&mut self.net, fault, relay, planned.how)
    }

    fn trouble_device(&mut self, planned: &Planned, fault: Fault) -> Result<bool, Violation> {
        let present = self.present();
        let Some(actor) = Self::pick(&present, planned.who) else { return Ok(false) };
        let saw = match fault {
            Fault::CrashAtCommit if planned.how.is_multiple_of(2) => Some("a device died before its commit"),
            Fault::CrashAtCommit => Some("a device died after its commit"),
            Fault::PowerCut if !planned.how.is_multiple_of(3) => Some("a power cut fell in the midst of a write"),
            Fault::DiskError if Mishaps::fills_the_disk(planned.how) => Some("a disk was full"),
            Fault::Crash | Fault::PowerCut | Fault::DiskError => None,
            _ => return self.trouble_unlucky(planned, fault),
        };
        saw.into_iter().for_each(|saw| self.census.saw(saw));
        if Mishaps::trouble_process(&mut self.net, fault, self.actors[actor].replica, planned.how) {
            self.start(actor)?;
        }
        Ok(true)
    }

    /// What takes a store: it befalls one actor alone, and never the founder.
    fn trouble_unlucky(&mut self, planned: &Planned, fault: Fault) -> Result<bool, Violation> {
        let (actor, founder) = (self.unlucky, self.actors[0].replica);
        let here = self.actors[actor].standing == Standing::Member && self.is_up(actor);
        // What is pending in a copy that runs beside its original is said twice (ADR 0015).
        let twice = fault == Fault::Clone && self.own_chains(actor).0 > 0;
        if !here || !founder.is_up(&self.net) || twice {
            return Ok(false);
        }
        let replica = self.actors[actor].replica;
        match fault {
            Fault::StoreRollback if !self.backed_up => {
                replica.back_up(&self.net);
                self.backed_up = true;
                self.pending_in_copy = self.own_chains(actor).0 > 0;
                return Ok(false);
            }
            Fault::StoreRollback => {
                self.excuse_unless_held(actor, &[0], false);
                self.hear();
                self.ledger.forget_shown(actor);
                replica.restore(&mut self.net, planned.how.is_multiple_of(2));
                self.renew(actor);
            }
            Fault::Clone => {
                let copy = self.net.copy_store(replica, &format!("copy{}", self.actors.len()));
                self.net.run_for(Duration::from_secs(planned.how % 90));
                copy.kill(&mut self.net);
            }
            _ => {
                self.excuse_unless_held(actor, &[0], self.relays_keep);
                replica.kill(&mut self.net);
                self.actors[actor].standing = Standing::Gone;
            }
        }
        Ok(true)
    }

    /// From now on an actor's words may be missing, but what all of these hold; with `relays` also what relays signed for.
    pub(super) fn excuse_unless_held(&mut self, author: usize, holders: &[usize], relays: bool) {
        let mut held: Option<BTreeSet<String>> = None;
        for holder in holders {
            let mut its = BTreeSet::new();
            if self.is_up(*holder) {
                (0..self.documents.len()).for_each(|at| its.extend(self.words_of(*holder, at).unwrap_or_default()));
            }
            held = Some(held.map_or(its.clone(), |held| held.intersection(&its).cloned().collect()));
        }
        let held = held.unwrap_or_default();
        self.ledger.excuse(author, |name, word| held.contains(name) || (relays && word.at_relay));
    }

    fn trouble_clock(&mut self, planned: &Planned, fault: Fault) -> bool {
        let Some(actor) = Self::pick(&self.present(), planned.who) else { return false };
        if fault == Fault::ClockJump {
            Mishaps::trouble_clock(&mut self.net, self.actors[actor].replica, planned.how);
            self.census.saw("a clock was far off");
            return true;
        }
        self.months_pass(planned, actor);
        true
    }

    /// Some are off, the others are in reach of each other, and time passes.
    fn months_pass(&mut self, planned: &Planned, actor: usize) {
        let off = |number: &usize| self.actors[*number].standing != Standing::Member || *number == actor && actor > 0;
        let away: Vec<_> = (0..self.actors.len()).filter(off).map(|number| self.actors[number].replica).collect();
        let all: Vec<_> = self.actors.iter().map(|actor| actor.replica).collect();
        self.mishaps.months_pass(&mut self.net, &away, &all, planned.how);
        self.census.saw("months went by");
    }

    /// Ends what disturbs the net and the relays; devices that are down stay down.
    pub(super) fn calm(&mut self) {
        self.mishaps.calm(&mut self.net);
    }

    /// Mends one thing, or everything.
    pub(super) fn mend(&mut self, planned: &Planned) -> Result<(), Violation> {
        match planned.how % 4 {
            0 => self.calm(),
            1 => self.net.heal(),
            _ => self.net.start_relays(),
        }
        let down: Vec<usize> = (0..self.actors.len()).filter(|actor| !self.is_up(*actor)).collect();
        match Self::pick(&down, planned.who) {
            Some(actor) => self.start(actor),
            None => Ok(()),
        }
    }
}
