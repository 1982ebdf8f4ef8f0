//! The simulator itself: a seed is one history, what is found is named, and a history can be cut short.

use tombolo_tests::world::history::STEPS_MIN;
use tombolo_tests::world::{Fault, Recipe, Scenario, play};

#[test]
fn a_seed_of_the_swarm_is_one_history() {
    let recipe = Recipe::new(3, Scenario::Swarm);
    let (once, again) = (play(&recipe), play(&recipe));
    assert_eq!(once.hash, again.hash);
    assert_eq!((once.steps, once.words), (again.steps, again.words));
    assert!(!once.census.faults.is_empty());
}

#[test]
fn a_team_on_good_days_writes_enough_and_nothing_breaks() {
    let played = play(&Recipe::new(4, Scenario::Calm));
    assert!(played.violation.is_none(), "{:?}", played.violation);
    assert!(played.steps >= STEPS_MIN, "{} steps", played.steps);
    assert!(played.census.faults.is_empty());
}

#[test]
fn what_a_recipe_leaves_out_does_not_happen() {
    let mut recipe = Recipe::new(4, Scenario::Network);
    recipe.without.extend([Fault::Partition, Fault::Reset]);
    let played = play(&recipe);
    let left_out = |fault: &Fault| recipe.without.contains(fault) || fault.place() != "network";
    assert!(!played.census.faults.keys().any(left_out));
}

#[test]
fn a_recipe_says_how_it_is_played_again() {
    let mut recipe = Recipe::new(47, Scenario::Relays);
    recipe.without.insert(Fault::Lie);
    recipe.only = Some([1, 5].into());
    assert_eq!(recipe.to_words(), "--seeds 1 --from 47 --scenario relays --without lie --only 1,5");
    assert_eq!(Fault::ALL.iter().filter(|fault| Fault::named(fault.name()) == Some(**fault)).count(), Fault::ALL.len());
}

/// Histories that broke something once, and what: the newest last.
const REGRESSIONS: [(u64, Scenario, &str); 50] = [
    (1021, Scenario::Swarm, "seen by: what came spoilt was passed by"),
    (1023, Scenario::Swarm, "seen by: what came spoilt was passed by"),
    (1128, Scenario::Swarm, "seen by: what came spoilt was passed by"),
    (5011, Scenario::Relays, "seen by: what waited for a spoilt record was passed by"),
    (5041, Scenario::People, "who lost the right to write saw what nobody else did"),
    (5031, Scenario::People, "who was a carrier for a moment never got the keys of what was written meanwhile"),
    (5035, Scenario::People, "who was a carrier for a moment never got the keys of what was written meanwhile"),
    (1013, Scenario::Swarm, "a branch of a fork was not listed after a comparison"),
    (1238, Scenario::Swarm, "a spoilt copy of a record that had waited was kept, and owed for good"),
    (1252, Scenario::Swarm, "a comparison that could not begin was tried every five seconds for months"),
    (66, Scenario::Swarm, "one device had a document less than the others"),
    (153, Scenario::Swarm, "a store that was put back twice said what was pending in it in both of its lives"),
    (2024, Scenario::Swarm, "a store that was put back twice said what was pending in it in both of its lives"),
    (3036, Scenario::Swarm, "an empty document of who had lost the right to write counted as one more"),
    (3518, Scenario::Swarm, "an empty document of who had lost the right to write counted as one more"),
    (3648, Scenario::Swarm, "an empty document of who had lost the right to write counted as one more"),
    (3677, Scenario::Swarm, "an empty document of who had lost the right to write counted as one more"),
    (3684, Scenario::Swarm, "an empty document of who had lost the right to write counted as one more"),
    (3231, Scenario::Swarm, "what stood on a Join was refused before the Join's attestation came, and not sent again"),
    (3267, Scenario::Swarm, "a workspace that a lying relay made up was asked for every half minute for ever"),
    (3410, Scenario::Swarm, "who looked for a scanned device without a session was woken again and again"),
    (3429, Scenario::Swarm, "a spoilt record with a spoilt identity log counted after a restart"),
    (3671, Scenario::Swarm, "a store that was put back said twice what a wiped relay had lost"),
    (3025, Scenario::Swarm, "a relay's word on a place that had not moved was stored again and again"),
    (3053, Scenario::Swarm, "a relay's word on a place that had not moved was stored again and again"),
    (3228, Scenario::Swarm, "a relay's word on a place that had not moved was stored again and again"),
    (1668, Scenario::Swarm, "seen by: what stood on a third's work that had not come was not shown"),
    (1727, Scenario::Swarm, "an entry was kept with a signature that a lying relay had spoilt"),
    (2588, Scenario::Swarm, "a device that was linked was looked for under the id from before, and nobody judged it"),
    (3257, Scenario::Swarm, "a device that fell with the one that had linked it was judged as a member's"),
    (6289, Scenario::Swarm, "a receipt that was kept back was waited for as long as the session lived"),
    (8244, Scenario::Swarm, "seen by: a relay left an entry out for one device and gave it the next in its place"),
    (10719, Scenario::Swarm, "seen by: a word on a log from before it was put back, by way of another relay"),
    (14468, Scenario::Swarm, "seen by: a word on a log from before it was put back, by way of another relay"),
    (21536, Scenario::Swarm, "a reader alone held what a lost member wrote, and no relay took it back from one"),
    (21872, Scenario::Swarm, "files were put back on a disk whose power was cut, and the cut took from them"),
    (245, Scenario::Snapshots, "what a relay had deleted was said to be in a snapshot that it had deleted since"),
    (18, Scenario::Snapshots, "what a relay had deleted was said to be in a snapshot that it had deleted since"),
    (48, Scenario::Snapshots, "what a relay had deleted was said to be in a snapshot that it had deleted since"),
    (
        20003,
        Scenario::Snapshots,
        "what a log's floor begins with was refused in short form, and sent again at once for ever",
    ),
    (20106, Scenario::Snapshots, "what had waited below a floor waited on above it"),
    (1102, Scenario::Partial, "a fault of the disk took back what was asked for"),
    (1329, Scenario::Partial, "seen by: of words that the other device does not ask for"),
    (7913, Scenario::Partial, "seen by: of words that the other device does not ask for"),
    (37100, Scenario::Swarm, "words fell with those of a lost device of the same user, on which they stand"),
    (44384, Scenario::Swarm, "words fell with those of a lost device of the same user, on which they stand"),
    (41579, Scenario::Swarm, "a device waited for what nobody has any more"),
    (43812, Scenario::Swarm, "what had waited behind a spoilt entry was owed to the relay that had listed it"),
    (49159, Scenario::Swarm, "changes were folded of which one showed and one waited for what was cut off"),
    (50096, Scenario::Swarm, "changes were folded of which one showed and one waited for what was cut off"),
];

#[test]
fn histories_that_broke_something_once_break_nothing_any_more() {
    for (seed, scenario, what) in REGRESSIONS {
        let played = play(&Recipe::new(seed, scenario));
        assert!(played.violation.is_none(), "{seed} ({what}): {:?}", played.violation);
    }
}
