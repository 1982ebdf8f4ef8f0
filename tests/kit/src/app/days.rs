//! Many seeds of one app: played one after the other, and the first that breaks is shrunk and told.
//!
//! Invariant: a seed is one history; what is printed plays it again.

use std::fmt;
use std::time::Duration;

use super::App;
use super::team::Team;
use crate::fall::caught;
use crate::fault::Fault;
use crate::invariant::{Invariant, Violation};
use crate::script::{Recipe, Scenario, Script};
use crate::shrink::{Outcome, shrink};

/// The words of a recipe, for one run: what a failure prints.
pub const DAYS_VARIABLE: &str = "TOMBOLO_DAYS";
/// How long a failing history is shrunk, unless told otherwise.
const SHRINK: Duration = Duration::from_secs(30);
/// Every so many seeds one is played twice.
const TWICE: u64 = 50;
const SEEDS: u64 = 100;

/// An app under many bad days.
pub struct Days<M> {
    make: M,
    template: Recipe,
    seeds: u64,
    shrink: Duration,
}

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaysReport {
    /// How many seeds.
    pub seeds: u64,
    /// How much happened in all of them.
    pub steps: u64,
    /// Simulated time of all of them.
    pub time: Duration,
}

/// A history that broke something, as short as it could be made.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was broken.
    pub violation: Violation,
    /// What plays it again.
    pub recipe: Recipe,
    /// What was decided, deed by deed.
    pub story: Vec<String>,
    /// Where it was found, for the command that plays it again.
    place: String,
}

impl<A: App, M: Fn() -> A> Days<M> {
    /// Begins with a way to make the app anew for each seed.
    #[must_use]
    pub fn of(make: M) -> Self {
        Self { make, template: Recipe::new(0, Scenario::App), seeds: SEEDS, shrink: SHRINK }
    }

    /// Sets how many seeds are played.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// Sets the first seed.
    #[must_use]
    pub fn from(mut self, seed: u64) -> Self {
        self.template.seed = seed;
        self
    }

    /// Leaves out a class of faults.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.template.without.insert(fault);
        self
    }

    /// Sets how many devices there are at most.
    #[must_use]
    pub fn devices(mut self, most: usize) -> Self {
        self.template.devices_max = most.clamp(2, self.template.devices_max);
        self
    }

    /// Sets for how long a failing history is made shorter.
    #[must_use]
    pub fn shrink_within(mut self, time: Duration) -> Self {
        self.shrink = time;
        self
    }

    /// Plays the seeds, or what [`DAYS_VARIABLE`] says instead.
    ///
    /// # Errors
    /// The first [`Failure`]; to print it is to tell the whole story.
    ///
    /// # Panics
    /// If the variable is set and says nothing that can be played.
    pub fn play(&self) -> Result<DaysReport, Box<Failure>> {
        if let Ok(words) = std::env::var(DAYS_VARIABLE) {
            return self.play_again(&Recipe::from_words(&words, Scenario::App).expect("the words of a failure"));
        }
        let mut report = DaysReport::default();
        for nth in 0..self.seeds {
            let recipe = Recipe { seed: self.template.seed + nth, ..self.template.clone() };
            let mut day = self.play_one(&recipe);
            if recipe.seed.is_multiple_of(TWICE) && day.violation.is_none() && self.play_one(&recipe).hash != day.hash {
                let what = "played twice, it went two ways: something asks a clock, a map or the system".to_owned();
                day.violation = Some(Violation { invariant: Invariant::SameSeed, what });
            }
            if day.violation.is_some() {
                let (recipe, day) = shrink(&recipe, day, self.shrink, |recipe| self.play_one(recipe));
                return Err(Failure::of(recipe, day));
            }
            report.add(&day);
        }
        Ok(report)
    }

    /// Plays one recipe, as it is.
    ///
    /// # Errors
    /// The [`Failure`], not shrunk.
    pub fn play_again(&self, recipe: &Recipe) -> Result<DaysReport, Box<Failure>> {
        let day = self.play_one(recipe);
        if day.violation.is_some() {
            return Err(Failure::of(recipe.clone(), day));
        }
        let mut report = DaysReport::default();
        report.add(&day);
        Ok(report)
    }

    /// Plays the seeds; a failure is told in full and ends the test.
    ///
    /// # Panics
    /// With the [`Failure`].
    pub fn assert_good(&self) -> DaysReport {
        match self.play() {
            Ok(report) => report,
            Err(failure) => panic!("{failure}"),
        }
    }

    fn play_one(&self, recipe: &Recipe) -> Day {
        let script = Script::draw(recipe);
        let deeds: Vec<usize> = script.deeds.iter().map(|planned| planned.number).collect();
        caught(|| self.live(recipe, &script)).unwrap_or_else(|said| {
            let violation = Violation { invariant: Invariant::ApplyIsSafe, what: said };
            Day { deeds, violation: Some(violation), ..Day::default() }
        })
    }

    fn live(&self, recipe: &Recipe, script: &Script) -> Day {
        let mut day = Day { deeds: script.deeds.iter().map(|planned| planned.number).collect(), ..Day::default() };
        let mut team = match Team::meet((self.make)(), recipe, script) {
            Ok(team) => team,
            Err(violation) => return Day { violation: Some(violation), ..day },
        };
        let lived = team.live(script).and_then(|()| team.judge());
        day.violation = lived.and_then(|()| team.net.take_found().map_or(Ok(()), Err)).err();
        day.hash = team.net.trace_hash();
        (day.steps, day.time) = (team.net.steps(), team.net.now().mono);
        (day.struck, day.story) = (Some(team.struck), team.told);
        day
    }
}

/// What became of one seed.
#[derive(Default)]
struct Day {
    hash: String,
    steps: u64,
    time: Duration,
    deeds: Vec<usize>,
    /// What has struck; nobody knows, if it fell over.
    struck: Option<std::collections::BTreeSet<Fault>>,
    story: Vec<String>,
    violation: Option<Violation>,
}

impl Outcome for Day {
    fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn deeds(&self) -> &[usize] {
        &self.deeds
    }

    fn may_have_struck(&self, fault: Fault) -> bool {
        self.struck.as_ref().is_none_or(|struck| struck.contains(&fault))
    }
}

impl DaysReport {
    fn add(&mut self, day: &Day) {
        self.seeds += 1;
        self.steps += day.steps;
        self.time += day.time;
    }
}

impl Failure {
    fn of(recipe: Recipe, day: Day) -> Box<Self> {
        let place = std::thread::current().name().unwrap_or("main").to_owned();
        let unknown = || Violation { invariant: Invariant::SameSeed, what: "it breaks no more".to_owned() };
        let violation = day.violation.unwrap_or_else(unknown);
        Box::new(Self { violation, recipe, story: day.story, place })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} breaks {}", self.recipe.seed, self.violation)?;
        writeln!(f, "the shortest history found:")?;
        self.story.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "play it again:")?;
        let words = self.recipe.to_words();
        match self.place.as_str() {
            "main" => write!(f, "  {DAYS_VARIABLE}='{words}' and the same program"),
            test => write!(f, "  {DAYS_VARIABLE}='{words}' cargo test {test}"),
        }
    }
}

impl std::error::Error for Failure {}
