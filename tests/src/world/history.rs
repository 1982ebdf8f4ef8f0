//! One seed from its first step to its judgement: the team meets, chaos, healing, a bound, and the oracles.
//!
//! Invariant: a history ends with a hash of all that happened; what falls over inside is a violation like any other.

use std::time::Duration;

use tombolo_testkit::fall::caught;

use super::Outcome;
use super::census::Census;
use super::fault::Fault;
use super::script::{Deed, Planned, Recipe, Script};
use super::stage::World;
use crate::invariant::{Invariant, Violation};

/// A history has at least so many steps.
pub const STEPS_MIN: u64 = 2_000;
/// So often a device is asked for its status, and another reads everything.
const LOOK_EVERY: usize = 6;

/// What became of one history.
pub struct Played {
    /// The hash of all that happened.
    pub hash: String,
    /// How much happened.
    pub steps: u64,
    /// How many words were written, and how many of them must be there.
    pub words: (usize, usize),
    /// Simulated time.
    pub time: Duration,
    /// What has happened.
    pub census: Census,
    /// The numbers of the deeds.
    pub deeds: Vec<usize>,
    /// What was broken, if anything was.
    pub violation: Option<Violation>,
    /// The last things that happened, if something was broken.
    pub lines: Vec<String>,
    /// What was decided, deed by deed, if something was broken.
    pub told: Vec<String>,
}

/// Plays a recipe.
#[must_use]
pub fn play(recipe: &Recipe) -> Played {
    caught(|| play_on(recipe)).unwrap_or_else(|said| {
        let invariant = if said.contains("no rest within") || said.contains("a storm") {
            Invariant::Liveness
        } else {
            Invariant::ApplyIsSafe
        };
        Played {
            hash: String::new(),
            steps: 0,
            words: (0, 0),
            time: Duration::ZERO,
            census: Census::default(),
            deeds: Script::draw(recipe).deeds.iter().map(|planned| planned.number).collect(),
            violation: Some(Violation { invariant, what: said }),
            lines: Vec::new(),
            told: Vec::new(),
        }
    })
}

/// Plays a recipe twice: one seed is one history.
#[must_use]
pub fn play_twice(recipe: &Recipe) -> Played {
    let mut played = play(recipe);
    if played.violation.is_some() {
        return played;
    }
    let again = play(recipe);
    if again.hash != played.hash {
        let what = format!("{} and {} steps, and other hashes", played.steps, again.steps);
        played.violation = Some(Violation { invariant: Invariant::SameSeed, what });
    }
    played
}

impl Outcome for Played {
    fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn deeds(&self) -> &[usize] {
        &self.deeds
    }

    fn may_have_struck(&self, fault: Fault) -> bool {
        self.census.faults.contains_key(&fault) || self.steps == 0
    }
}

fn play_on(recipe: &Recipe) -> Played {
    let script = Script::draw(recipe);
    let mut world = World::set(recipe, &script);
    let ended = world.chaos(&script).and_then(|()| world.judge());
    let ended = ended.and_then(|()| world.net.take_found().map_or(Ok(()), Err));
    world.take_census();
    let violation = ended.err();
    if violation.is_some() {
        world.describe_all();
    }
    Played {
        hash: world.net.trace_hash(),
        steps: world.net.steps(),
        words: world.ledger.counts(),
        time: world.net.now().mono,
        lines: if violation.is_some() { world.net.last_lines() } else { Vec::new() },
        told: if violation.is_some() { std::mem::take(&mut world.told) } else { Vec::new() },
        census: world.census,
        deeds: script.deeds.iter().map(|planned| planned.number).collect(),
        violation,
    }
}

impl World {
    fn chaos(&mut self, script: &Script) -> Result<(), Violation> {
        for planned in &script.deeds {
            self.tell(planned);
            match planned.deed {
                Deed::Write(style) => self.write(planned, style)?,
                Deed::Fault(fault) => self.strike(planned, fault)?,
                Deed::Mend => self.mend(planned)?,
            }
            self.ask(planned);
            self.net.run_for(planned.pause);
            self.hear();
            self.judge_claims()?;
            if planned.number.is_multiple_of(LOOK_EVERY)
                && let Some(actor) = Self::pick(&self.present(), planned.who >> 16)
            {
                self.judge_status(actor)?;
                self.look(actor)?;
            }
            if let Some(found) = self.net.take_found() {
                return Err(found);
            }
        }
        Ok(())
    }

    /// Notes a deed, and who is there when it is done.
    fn tell(&mut self, planned: &Planned) {
        let line = format!("deed {}: {:?}", planned.number, planned.deed);
        let up: Vec<String> = self.present().iter().map(|actor| format!("d{actor}")).collect();
        self.told.push(format!("{:>14.6} {line}; there: {}", self.net.now().mono.as_secs_f64(), up.join(" ")));
        self.net.note(line);
    }

    fn judge(&mut self) -> Result<(), Violation> {
        self.heal()?;
        self.come_to_rest()?;
        self.judge_stores(self.plants_stay())?;
        for actor in 0..self.cast.min(2) {
            self.actors[actor].replica.kill(&mut self.net);
            self.start(actor)?;
        }
        self.judge_the_gone()?;
        let ending = self.chance.below(6);
        if ending == 0 {
            self.wipe_all()?;
        }
        while self.net.steps() < STEPS_MIN {
            self.write_more()?;
        }
        self.come_to_rest()?;
        if ending < 3 {
            self.judge_secrecy()?;
        }
        self.judge_idleness()?;
        if ending == 1 || ending == 0 {
            self.ask_relays_alone()?;
        }
        Ok(())
    }

    /// Everybody writes on in peace, until a history is long enough to count.
    fn write_more(&mut self) -> Result<(), Violation> {
        for actor in self.present() {
            if self.is_trusted(actor) {
                let document = self.chance.index(self.documents.len());
                self.word(actor, document)?;
                self.net.run_for(Duration::from_millis(300));
            }
        }
        self.net.run_for(Duration::from_secs(2));
        Ok(())
    }
}
