//! Stories of devices, crashes, cuts and relays that lose what they had.

use tombolo_tests::Net;

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
