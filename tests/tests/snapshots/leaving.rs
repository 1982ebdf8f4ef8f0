//! Stories of words whose authors leave: what decides counts those who are here, and what was enough once decides nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::protocol::ids::UserId;
use tombolo::protocol::membership::Vouched;
use tombolo::protocol::record::Role;
use tombolo_tests::Net;

use crate::support::{
    FEW, RELAY, alone, betrayed, covers, newcomer, publishes, redden, remove, remove_user, shown,
    spoil_what_is_covered, vouched, words, written,
};

#[test]
fn of_those_who_are_left_one_is_enough_if_there_is_one_and_a_reader_opens_from_what_that_one_vouched_for() {
    let (mut net, [alice, bob, carol, dan]) = written(571, ["alice", "bob", "carol", "dan"]);
    publishes(&mut net, alice);
    publishes(&mut net, bob);
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Lacking { have: 1, need: 2 }));
    for goes in [carol, dan] {
        remove(&mut net, alice, goes);
        net.run_until_quiet();
        goes.kill(&mut net);
    }
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Enough));
    let rita = newcomer(&mut net, alice, "rita", Role::Reader);
    assert!(spoil_what_is_covered(&net, rita) >= 16);
    let expected = shown(&mut net, alice);
    assert_eq!(alone(&mut net, rita), expected);
    net.heal();
    net.run_until_quiet();
    net.assert_equal(&[alice, bob, rita]);
}

#[test]
fn everybody_is_removed_but_the_author_and_the_one_newcomer_makes_the_state_again_before_it_counts() {
    let mut net = Net::seeded(572);
    let [alice, bob, carol, dan] = net.replicas(["alice", "bob", "carol", "dan"]);
    for word in ["one", "two", "three", "four", "five", "six"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in [alice, carol, dan] {
        publishes(&mut net, replica);
    }
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Enough));
    for goes in [bob, carol, dan] {
        remove(&mut net, alice, goes);
        net.run_until_quiet();
        goes.kill(&mut net);
    }
    let dora = newcomer(&mut net, alice, "dora", Role::Writer);
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::WasEnough));
    // Nothing is opened from it while what it covers can be had.
    assert!(spoil_what_is_covered(&net, dora) >= 12);
    assert_eq!(alone(&mut net, dora), [Vec::<String>::new(), Vec::new()], "nothing is left of its entries");
    net.heal();
    net.run_for(Duration::from_secs(120));
    publishes(&mut net, dora);
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Enough));
    dora.kill(&mut net);
    let expected = shown(&mut net, alice);
    assert!(spoil_what_is_covered(&net, dora) >= 12);
    assert_eq!(alone(&mut net, dora), expected);
    net.heal();
    net.run_for(Duration::from_secs(120));
    net.assert_equal(&[alice, dora]);
}

#[test]
fn what_two_colluders_vouched_for_is_believed_by_nobody_who_comes_after_they_were_removed() {
    let (mut net, [alice, bob, mallory], false_ones) = betrayed(573, &["mona", "nina"], |_, _, _, bytes| redden(bytes));
    assert!(false_ones.iter().all(|last| vouched(&net, last) == Vouched::Enough));
    let mallory_is = mallory.ids(&net).0;
    let spoke = words(&net).into_iter().filter(|word| false_ones.iter().any(|last| last.hash() == word.snapshot));
    let members = net.membership(RELAY);
    let colluders = spoke.filter(|word| word.device != mallory_is);
    let colluders = colluders.filter_map(|word| Some(members.view().device(&word.device)?.user));
    let colluders: BTreeSet<UserId> = colluders.collect();
    assert_eq!(colluders.len(), 2);
    for user in colluders {
        remove_user(&mut net, alice, user);
        net.run_until_quiet();
    }
    assert!(false_ones.iter().all(|last| vouched(&net, last) == Vouched::WasEnough));
    let dora = newcomer(&mut net, alice, "dora", Role::Writer);
    dora.publish_from(&mut net, FEW);
    net.start(dora);
    net.run_until_quiet();
    assert!(shown(&mut net, dora).iter().all(|words| words.contains(&"red".to_owned())));
    net.run_until_quiet();
    assert_eq!(dora.counted(&net, SetAsideReason::SnapshotMismatch), false_ones.len() as u64);
    net.assert_converged([alice, bob, mallory, dora]);
}
