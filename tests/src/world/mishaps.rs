//! How nets, relays, clocks and disks fail.
//!
//! Invariant: what a mishap takes from a store on purpose is excused in the ledger, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fault::Fault;
use super::script::Planned;
use super::stage::{Standing, World};
use crate::invariant::Violation;
use crate::lies;
use crate::net::DiskFault;
use crate::replica::CrashAt;
use crate::station::RelayNode;

const DAY_MS: i64 = 86_400_000;
const MINUTE: Duration = Duration::from_secs(60);

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
        match fault {
            Fault::Latency => {
                let slow = (Duration::from_millis(200), Duration::from_secs(4));
                let quick = (Duration::from_micros(10), Duration::from_micros(50));
                self.net.set_latency(Some(if planned.how.is_multiple_of(3) { quick } else { slow }));
            }
            Fault::Reset => self.net.reset(replica),
            Fault::Partition if planned.how.is_multiple_of(3) => self.net.cut_from(replica, relay),
            Fault::Partition => self.net.cut(replica),
            Fault::OneWay => self.net.half_open(replica, relay, planned.how.is_multiple_of(2)),
            _ => {
                self.net.stall(replica, relay, true);
                self.stalled.insert((actor, relay));
            }
        }
        true
    }

    fn trouble_relay(&mut self, planned: &Planned, fault: Fault) -> bool {
        let relay = self.relay_of(planned);
        self.relay_moved();
        match fault {
            Fault::Repeat => self.lie(relay, lies::repeat_items(3)),
            Fault::Reorder => self.lie(relay, lies::reorder_items()),
            Fault::Lie => {
                let lie = match planned.how % 7 {
                    0 => lies::withhold("Received"),
                    1 => lies::withhold("Items"),
                    2 => lies::drop_items(),
                    3 => lies::truncate(),
                    4 => lies::flip_bits(20),
                    5 => lies::break_receipts(),
                    _ => lies::old_heads(),
                };
                self.lie(relay, lie);
            }
            Fault::RelayRestart if planned.how.is_multiple_of(3) => self.net.stop_relay(relay),
            Fault::RelayRestart => self.net.restart_relay(relay),
            Fault::RelayWipe => self.net.wipe_relay(relay),
            Fault::LogLost => self.net.lose_log(relay),
            _ if planned.how.is_multiple_of(3) || relay != RelayNode::FIRST => {
                self.net.back_up_relay(relay);
                return false;
            }
            _ => self.net.roll_back_relay(relay),
        }
        true
    }

    fn lie(&mut self, relay: RelayNode, lie: lies::Lie) {
        self.net.lie(relay, lie);
        self.lying.insert(relay);
    }

    fn trouble_device(&mut self, planned: &Planned, fault: Fault) -> Result<bool, Violation> {
        let present = self.present();
        let Some(actor) = Self::pick(&present, planned.who) else { return Ok(false) };
        let replica = self.actors[actor].replica;
        match fault {
            Fault::Crash => {
                replica.kill(&mut self.net);
                if !planned.how.is_multiple_of(3) {
                    self.start(actor)?;
                }
            }
            Fault::CrashAtCommit => {
                let at = if planned.how.is_multiple_of(2) { CrashAt::BeforeCommit } else { CrashAt::AfterCommit };
                replica.crash_at_commit(&mut self.net, 1 + planned.how % 7, at);
                let saw = if at == CrashAt::BeforeCommit {
                    "a device died before its commit"
                } else {
                    "a device died after its commit"
                };
                self.census.saw(saw);
            }
            Fault::PowerCut if planned.how.is_multiple_of(3) => {
                self.net.fail(replica, DiskFault::PowerCut { seed: planned.how });
                self.start(actor)?;
            }
            Fault::PowerCut => {
                let operations = 1 + planned.how % 40;
                self.net.fail(replica, DiskFault::CutAfter { operations, seed: planned.how });
                self.census.saw("a power cut fell in the midst of a write");
            }
            Fault::DiskError if planned.how.is_multiple_of(2) => {
                self.net.fail(replica, DiskFault::WriteFails { others: planned.how % 30 });
            }
            Fault::DiskError => self.net.fail(replica, DiskFault::SyncFails { others: planned.how % 10 }),
            _ => return self.trouble_unlucky(planned, fault),
        }
        Ok(true)
    }

    /// What takes a store: it befalls one actor alone, and never the founder.
    fn trouble_unlucky(&mut self, planned: &Planned, fault: Fault) -> Result<bool, Violation> {
        let (actor, founder) = (self.unlucky, self.actors[0].replica);
        let here = self.actors[actor].standing == Standing::Member && self.is_up(actor);
        // A copy with something pending is a finding that is still open (docs/reliability.md).
        let copies = fault == Fault::Clone || !self.backed_up && fault == Fault::StoreRollback;
        if !here || !founder.is_up(&self.net) || copies && self.own_chains(actor).0 > 0 {
            return Ok(false);
        }
        let replica = self.actors[actor].replica;
        match fault {
            Fault::StoreRollback if !self.backed_up => {
                replica.back_up(&self.net);
                self.backed_up = true;
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
            let by = i64::try_from(planned.how % 180).unwrap_or(0) - 90;
            let skew_ms = match planned.how % 6 {
                0 => -crate::net::WALL_MS,
                1 => 17 * 365 * DAY_MS,
                2 => 0,
                _ => by * DAY_MS,
            };
            self.net.set_clock(self.actors[actor].replica, skew_ms);
            self.census.saw("a clock was far off");
            return true;
        }
        self.months_pass(planned, actor);
        true
    }

    /// Some are off, the others are in reach of each other, and time passes.
    fn months_pass(&mut self, planned: &Planned, actor: usize) {
        self.calm();
        for number in 0..self.actors.len() {
            if self.actors[number].standing != Standing::Member || number == actor && actor > 0 {
                self.actors[number].replica.kill(&mut self.net);
            }
        }
        self.net.run_for(10 * MINUTE);
        // Who does not come to rest in peace would dial every minute for months.
        for number in 0..self.actors.len() {
            if !self.is_settled(number) {
                self.actors[number].replica.kill(&mut self.net);
            }
        }
        self.net.run_for(Duration::from_secs(86_400) * u32::try_from(10 + planned.how % 81).unwrap_or(10));
        self.census.saw("months went by");
    }

    /// Ends what disturbs the net and the relays; devices that are down stay down.
    pub(super) fn calm(&mut self) {
        self.net.set_latency(None);
        for (actor, relay) in std::mem::take(&mut self.stalled) {
            self.net.stall(self.actors[actor].replica, relay, false);
        }
        for relay in std::mem::take(&mut self.lying) {
            self.net.honest(relay);
        }
        for relay in self.relays.clone() {
            self.net.start_relay(relay);
        }
        self.net.heal();
    }

    /// Mends one thing, or everything.
    pub(super) fn mend(&mut self, planned: &Planned) -> Result<(), Violation> {
        match planned.how % 4 {
            0 => self.calm(),
            1 => self.net.heal(),
            _ => {
                for relay in self.relays.clone() {
                    self.net.start_relay(relay);
                }
            }
        }
        let down: Vec<usize> = (0..self.actors.len()).filter(|actor| !self.is_up(*actor)).collect();
        match Self::pick(&down, planned.who) {
            Some(actor) => self.start(actor),
            None => Ok(()),
        }
    }
}
