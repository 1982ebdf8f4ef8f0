//! What a seed has in store: the cast and the deeds, drawn before anything happens.
//!
//! Invariant: a recipe's seed decides every draw; what it leaves out is struck from the script afterwards, so
//! that the rest stays what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::chance::Chance;
use crate::fault::Fault;

/// Fewest and most deeds of one history.
const DEEDS: (usize, usize) = (40, 80);
/// Most devices in the cast, before anybody joins.
const DEVICES_MAX: usize = 8;
/// Most documents in the beginning.
const DOCUMENTS_MAX: usize = 5;

/// Which classes a history may draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// All of them.
    Swarm,
    /// None: only writing.
    Calm,
    /// What networks do.
    Network,
    /// What relays do.
    Relays,
    /// What disks and processes do.
    Devices,
    /// What people do, on a network that is cut now and then.
    People,
    /// What members who mean harm do.
    Harm,
    /// All of them, while every device publishes snapshots and vouches for those of others.
    Snapshots,
    /// All of them, while devices ask relays now for these documents and now for those.
    Partial,
    /// What can befall an app without anybody's doing: networks, relays, processes, disks and clocks.
    App,
}

impl Scenario {
    /// All scenarios, by the names of the command line.
    pub const ALL: &[(&str, Self)] = &[
        ("swarm", Self::Swarm),
        ("calm", Self::Calm),
        ("network", Self::Network),
        ("relays", Self::Relays),
        ("devices", Self::Devices),
        ("people", Self::People),
        ("harm", Self::Harm),
        ("snapshots", Self::Snapshots),
        ("partial", Self::Partial),
    ];

    fn allows(self, fault: Fault) -> bool {
        match self {
            Self::Swarm | Self::Snapshots | Self::Partial => true,
            Self::Calm => false,
            Self::Network => fault.place() == "network",
            Self::Relays => fault.place() == "relay" || fault == Fault::Partition,
            Self::Devices => fault.place() == "device" || fault == Fault::Partition,
            Self::People => fault.place() == "people" || matches!(fault, Fault::Partition | Fault::Crash),
            Self::App => {
                let survived = [Fault::Crash, Fault::CrashAtCommit, Fault::PowerCut, Fault::DiskError];
                matches!(fault.place(), "network" | "relay" | "clock") || survived.contains(&fault)
            }
            Self::Harm => fault.place() == "members" || fault == Fault::Rotate,
        }
    }
}

/// What decides one history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The seed.
    pub seed: u64,
    /// Which classes it may draw from.
    pub scenario: Scenario,
    /// Classes that are struck.
    pub without: BTreeSet<Fault>,
    /// Devices in the cast, at most.
    pub devices_max: usize,
    /// The deeds that are kept, by their numbers; `None` for all.
    pub only: Option<BTreeSet<usize>>,
}

impl Recipe {
    /// Makes the recipe of a seed with nothing left out.
    #[must_use]
    pub fn new(seed: u64, scenario: Scenario) -> Self {
        Self { seed, scenario, without: BTreeSet::new(), devices_max: DEVICES_MAX, only: None }
    }

    /// Reads the words that [`Recipe::to_words`] wrote; `None` if they say anything else.
    #[must_use]
    pub fn from_words(words: &str, scenario: Scenario) -> Option<Self> {
        let mut recipe = Self::new(0, scenario);
        let mut words = words.split_whitespace();
        while let (Some(name), value) = (words.next(), words.next()) {
            let value = value?;
            match name {
                "--seeds" => {}
                "--from" => recipe.seed = value.parse().ok()?,
                "--devices" => recipe.devices_max = value.parse().ok()?,
                "--without" => recipe.without = value.split(',').map(Fault::named).collect::<Option<_>>()?,
                "--only" if value == "none" => recipe.only = Some(BTreeSet::new()),
                "--only" => {
                    let numbers: Result<BTreeSet<usize>, _> = value.split(',').map(str::parse).collect();
                    recipe.only = Some(numbers.ok()?);
                }
                _ => return None,
            }
        }
        Some(recipe)
    }

