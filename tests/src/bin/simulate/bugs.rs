//! Bugs that are planted on purpose: a simulator that does not see them proves nothing.
//!
//! Invariant: a bug counts as caught only by a seed that breaks with it, in the invariant that it is planted against, and
//! is sound without it; every invariant of Tombolo's own has a bug.

use std::process::ExitCode;

#[cfg(feature = "planted-bugs")]
use tombolo_tests::invariant::{Invariant, Violation};
#[cfg(feature = "planted-bugs")]
use tombolo_tests::world::{Recipe, Scenario, play, play_twice};

use crate::options::Plan;

#[cfg(not(feature = "planted-bugs"))]
const UNBUILT: &str = "bugs are planted only in builds with `--features planted-bugs`";

/// Plants a bug for the whole process; says what is in the way.
#[cfg(feature = "planted-bugs")]
pub(crate) fn plant(name: &str) -> Option<String> {
    use tombolo::protocol::planted::Bug;
    match Bug::named(name) {
        Some(bug) => {
            bug.plant();
            None
        }
        None => Some(format!("there is no bug `{name}`; there are: {}", Bug::names().join(", "))),
    }
}

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn plant(_: &str) -> Option<String> {
    Some(UNBUILT.to_owned())
}

/// Looks for a seed that catches a bug, or for each of all one.
#[cfg(feature = "planted-bugs")]
pub(crate) fn catch(name: &str, plan: &Plan) -> ExitCode {
    use tombolo::protocol::planted::Bug;
    let bugs: Vec<Bug> = if name == "all" { Bug::ALL.to_vec() } else { Bug::named(name).into_iter().collect() };
    if bugs.is_empty() {
        println!("there is no bug `{name}`; there are: {}", Bug::names().join(", "));
        return ExitCode::from(2);
    }
    if name == "all"
        && let Some(invariant) = Invariant::ALL.iter().find(|invariant| is_unshown(**invariant))
    {
        println!("no bug is planted against {invariant}");
        return ExitCode::FAILURE;
    }
    let missed: Vec<&str> = bugs.into_iter().filter(|bug| !is_caught(*bug, plan)).map(Bug::name).collect();
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("not caught within {} seeds: {}", plan.seeds, missed.join(", "));
    ExitCode::FAILURE
}

/// Tells whether no bug shows that an invariant is asked; an app's own is asked by its own days.
#[cfg(feature = "planted-bugs")]
fn is_unshown(invariant: Invariant) -> bool {
    use tombolo::protocol::planted::Bug;
    invariant != Invariant::AppPromise && !Bug::ALL.iter().any(|bug| broken_by(*bug) == Some(invariant))
}

/// Which invariant each bug breaks.
#[cfg(feature = "planted-bugs")]
fn broken_by(bug: tombolo::protocol::planted::Bug) -> Option<Invariant> {
    use tombolo::protocol::planted::Bug;
    Some(match bug {
        Bug::AckBeforeCommit | Bug::OutboxDeletedOnSend | Bug::NoResend => Invariant::NothingLost,
        Bug::PrunedTooFar | Bug::CompactionDropsPending | Bug::MoreNotCompared => Invariant::NothingLost,
        Bug::VersionByArrival => Invariant::Converges,
        Bug::PendingNotOpened => Invariant::Causal,
        Bug::CountedTwice => Invariant::ExactlyOnce,
        Bug::StatusTooSoon => Invariant::StatusIsTrue,
        Bug::NoQuarantine => Invariant::CrashOrder,
        Bug::ChangeInClear | Bug::LinkedKeysInClear | Bug::EpochInClear => Invariant::NoPlaintext,
        Bug::CursorBeforeApply | Bug::DedupeBySeq | Bug::OldEpochAccepted => Invariant::Quarantine,
        Bug::PanicOnBadSignature => Invariant::ApplyIsSafe,
        Bug::RelayServesRemoved => Invariant::Membership,
        Bug::NotesPileUp => Invariant::Bounded,
        Bug::WipeNotNoticed => Invariant::RelayIsDisposable,
        Bug::ChoresForEver => Invariant::Liveness,
        Bug::OutsideChance => Invariant::SameSeed,
        // One that this table does not know yet is caught by nothing.
        _ => return None,
    })
}

#[cfg(feature = "planted-bugs")]
fn is_caught(bug: tombolo::protocol::planted::Bug, plan: &Plan) -> bool {
    use tombolo::protocol::planted::Bug;
    let invariant = broken_by(bug);
    let scenario = match bug {
        // Nothing is deleted where nobody publishes, and nothing is left out where all ask for all.
        Bug::PrunedTooFar | Bug::CompactionDropsPending => Scenario::Snapshots,
        Bug::MoreNotCompared => Scenario::Partial,
        _ => plan.template.scenario,
    };
    let sees = |violation: &Violation| Some(violation.invariant) == invariant;
    for nth in 0..plan.seeds {
        let recipe = Recipe { seed: plan.template.seed + nth, scenario, ..plan.template.clone() };
        let judge = if invariant == Some(Invariant::SameSeed) { play_twice } else { play };
        bug.plant();
        let broken = judge(&recipe).violation;
        Bug::lift();
        let Some(violation) = broken.filter(sees) else { continue };
        if judge(&recipe).violation.is_none() {
            println!("{:<24} seed {:<4} {violation}", bug.name(), recipe.seed);
            return true;
        }
    }
    false
}

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn catch(_: &str, _: &Plan) -> ExitCode {
    println!("{UNBUILT}");
    ExitCode::from(2)
}
