//! The team of one seed: devices and relays that meet, live through their days, are healed, and are judged.
//!
//! Invariant: what Tombolo itself promises (nothing owed, all equal, stores that agree with themselves) is asked
//! before what the app promises, so that a fault of Tombolo's is not taken for one of the app's.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::Error;
use tombolo::document::{Value, Version};
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::record::Role;

use super::{App, AppDevice};
use crate::chance::Chance;
use crate::fault::Fault;
use crate::invariant::{Invariant, Violation};
use crate::mishap::Mishaps;
use crate::net::Net;
use crate::replica::Replica;
use crate::script::{Deed, Planned, Recipe, Script};
use crate::station::RelayNode;

/// One look whether all has come to rest.
const SLICE: Duration = Duration::from_secs(60);
/// Within so many of them it must have.
const SLICES_MAX: u32 = 30;
/// So often an app is asked in the midst of it.
const LOOK_EVERY: usize = 6;

type Content = Vec<(DocumentId, Version, Value)>;

pub(super) struct Team<A> {
    pub(super) net: Net,
    app: A,
    chance: Chance,
    devices: Vec<Replica>,
    relays: usize,
    mishaps: Mishaps,
    pub(super) struck: BTreeSet<Fault>,
    pub(super) told: Vec<String>,
}

impl<A: App> Team<A> {
    /// Brings a team together: nothing goes wrong yet.
    pub(super) fn meet(app: A, recipe: &Recipe, script: &Script) -> Result<Self, Violation> {
        let mut net = Net::seeded(recipe.seed);
        net.watch();
        for _ in 1..script.relays {
            net.add_relay();
        }
        let on_disk = script.has(Fault::PowerCut) || script.has(Fault::DiskError);
        let named = (0..script.devices).map(|number| format!("d{number}"));
        let devices =
            named.map(|name| if on_disk { net.device_on_disk(&name) } else { net.device(&name) }).collect::<Vec<_>>();
        let chance = Chance::new(recipe.seed, "app");
        let (relays, mishaps) = (script.relays, Mishaps::default());
        let mut team = Self { net, app, chance, devices, relays, mishaps, struck: BTreeSet::new(), told: Vec::new() };
        team.assemble()?;
        Ok(team)
    }

    fn assemble(&mut self) -> Result<(), Violation> {
        let founder = self.devices[0];
        self.net.found_empty(founder);
        let mut device = AppDevice::new(&mut self.net, founder, 0);
        self.app.found(&mut device).map_err(|error| refused(0, &error))?;
        self.net.run_until_quiet();
        for guest in self.devices.clone().into_iter().skip(1) {
            self.net.join(founder, guest, Role::Writer);
        }
        for replica in self.devices.clone() {
            (1..self.relays).for_each(|relay| self.net.dial_relay(replica, RelayNode::nth(relay)));
        }
        self.net.run_until_quiet();
        self.net.back_up_relay(RelayNode::FIRST);
        Ok(())
    }

    /// Plays all deeds.
    pub(super) fn live(&mut self, script: &Script) -> Result<(), Violation> {
        for planned in &script.deeds {
            self.tell(planned);
            match planned.deed {
                Deed::Write(style) => {
                    for _ in 0..style.deeds() {
                        self.act(planned.who)?;
                    }
                }
                Deed::Fault(fault) => self.strike(planned, fault),
                Deed::Mend => self.mend(planned),
            }
            self.net.run_for(planned.pause);
            if planned.number.is_multiple_of(LOOK_EVERY) {
                self.look(planned.who >> 16)?;
            }
            if let Some(found) = self.net.take_found() {
                return Err(found);
            }
        }
        Ok(())
    }

    fn tell(&mut self, planned: &Planned) {
        let up: Vec<String> = self.present().iter().map(|number| format!("d{number}")).collect();
        let line = format!("deed {}: {:?}; there: {}", planned.number, planned.deed, up.join(" "));
        self.told.push(format!("{:>14.6} {line}", self.net.now().mono.as_secs_f64()));
        self.net.note(line);
    }

    fn present(&self) -> Vec<usize> {
        (0..self.devices.len()).filter(|number| self.devices[*number].is_up(&self.net)).collect()
    }

    fn act(&mut self, who: u64) -> Result<(), Violation> {
        let Some(number) = pick(&self.present(), who) else { return Ok(()) };
        let mut device = AppDevice::new(&mut self.net, self.devices[number], number);
        match self.app.act(&mut device, &mut self.chance) {
            // What others made may not have come yet.
            Ok(()) | Err(Error::NoDocument(_) | Error::NoWorkspace(_) | Error::NotReady) => Ok(()),
            // The disk failed under it.
            Err(Error::Store(_)) if !self.devices[number].is_up(&self.net) => Ok(()),
            Err(error) => Err(refused(number, &error)),
        }
    }