    /// Returns the words of a command line that play it again.
    #[must_use]
    pub fn to_words(&self) -> String {
        let mut words = format!("--seeds 1 --from {}", self.seed);
        if let Some((name, _)) = Scenario::ALL.iter().find(|(_, scenario)| *scenario == self.scenario)
            && self.scenario != Scenario::Swarm
        {
            words.push_str(&format!(" --scenario {name}"));
        }
        if !self.without.is_empty() {
            let names: Vec<&str> = self.without.iter().map(|fault| fault.name()).collect();
            words.push_str(&format!(" --without {}", names.join(",")));
        }
        if self.devices_max < DEVICES_MAX {
            words.push_str(&format!(" --devices {}", self.devices_max));
        }
        if let Some(only) = &self.only {
            let numbers: Vec<String> = only.iter().map(ToString::to_string).collect();
            words.push_str(&format!(" --only {}", if only.is_empty() { "none".to_owned() } else { numbers.join(",") }));
        }
        words
    }
}

impl Style {
    /// Returns how many deeds of an app it stands for.
    #[must_use]
    pub fn deeds(self) -> u64 {
        match self {
            Self::Word | Self::Create => 1,
            Self::Burst(deeds) | Self::Letters(deeds) => deeds,
        }
    }
}

/// How somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One word.
    Word,
    /// Many words at once.
    Burst(u64),
    /// Letter by letter, and then a word.
    Letters(u64),
    /// A document of its own.
    Create,
}

/// One deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Somebody writes.
    Write(Style),
    /// Something befalls the team.
    Fault(Fault),
    /// A device's network is whole again, or a device or relay that was down starts.
    Mend,
}

/// One deed, with what it needs to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// Its number in the script.
    pub number: usize,
    /// What it is.
    pub deed: Deed,
    /// Picks whom it befalls.
    pub who: u64,
    /// Picks how.
    pub how: u64,
    /// How long nothing else is decided.
    pub pause: Duration,
}

/// What a seed has in store.
#[derive(Clone, Debug)]
pub struct Script {
    /// How many devices there are in the beginning.
    pub devices: usize,
    /// How many relays.
    pub relays: usize,
    /// How many documents there are in the beginning.
    pub documents: usize,
    /// What happens, in its order.
    pub deeds: Vec<Planned>,
}

impl Script {
    /// Draws what the recipe's seed has in store, and strikes what the recipe leaves out.
    #[must_use]
    pub fn draw(recipe: &Recipe) -> Self {
        let mut chance = Chance::new(recipe.seed, "script");
        let devices =
            (2 + chance.index(DEVICES_MAX - 1).min(chance.index(DEVICES_MAX - 1))).min(recipe.devices_max).max(2);
        let relays = [1, 1, 1, 1, 2, 2, 2, 3][chance.index(8)];
        let documents = 1 + chance.index(DOCUMENTS_MAX);
        let rates: BTreeMap<Fault, u64> =
            Fault::ALL.iter().map(|fault| (*fault, fault.draw_rate(&mut chance))).collect();
        let count = DEEDS.0 + chance.index(DEEDS.1 - DEEDS.0);
        let planned = (0..count).map(|number| plan_one(&mut chance, number, &rates));
        let kept = |planned: &Planned| {
            let wanted = match planned.deed {
                Deed::Fault(fault) => recipe.scenario.allows(fault) && !recipe.without.contains(&fault),
                _ => true,
            };
            wanted && recipe.only.as_ref().is_none_or(|only| only.contains(&planned.number))
        };
        let deeds = planned.filter(kept).collect();
        Self { devices, relays, documents, deeds }
    }

    /// Tells whether a class strikes anywhere in it.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.deeds.iter().any(|planned| planned.deed == Deed::Fault(fault))
    }
}

fn plan_one(chance: &mut Chance, number: usize, rates: &BTreeMap<Fault, u64>) -> Planned {
    let deed = match chance.below(100) {
        0..=57 => Deed::Write(draw_style(chance)),
        58..=65 => Deed::Mend,
        _ => draw_fault(chance, rates),
    };
    let (who, how) = (chance.below(u64::MAX), chance.below(u64::MAX));
    let pause = chance.between(Duration::ZERO, Duration::from_secs(20));
    let pause = if chance.one_in(3) { pause } else { pause / 100 };
    Planned { number, deed, who, how, pause }
}

fn draw_style(chance: &mut Chance) -> Style {
    match chance.below(20) {
        0..=12 => Style::Word,
        13..=15 => Style::Burst(2 + chance.below(12)),
        16..=18 => Style::Letters(3 + chance.below(10)),
        _ => Style::Create,
    }
}

fn draw_fault(chance: &mut Chance, rates: &BTreeMap<Fault, u64>) -> Deed {
    let mut at = chance.below(rates.values().sum());
    for (fault, rate) in rates {
        if at < *rate {
            return Deed::Fault(*fault);
        }
        at -= rate;
    }
    Deed::Write(Style::Word)
}
