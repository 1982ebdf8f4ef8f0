//! A relay that serves another history than the one it signed for: reordered, with gaps, cut, forked.

use std::time::Duration;

use tombolo::engine::Event;
use tombolo::protocol::entry::Entry;
use tombolo::protocol::frame::{Frame, Status};
use tombolo::protocol::receipt::{Receipt, Signed};
use tombolo::{EvidenceKind, RelayEvidence, SetAsideReason};
use tombolo_tests::lies;
use tombolo_tests::tamper::Planted;
use tombolo_tests::{Net, Replica};

use crate::support::{RELAY, others_go_on};

fn evidence(net: &mut Net, replica: Replica) -> Vec<RelayEvidence> {
    let workspace = net.workspace();
    let found = net.act(replica, |engine, _, tx| engine.relay_evidence(&workspace, tx));
    let Ok(Some(found)) = found else { unreachable!("the workspace is here") };
    found
}

fn rolled_back(event: &Event) -> bool {
    matches!(event, Event::RelayRollback { .. })
}

fn forked(event: &Event) -> bool {
    matches!(event, Event::RelayFork { .. })
}

/// Alice writes words one by one that only the relay hears; then the relay forgets that it ever had them.
/// Returns their entries in order, and how she said at last how far she had come.
fn written_and_unlogged(net: &mut Net, [alice, bob]: [Replica; 2], words: usize) -> (Vec<Entry>, Status) {
    let document = net.documents()[0];
    net.back_up_relay(RELAY);
    let before = net.entries(RELAY);
    net.cut(bob);
    net.run_for(Duration::from_secs(60));
    let (tap, tapped) = lies::tap();
    net.patch(alice, tap);
    for nth in 0..words {
        alice.try_edit(net, document, &format!("word {nth}")).unwrap();
        net.run_for(Duration::from_secs(2));
    }
    net.run_for(Duration::from_secs(3700));
    let mut entries = net.entries(RELAY);
    entries.retain(|entry| !before.contains(entry));
    assert_eq!(entries.len(), words, "one entry a word");
    net.cut(alice);
    net.run_for(Duration::from_secs(60));
    net.roll_back_relay(RELAY);
    let said = tapped.borrow();
    let status = said.iter().rev().find_map(|frame| match frame {
        Frame::Status(status) => Some(status.clone()),
        _ => None,
    });
    (entries, status.unwrap())
}

#[test]
fn case_02_entries_in_any_order_wait_for_those_before_them() {
    for seed in 0..4 {
        let mut net = Net::seeded(200 + seed);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        let (mut entries, _) = written_and_unlogged(&mut net, [alice, bob], 12);
        for last in (1..entries.len()).rev() {
            let at = net.chance().index(last + 1);
            entries.swap(last, at);
        }
        let planted: Vec<Planted<'_>> = entries.iter().map(Planted::Entry).collect();
        net.plant(RELAY, &planted);
        net.heal_to(bob, RELAY);
        net.run_for(Duration::from_secs(120));
        assert!(bob.counted(&net, SetAsideReason::Gap) > 0);
        assert!(bob.debt(&mut net).held.is_empty(), "all that was held is released");
        let document = net.documents()[0];
        assert!((0..12).all(|nth| bob.has(&mut net, document, &format!("word {nth}"))));
        net.heal();
        others_go_on(&mut net, &[alice, bob]);
        net.run_until_quiet();
        net.assert_converged([alice, bob]);
    }
}

