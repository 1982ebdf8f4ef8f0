//! A failing history, made as short as the time allows: fewer classes, fewer devices, fewer deeds.
//!
//! Invariant: what comes out breaks the same invariant as what went in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::invariant::Violation;
use crate::script::Recipe;

/// What became of a history, as far as it matters to who makes it shorter.
pub trait Outcome {
    /// Returns what was broken.
    fn violation(&self) -> Option<&Violation>;
    /// Returns the numbers of its deeds.
    fn deeds(&self) -> &[usize];
    /// Tells whether a class may have struck in it.
    fn may_have_struck(&self, fault: Fault) -> bool;
}

/// Shrinks a failing recipe by playing shorter ones; returns the shortest with what it plays.
#[must_use]
pub fn shrink<P: Outcome>(recipe: &Recipe, played: P, time: Duration, play: impl Fn(&Recipe) -> P) -> (Recipe, P) {
    let Some(violation) = played.violation() else { return (recipe.clone(), played) };
    let until = Instant::now() + time;
    let mut search = Search { broken: violation.clone(), until, play, best: (recipe.clone(), played) };
    for fault in Fault::ALL {
        let mut fewer = search.best.0.clone();
        fewer.without.insert(*fault);
        if search.best.1.may_have_struck(*fault) {
            search.try_one(fewer);
        }
    }
    while search.best.0.devices_max > 2 {
        let devices_max = search.best.0.devices_max - 1;
        let fewer = Recipe { devices_max, ..search.best.0.clone() };
        if !search.try_one(fewer) && search.is_over() {
            break;
        }
        if search.best.0.devices_max > devices_max {
            break;
        }
    }
    search.fewer_deeds();
    search.best
}

struct Search<P, F> {
    broken: Violation,
    until: Instant,
    play: F,
    best: (Recipe, P),
}

impl<P: Outcome, F: Fn(&Recipe) -> P> Search<P, F> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn try_one(&mut self, recipe: Recipe) -> bool {
        if self.is_over() {
            return false;
        }
        let played = (self.play)(&recipe);
        let same = played.violation().is_some_and(|violation| violation.invariant == self.broken.invariant);
        if same {
            self.best = (recipe, played);
        }
        same
    }

    /// Leaves out ever smaller runs of deeds (ddmin).
    fn fewer_deeds(&mut self) {
        let mut parts = 2;
        while !self.is_over() {
            let deeds = self.best.1.deeds().to_vec();
            if deeds.is_empty() {
                return;
            }
            let length = deeds.len().div_ceil(parts);
            let shorter = deeds.chunks(length).any(|run| {
                let only: BTreeSet<usize> = deeds.iter().copied().filter(|deed| !run.contains(deed)).collect();
                self.try_one(Recipe { only: Some(only), ..self.best.0.clone() })
            });
            if shorter {
                parts = (parts - 1).max(2);
            } else if length == 1 {
                return;
            } else {
                parts = (parts * 2).min(deeds.len());
            }
        }
    }
}
