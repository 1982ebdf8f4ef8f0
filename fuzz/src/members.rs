//! The membership evaluator against the slow model of the protocol's own tests: both from the same files.
//!
//! Invariant: four bytes are the dice of one step, so that to change, drop or repeat a step changes no other.

#[path = "../../core/protocol/tests/model/compare.rs"]
mod compare;
#[path = "../../core/protocol/tests/model/history.rs"]
mod history;
#[path = "../../core/protocol/tests/model/model.rs"]
mod model;

use std::sync::LazyLock;

use history::{Person, people, play_dice};

/// The model holds a set of records in 128 bits.
const STEPS_MAX: usize = 45;

static PEOPLE: LazyLock<Vec<Person>> = LazyLock::new(|| people(5));

/// Plays a history; says how the evaluator and the model differ.
///
/// # Errors
/// The difference, in words.
pub fn judge(bytes: &[u8]) -> Result<(), String> {
    let (seed, steps) = bytes.split_first().unwrap_or((&0, &[]));
    let dice = steps.chunks_exact(4).take(STEPS_MAX).map(|dice| {
        let dice = dice.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        dice << 16
    });
    let seed = u64::from(*seed);
    compare::fails(&play_dice(&PEOPLE, seed, dice), seed).map(drop)
}