#[test]
fn case_03_a_dropped_entry_is_asked_for_again_and_missed_aloud() {
    let mut net = Net::seeded(3);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    let (entries, status) = written_and_unlogged(&mut net, [alice, bob], 6);
    let kept = entries.iter().filter(|entry| entry.hash() != entries[2].hash());
    let planted: Vec<Planted<'_>> = kept.map(Planted::Entry).collect();
    net.plant(RELAY, &planted);
    let (tap, asked) = lies::tap();
    net.patch(bob, tap);
    // What alice says of herself comes through: nobody but her could have said it.
    net.lie(RELAY, tells_too(status));
    net.heal_to(bob, RELAY);
    net.run_for(Duration::from_secs(20));
    assert_eq!(bob.debt(&mut net).held.get(&SetAsideReason::Gap), Some(&3));
    assert_eq!(bob.counted(&net, SetAsideReason::Gap), 3);
    assert!(!bob.debt(&mut net).is_settled());
    let chain = entries[2].header().chain.id();
    let fetched = |frame: &Frame| match frame {
        Frame::Fetch(fetch) => fetch.chain == chain && fetch.from_seq == entries[2].header().seq,
        _ => false,
    };
    assert!(asked.borrow().iter().any(fetched));
    assert!(bob.has(&mut net, document, "word 1") && !bob.has(&mut net, document, "word 3"));
    assert_eq!(bob.counted(&net, SetAsideReason::Withheld), 0, "a slow relay is not suspicious yet");
    net.run_for(Duration::from_secs(30));
    assert!(bob.was_told(&net, |event| matches!(event, Event::Withheld { .. })), "{:?}", bob.events(&net));
    assert_eq!(bob.counted(&net, SetAsideReason::Withheld), 1);
    // The relay gives up the log with the hole in it, and its devices bring back what it lacks.
    net.honest(RELAY);
    net.roll_back_relay(RELAY);
    net.heal();
    others_go_on(&mut net, &[alice, bob]);
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

/// Sends this status row behind every head.
fn tells_too(status: Status) -> lies::Lie {
    lies::rewrite(move |frame| match frame {
        Frame::Head(head) => vec![head.into(), status.clone().into()],
        frame => vec![frame],
    })
}

#[test]
fn case_04_a_log_that_ends_before_what_was_signed_is_shown_and_work_goes_on() {
    let mut net = Net::seeded(4);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.back_up_relay(RELAY);
    alice.edit(&mut net, "lost at the relay");
    net.run_until_quiet();
    net.cut(bob);
    net.roll_back_relay(RELAY);
    alice.edit(&mut net, "local work goes on");
    net.run_until_quiet();
    assert!(alice.was_told(&net, rolled_back));
    assert_eq!(alice.counted(&net, SetAsideReason::RelayRollback), 1);
    assert!(!alice.was_told(&net, forked), "it was admitted");
    net.heal();
    others_go_on(&mut net, &[alice, bob]);
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn case_05_an_old_backup_that_is_served_to_all_is_noticed_by_all_who_have_seen_more() {
    let mut net = Net::seeded(5);
    let replicas = net.replicas(["alice", "bob", "carol"]);
    net.back_up_relay(RELAY);
    replicas.iter().for_each(|replica| replica.edit(&mut net, &format!("by {replica:?}")));
    net.run_until_quiet();
    net.roll_back_relay(RELAY);
    net.run_until_quiet();
    for replica in replicas {
        assert!(replica.was_told(&net, rolled_back), "{replica:?}: {:?}", replica.events(&net));
        assert!(replica.counted(&net, SetAsideReason::RelayRollback) > 0);
    }
    let dave = net.device("dave");
    net.join(replicas[0], dave, tombolo::protocol::record::Role::Writer);
    others_go_on(&mut net, &replicas);
    net.run_until_quiet();
    net.assert_all_converged(&[replicas.as_slice(), &[dave]].concat());
}

#[test]
fn case_06_two_heads_of_one_length_are_found_out_when_those_who_were_shown_them_meet_elsewhere() {
    let mut net = Net::seeded(59);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let elsewhere = net.add_relay();
    net.back_up_relay(RELAY);
    net.cut(bob);
    alice.edit(&mut net, "one history");
    net.run_for(Duration::from_secs(60));
    net.cut(alice);
    net.roll_back_relay(RELAY);
    net.heal_to(bob, RELAY);
    bob.edit(&mut net, "another one");
    net.run_for(Duration::from_secs(120));
    net.cut(bob);
    net.run_for(Duration::from_secs(60));
    for replica in [alice, bob] {
        net.heal_to(replica, elsewhere);
        net.dial_relay(replica, elsewhere);
    }
    net.run_for(Duration::from_secs(120));
    let caught: Vec<Replica> = [alice, bob]
        .into_iter()
        .filter(|replica| replica.was_told(&net, |event| matches!(event, Event::RelayFork { .. })))
        .collect();
    assert!(!caught.is_empty(), "{:?}", alice.events(&net));
    for replica in caught {
        assert!(replica.counted(&net, SetAsideReason::RelayFork) > 0);
        let found = evidence(&mut net, replica);
        let fork = found.iter().find(|found| found.kind == EvidenceKind::Fork).unwrap();
        let word = |bytes: &[u8]| Signed::<Receipt>::decode(bytes).unwrap().verify().unwrap().clone();
        let (ours, theirs) = (word(fork.ours.as_deref().unwrap()), word(&fork.theirs));
        assert_eq!((ours.relay, ours.log, ours.position), (theirs.relay, theirs.log, theirs.position));
        assert_ne!(ours.head, theirs.head);
        replica.crash(&mut net);
        assert_eq!(evidence(&mut net, replica), found, "it is kept");
    }
    net.heal();
    others_go_on(&mut net, &[alice, bob]);
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn case_63_a_relay_restored_from_a_backup_is_healed_in_whatever_order_its_devices_come() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut net = Net::seeded(63);
        let replicas = net.replicas(["alice", "bob", "carol"]);
        net.back_up_relay(RELAY);
        for round in 0..3 {
            replicas.iter().for_each(|replica| replica.edit(&mut net, &format!("{round} by {replica:?}")));
            net.run_for(Duration::from_secs(5));
        }
        net.run_until_quiet();
        replicas.iter().for_each(|replica| net.cut(*replica));
        net.run_for(Duration::from_secs(60));
        net.roll_back_relay(RELAY);
        for at in order {
            net.heal_to(replicas[at], RELAY);
            net.run_for(Duration::from_secs(20));
        }
        net.heal();
        others_go_on(&mut net, &replicas);
        net.run_until_quiet();
        for replica in replicas {
            assert!(replica.was_told(&net, rolled_back), "{replica:?}: {:?}", replica.events(&net));
            assert!(replica.counted(&net, SetAsideReason::RelayRollback) > 0);
            assert_eq!(replica.counted(&net, SetAsideReason::RelayFork), 0);
            assert!(!replica.was_told(&net, forked));
        }
        net.assert_converged(replicas);
    }
}
