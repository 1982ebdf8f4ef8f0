//! What is told: progress, failures, and the table at the end.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tombolo_tests::invariant::Invariant;
use tombolo_tests::world::census::states_of;
use tombolo_tests::world::history::Played;
use tombolo_tests::world::{Census, Fault, Recipe, Scenario};

use crate::options::Plan;

/// From so many seeds on everything must have come about.
const COVER_FROM: u64 = 200;
/// Failures that are shrunk and told in full.
const FAILURES_MAX: usize = 5;

pub(crate) struct Report<'a> {
    plan: &'a Plan,
    started: Instant,
    seeds: u64,
    steps: u64,
    fewest: u64,
    words: (usize, usize),
    time: Duration,
    census: Census,
    failures: Vec<(Recipe, Played)>,
    broken: BTreeMap<Invariant, Vec<u64>>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(plan: &'a Plan, started: Instant) -> Self {
        Self {
            plan,
            started,
            seeds: 0,
            steps: 0,
            fewest: u64::MAX,
            words: (0, 0),
            time: Duration::ZERO,
            census: Census::default(),
            failures: Vec::new(),
            broken: BTreeMap::new(),
        }
    }

    pub(crate) fn take(&mut self, recipe: Recipe, played: Played) {
        self.seeds += 1;
        self.steps += played.steps;
        self.words = (self.words.0 + played.words.0, self.words.1 + played.words.1);
        self.time += played.time;
        self.census.add(&played.census);
        match &played.violation {
            None => self.fewest = self.fewest.min(played.steps),
            Some(violation) => {
                self.broken.entry(violation.invariant).or_default().push(recipe.seed);
                if self.failures.len() < FAILURES_MAX {
                    self.failures.push((recipe, played));
                }
            }
        }
    }

    pub(crate) fn take_failures(&mut self) -> Vec<(Recipe, Played)> {
        std::mem::take(&mut self.failures)
    }

    fn pace(&self) -> f64 {
        self.seeds as f64 / self.started.elapsed().as_secs_f64().max(0.001)
    }

    pub(crate) fn tell_progress(&self) {
        let struck: u64 = self.census.faults.values().sum();
        let scenario = self.plan.template.scenario;
        let all = Fault::ALL.len() + states_of(scenario).count();
        println!(
            "{:>7} seeds  {:>6.1}/s  {:>11} steps  {:>8} faults  {:>3}/{all} covered  {} failed",
            self.seeds,
            self.pace(),
            self.steps,
            struck,
            all - self.census.missing(scenario).len(),
            self.broken.values().map(Vec::len).sum::<usize>(),
        );
    }

    pub(crate) fn tell_failure(&self, recipe: &Recipe, played: &Played) {
        let Some(violation) = &played.violation else { return };
        println!("\n=== seed {} breaks {violation}", recipe.seed);
        played.lines.iter().for_each(|line| println!("{line}"));
        played.told.iter().for_each(|line| println!("{line}"));
        println!("shortest history found: {} deeds, {} steps, trace {}", played.deeds.len(), played.steps, played.hash);
        let planted = self.plan.planted.as_ref().map_or(String::new(), |bug| format!(" --planted {bug}"));
        let features = if planted.is_empty() { "" } else { " --features planted-bugs" };
        println!("play it again:");
        println!("  cargo run --release -p tombolo-tests{features} --bin simulate -- {}{planted}", recipe.to_words());
    }

    pub(crate) fn sum_up(&self) -> ExitCode {
        println!("\n{:<16} {:<8} {:>9}  how it is brought about", "class", "where", "struck");
        for fault in Fault::ALL {
            let count = self.census.faults.get(fault).copied().unwrap_or(0);
            println!("{:<16} {:<8} {count:>9}  {}", fault.name(), fault.place(), fault.how());
        }
        println!("\n{:>9}  sometimes", "times");
        for what in states_of(self.plan.template.scenario) {
            println!("{:>9}  {what}", self.census.sometimes.get(what).copied().unwrap_or(0));
        }
        println!("\n{:<72} broken by", "invariant");
        for invariant in Invariant::ALL {
            let seeds = self.broken.get(invariant).map_or(String::new(), |seeds| shortened(seeds));
            println!("{:<72} {}", invariant.to_string(), if seeds.is_empty() { "none" } else { &seeds });
        }
        let elapsed = self.started.elapsed().as_secs_f64();
        println!(
            "\n{} seeds from {}, {} steps (at least {} each), {} words of which {} had to be there, {:.0} simulated hours",
            self.seeds,
            self.plan.template.seed,
            self.steps,
            if self.fewest == u64::MAX { 0 } else { self.fewest },
            self.words.0,
            self.words.1,
            self.time.as_secs_f64() / 3600.0,
        );
        println!("{elapsed:.0} s, {:.2} seeds/s on {} threads", self.pace(), self.plan.threads);
        self.verdict()
    }

    fn verdict(&self) -> ExitCode {
        let scenario = self.plan.template.scenario;
        let missing = self.census.missing(scenario);
        let has_all =
            matches!(scenario, Scenario::Swarm | Scenario::Snapshots) && self.plan.template.without.is_empty();
        let covers = !has_all || self.seeds < COVER_FROM || missing.is_empty();
        if !covers {
            println!("never came about: {}", missing.join(", "));
        }
        let failed: usize = self.broken.values().map(Vec::len).sum();
        println!("{failed} of {} seeds broke something", self.seeds);
        if failed == 0 && covers { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn shortened(seeds: &[u64]) -> String {
    let some: Vec<String> = seeds.iter().take(12).map(ToString::to_string).collect();
    let more = seeds.len().saturating_sub(12);
    if more == 0 { some.join(" ") } else { format!("{} and {more} more", some.join(" ")) }
}
