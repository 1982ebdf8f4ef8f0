//! Bugs that are planted on purpose: a simulator that does not see them proves nothing.
//!
//! Invariant: a bug counts as caught only by a seed that breaks with it and is sound without it.

use std::process::ExitCode;

use crate::options::Plan;

#[cfg(not(feature = "planted-bugs"))]
const UNBUILT: &str = "bugs are planted only in builds with `--features planted-bugs`";

/// Plants a bug for the whole process; says what is in the way.
#[cfg(feature = "planted-bugs")]
pub(crate) fn plant(name: &str) -> Option<String> {
    use tombolo::planted::Bug;
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
    use tombolo::planted::Bug;
    let bugs: Vec<Bug> = if name == "all" { Bug::ALL.to_vec() } else { Bug::named(name).into_iter().collect() };
    if bugs.is_empty() {
        println!("there is no bug `{name}`; there are: {}", Bug::names().join(", "));
        return ExitCode::from(2);
    }
    let missed: Vec<&str> = bugs.into_iter().filter(|bug| !is_caught(*bug, plan)).map(Bug::name).collect();
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("not caught within {} seeds: {}", plan.seeds, missed.join(", "));
    ExitCode::FAILURE
}

#[cfg(feature = "planted-bugs")]
fn is_caught(bug: tombolo::planted::Bug, plan: &Plan) -> bool {
    use tombolo_tests::world::{Recipe, play};
    for nth in 0..plan.seeds {
        let recipe = Recipe { seed: plan.template.seed + nth, ..plan.template.clone() };
        bug.plant();
        let broken = play(&recipe).violation;
        tombolo::planted::Bug::lift();
        let Some(violation) = broken else { continue };
        if play(&recipe).violation.is_none() {
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
