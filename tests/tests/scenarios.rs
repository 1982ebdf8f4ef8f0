//! Stories of devices, crashes, cuts and relays that lose what they had.

use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::engine::Event;
use tombolo::protocol::record::Role;
use tombolo_tests::{CrashAt, Net, RelayNode};

#[test]
fn edits_made_offline_survive_a_crash_before_the_relay_acknowledges() {
    let mut net = Net::seeded(7);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.cut(alice);
    alice.edit(&mut net, "milk");
    alice.crash(&mut net);
    net.heal();
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn one_seed_is_one_history() {
    let history = || {
        let mut net = Net::seeded(11);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        net.cut(alice);
        alice.edit(&mut net, "milk");
        bob.edit(&mut net, "bread");
        net.heal();
        net.run_until_quiet();
        net.assert_converged([alice, bob]);
        net.trace_hash()
    };
    assert_eq!(history(), history());
}

#[test]
fn a_crash_at_any_commit_loses_nothing_that_was_confirmed() {
    for at in [CrashAt::BeforeCommit, CrashAt::AfterCommit] {
        for nth in 1..=24 {
            let mut net = Net::seeded(100 + nth);
            let [alice, bob] = net.replicas(["alice", "bob"]);
            alice.crash_at_commit(&mut net, nth, at);
            for round in 0..4 {
                alice.edit_if_up(&mut net, &format!("a{round}"));
                bob.edit(&mut net, &format!("b{round}"));
                net.run_for(Duration::from_millis(300));
            }
            net.run_until_quiet();
            alice.spare(&mut net);
            net.start(alice);
            net.run_until_quiet();
            net.assert_converged([alice, bob]);
        }
    }
}

#[test]
fn a_device_comes_back_after_weeks_offline() {
    let mut net = Net::seeded(3);
    let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
    net.cut(alice);
    for day in 0..21 {
        alice.edit(&mut net, &format!("alice{day}"));
        bob.edit(&mut net, &format!("bob{day}"));
        carol.edit(&mut net, &format!("carol{day}"));
        net.run_for(Duration::from_secs(24 * 3600));
    }
    net.heal();
    net.run_until_quiet();
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn a_third_device_bridges_two_relays_that_each_see_one() {
    let mut net = Net::seeded(4);
    let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
    let (first, second) = (RelayNode::FIRST, net.add_relay());
    for replica in [alice, bob, carol] {
        net.dial_relay(replica, second);
    }
    net.run_until_quiet();
    net.cut_from(alice, second);
    net.cut_from(bob, first);
    alice.edit(&mut net, "reef");
    bob.edit(&mut net, "tide");
    net.run_for(Duration::from_secs(300));
    net.assert_equal(&[alice, bob, carol]);
    net.heal();
    net.run_until_quiet();
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn a_wiped_relay_is_shown_and_healed_by_its_devices() {
    let mut net = Net::seeded(5);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    alice.edit(&mut net, "milk");
    bob.edit(&mut net, "bread");
    net.run_until_quiet();
    net.wipe_relay(RelayNode::FIRST);
    bob.edit(&mut net, "salt");
    net.run_until_quiet();
    assert!(alice.was_told(&net, |event| matches!(event, Event::RelayReplaced { .. })));
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn a_relay_that_lost_its_log_but_not_its_key_is_healed() {
    let mut net = Net::seeded(6);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    alice.edit(&mut net, "milk");
    net.run_until_quiet();
    net.lose_log(RelayNode::FIRST);
    net.run_until_quiet();
    bob.edit(&mut net, "bread");
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn a_rolled_back_relay_admits_it_and_is_healed() {
    let mut net = Net::seeded(8);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    alice.edit(&mut net, "milk");
    net.run_until_quiet();
    net.back_up_relay(RelayNode::FIRST);
    alice.edit(&mut net, "bread");
    bob.edit(&mut net, "salt");
    net.run_until_quiet();
    net.roll_back_relay(RelayNode::FIRST);
    net.run_until_quiet();
    assert!(alice.was_told(&net, |event| matches!(event, Event::RelayRollback { .. })));
    assert!(!alice.was_told(&net, |event| matches!(event, Event::RelayFork { .. })));
    assert!(alice.counted(&net, SetAsideReason::RelayRollback) > 0);
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn an_entry_for_a_closed_document_is_stored_without_opening_it() {
    let mut net = Net::seeded(12);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    bob.crash(&mut net);
    alice.edit(&mut net, "milk");
    net.run_until_quiet();
    assert_eq!(bob.open_documents(&net), 0, "nothing was opened");
    let debt = bob.debt(&mut net);
    assert!(debt.is_settled(), "{debt:?}");
    net.cut(bob);
    for document in net.documents() {
        assert!(bob.has(&mut net, document, "milk"), "it was stored");
    }
}