    fn look(&mut self, who: u64) -> Result<(), Violation> {
        let Some(number) = pick(&self.present(), who) else { return Ok(()) };
        let mut device = AppDevice::new(&mut self.net, self.devices[number], number);
        self.app.look(&mut device).map_err(|what| broken(number, &what))
    }

    fn strike(&mut self, planned: &Planned, fault: Fault) {
        let Some(number) = pick(&self.present(), planned.who) else { return };
        let (replica, how) = (self.devices[number], planned.how);
        let relay = RelayNode::nth(usize::try_from((how >> 8) % self.relays as u64).unwrap_or(0));
        self.struck.insert(fault);
        match fault.place() {
            "network" => self.mishaps.weather(&mut self.net, fault, (replica, relay), how),
            "relay" => drop(self.mishaps.trouble_relay(&mut self.net, fault, relay, how)),
            "clock" if fault == Fault::ClockJump => Mishaps::trouble_clock(&mut self.net, replica, how),
            "clock" => {
                let (away, here): (Vec<_>, Vec<_>) = self.devices.iter().partition(|device| **device == replica);
                self.mishaps.months_pass(&mut self.net, &away, &here, how);
            }
            _ => {
                if Mishaps::trouble_process(&mut self.net, fault, replica, how) {
                    self.net.start(replica);
                }
            }
        }
    }

    fn mend(&mut self, planned: &Planned) {
        match planned.how % 4 {
            0 => self.mishaps.calm(&mut self.net),
            1 => self.net.heal(),
            _ => self.net.start_relays(),
        }
        let down: Vec<usize> = (0..self.devices.len()).filter(|at| !self.devices[*at].is_up(&self.net)).collect();
        if let Some(number) = pick(&down, planned.who) {
            self.net.start(self.devices[number]);
        }
    }

    /// Ends what disturbs, waits, and asks everybody.
    pub(super) fn judge(&mut self) -> Result<(), Violation> {
        self.mishaps.calm(&mut self.net);
        for replica in self.devices.clone() {
            replica.spare(&mut self.net);
            // What a relay kept to itself is noticed in the next session.
            self.net.reset(replica);
        }
        self.net.run_for(Duration::from_secs(30));
        for _ in 0..2 {
            self.start_all();
            // A fault of a disk that was armed may strike once more.
            self.net.run_for(SLICE);
        }
        self.come_to_rest()?;
        self.ask_the_app()?;
        // What a device shows must be what its store holds.
        for replica in self.devices.clone() {
            replica.kill(&mut self.net);
        }
        self.start_all();
        self.ask_the_app()
    }

    fn start_all(&mut self) {
        for replica in self.devices.clone() {
            if !replica.is_up(&self.net) {
                self.net.start(replica);
            }
        }
    }

    fn come_to_rest(&mut self) -> Result<(), Violation> {
        let mut last = Ok(());
        for _ in 0..SLICES_MAX {
            self.net.run_for(SLICE);
            last = self.agree();
            if last.is_ok() {
                return Ok(());
            }
        }
        last
    }

    fn agree(&mut self) -> Result<(), Violation> {
        let mut first: Option<Content> = None;
        for number in 0..self.devices.len() {
            let replica = self.devices[number];
            let report = replica.integrity(&self.net);
            Violation::unless(report.is_sound(), Invariant::CrashOrder, || format!("d{number}: {report:?}"))?;
            let settled = replica.is_settled(&mut self.net);
            Violation::unless(settled, Invariant::Liveness, || format!("d{number} still owes something"))?;
            let content = self.net.content(replica);
            let same = first.as_ref().is_none_or(|first| *first == content);
            Violation::unless(same, Invariant::Converges, || format!("d0 and d{number} show other documents"))?;
            first.get_or_insert(content);
        }
        Ok(())
    }

    fn ask_the_app(&mut self) -> Result<(), Violation> {
        for number in 0..self.devices.len() {
            let mut device = AppDevice::new(&mut self.net, self.devices[number], number);
            self.app.judge(&mut device).map_err(|what| broken(number, &what))?;
        }
        Ok(())
    }
}

fn pick(list: &[usize], by: u64) -> Option<usize> {
    let at = usize::try_from(by % (list.len() as u64).max(1)).unwrap_or(0);
    list.get(at).copied()
}

fn refused(number: usize, error: &Error) -> Violation {
    Violation { invariant: Invariant::ApplyIsSafe, what: format!("d{number} is told: {error}") }
}

fn broken(number: usize, what: &str) -> Violation {
    Violation { invariant: Invariant::AppPromise, what: format!("d{number}: {what}") }
}
