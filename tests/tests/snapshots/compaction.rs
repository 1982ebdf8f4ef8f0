//! Stories of devices that give up what a snapshot stands for, and of snapshots that go on from another one.

use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::protocol::record::Role;
use tombolo::protocol::snapshot::Cover;
use tombolo_tests::{CrashAt, Net, Replica};

use crate::support::{
    FEW, RELAY, RETENTION, alone, betrayed, covers, horizons, pruned, publishes, remove, rows, shown,
    spoil_below_what_is_covered, spoil_what_is_covered, vouched, vouched_by, words,
};

/// Returns how many entries lie in a device's store; the device starts anew.
fn entries(net: &mut Net, replica: Replica) -> i64 {
    rows(net, replica, "entry")
}

/// Lets devices give up what has had its words for the retention, and waits for longer than that.
fn compact(net: &mut Net, replicas: &[Replica]) {
    for replica in replicas {
        replica.compact_after(net, RETENTION);
        replica.crash(net);
    }
    net.run_for(RETENTION * 3);
    net.run_until_quiet();
}

/// Everybody goes on writing, starts anew, and has the same as all others; nothing is owed, and every store is sound.
fn all_goes_on(net: &mut Net, replicas: &[Replica]) {
    for (nth, replica) in replicas.iter().enumerate() {
        replica.edit(net, &format!("on{nth}"));
        net.run_until_quiet();
    }
    for _ in 0..2 {
        net.assert_all_converged(replicas);
        for replica in replicas {
            assert!(replica.is_settled(net) && replica.integrity(net).is_sound(), "{:?}", replica.debt(net));
            replica.crash(net);
        }
        net.run_until_quiet();
    }
}

#[test]
fn devices_give_up_what_a_snapshot_stands_for_and_show_the_same() {
    let (mut net, four @ [alice, bob, carol, _]) = vouched_by(701, 2);
    let before = shown(&mut net, alice);
    let many = entries(&mut net, alice);
    // Alice published, Carol vouched for it, and Bob never made it before.
    compact(&mut net, &[alice, bob, carol]);
    for replica in [alice, bob, carol] {
        assert_eq!(shown(&mut net, replica), before);
        assert_eq!(alone(&mut net, replica), before);
        net.heal();
        assert_eq!(horizons(&mut net, replica), 2);
        // Of each document the six below Alice's covered end go, and the one of Bob's two.
        assert_eq!(entries(&mut net, replica), many - 2 * 7);
    }
    all_goes_on(&mut net, &four);
}

#[test]
fn the_next_snapshot_goes_on_from_the_one_that_everybody_stands_on() {
    let (mut net, four @ [alice, bob, carol, dan]) = vouched_by(702, 2);
    compact(&mut net, &four);
    let first: Vec<_> = covers(&net).into_iter().map(|(last, _)| last.hash()).collect();
    for round in 0..3 {
        for word in ["a", "b", "c", "d", "e", "f"] {
            alice.edit(&mut net, &format!("{word}{round}"));
            net.run_until_quiet();
        }
        bob.edit(&mut net, &format!("x{round}"));
        net.run_until_quiet();
        for replica in [alice, carol, dan] {
            publishes(&mut net, replica);
        }
        net.run_for(RETENTION * 3);
        assert!(pruned(&mut net) > 1000);
        for replica in four {
            assert_eq!(horizons(&mut net, replica), 2, "{round}");
            let left = entries(&mut net, replica);
            assert!(left < 30, "{left} entries in round {round}");
        }
    }
    let later: Vec<_> = covers(&net).into_iter().filter(|(last, _)| !first.contains(&last.hash())).collect();
    assert!(!later.is_empty() && later.iter().all(|(_, cover)| cover.base.is_some()));
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    assert_eq!(shown(&mut net, dora), shown(&mut net, alice));
    all_goes_on(&mut net, &[alice, bob, carol, dan, dora]);
}

#[test]
fn who_holds_all_makes_a_snapshot_again_that_goes_on_from_one_that_it_never_made() {
    let (mut net, four @ [alice, bob, carol, dan]) = vouched_by(703, 2);
    compact(&mut net, &[alice]);
    for word in ["a", "b", "c", "d", "e", "f"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    publishes(&mut net, alice);
    let spoke = words(&net).len();
    // Bob looks at snapshots for the first time: at the older one, and at what goes on from it.
    publishes(&mut net, bob);
    assert_eq!(words(&net).len(), spoke + 4);
    for replica in [carol, dan] {
        publishes(&mut net, replica);
    }
    assert_eq!(covers(&net).iter().filter(|(_, cover)| cover.base.is_some()).count(), 2);
    all_goes_on(&mut net, &four);
}

#[test]
fn nothing_goes_for_a_snapshot_with_too_few_words_or_too_soon() {
    let (mut net, four) = vouched_by(704, 1);
    compact(&mut net, &four);
    for replica in four {
        assert_eq!(horizons(&mut net, replica), 0);
    }
    let (mut net, [alice, ..]) = vouched_by(705, 2);
    alice.compact_after(&mut net, RETENTION);
    alice.crash(&mut net);
    net.run_for(RETENTION / 2);
    assert_eq!(horizons(&mut net, alice), 0);
    net.run_for(RETENTION);
    assert_eq!(horizons(&mut net, alice), 2);
}

#[test]
fn nothing_goes_that_a_relay_lacks() {
    let (mut net, four @ [alice, ..]) = vouched_by(706, 2);
    let other = net.add_relay();
    net.cut_from(alice, other);
    net.dial_relay(alice, other);
    compact(&mut net, &[alice]);
    assert_eq!(horizons(&mut net, alice), 0);
    net.heal_to(alice, other);
    net.run_for(Duration::from_secs(7200));
    assert_eq!(horizons(&mut net, alice), 2);
    all_goes_on(&mut net, &four);
}

#[test]
fn a_device_that_dies_while_it_gives_something_up_gives_it_up_later() {
    let mut deaths = 0;
    for (nth, at) in (1..6).flat_map(|nth| [(nth, CrashAt::BeforeCommit), (nth, CrashAt::AfterCommit)]) {
        let (mut net, four @ [alice, ..]) = vouched_by(707, 2);
        alice.compact_after(&mut net, RETENTION);
        alice.crash(&mut net);
        net.run_for(RETENTION - Duration::from_secs(60));
        alice.crash_at_commit(&mut net, nth, at);
        net.run_for(RETENTION);
        deaths += u32::from(!alice.is_up(&net));
        alice.edit_if_up(&mut net, "mine");
        net.run_until_quiet();
        net.start(alice);
        net.run_for(RETENTION * 2);
        assert_eq!(horizons(&mut net, alice), 2, "commit {nth} {at:?}");
        alice.spare(&mut net);
        all_goes_on(&mut net, &four);
    }
    assert!(deaths >= 4, "two documents, and before and after each commit: {deaths}");
}

#[test]
fn what_the_disk_has_changed_is_no_debt_once_a_snapshot_stands_for_it() {
    let (mut net, four @ [alice, ..]) = vouched_by(708, 2);
    let before = shown(&mut net, alice);
    alice.kill(&mut net);
    assert!(spoil_below_what_is_covered(&net, alice) > 0);
    assert_eq!(alone(&mut net, alice), before);
    assert!(!alice.debt(&mut net).set_aside.is_empty());
    // Cut off: no relay mends anything, but all was there before.
    compact(&mut net, &[alice]);
    assert_eq!(horizons(&mut net, alice), 2);
    assert!(alice.debt(&mut net).set_aside.is_empty());
    net.heal();
    net.run_until_quiet();
    all_goes_on(&mut net, &four);
}

#[test]
fn nothing_goes_while_the_disk_has_changed_what_a_chain_would_begin_with() {
    let (mut net, four @ [alice, ..]) = vouched_by(714, 2);
    alice.kill(&mut net);
    assert!(spoil_what_is_covered(&net, alice) > 0);
    net.cut(alice);
    compact(&mut net, &[alice]);
    assert_eq!(horizons(&mut net, alice), 0);
    net.heal();
    // All that stands in the way is asked for at once, and what is mended is weighed at once.
    net.run_for(Duration::from_secs(1800));
    assert_eq!(horizons(&mut net, alice), 2);
    all_goes_on(&mut net, &four);
}

#[test]
fn a_relay_that_lost_its_log_has_the_rest_from_those_who_gave_it_up() {
    for (seed, lose) in [(709, Net::lose_log as fn(&mut Net, _)), (710, Net::wipe_relay)] {
        let (mut net, four @ [alice, ..]) = vouched_by(seed, 2);
        compact(&mut net, &four);
        lose(&mut net, RELAY);
        net.run_for(Duration::from_secs(7200));
        let dora = net.device("dora");
        net.join(alice, dora, Role::Writer);
        net.run_until_quiet();
        let five: Vec<Replica> = four.into_iter().chain([dora]).collect();
        all_goes_on(&mut net, &five);
        assert_eq!(horizons(&mut net, dora), 2, "{seed}");
    }
}

#[test]
fn an_old_copy_of_a_device_that_gave_things_up_goes_on() {
    let (mut net, four @ [alice, ..]) = vouched_by(711, 2);
    alice.back_up(&net);
    compact(&mut net, &[alice]);
    alice.edit(&mut net, "lost");
    net.run_until_quiet();
    alice.restore(&mut net, true);
    net.run_until_quiet();
    all_goes_on(&mut net, &four);
    // And a copy of what is left.
    alice.back_up(&net);
    alice.edit(&mut net, "more");
    net.run_until_quiet();
    alice.restore(&mut net, true);
    net.run_until_quiet();
    all_goes_on(&mut net, &four);
}

#[test]
fn who_was_removed_stays_in_what_a_snapshot_stands_for() {
    let (mut net, [alice, bob, carol, dan]) = vouched_by(712, 2);
    compact(&mut net, &[alice, carol]);
    let before = shown(&mut net, alice);
    remove(&mut net, alice, bob);
    net.run_until_quiet();
    assert_eq!(shown(&mut net, alice), before);
    all_goes_on(&mut net, &[alice, carol, dan]);
}

#[test]
fn nobody_who_holds_the_entries_gives_them_up_for_what_others_claim() {
    let (mut net, [alice, bob, _], false_ones) =
        betrayed(713, &["mona", "nina"], |_, _, _: &mut Cover, bytes| crate::support::redden(bytes));
    assert!(false_ones.iter().all(|last| vouched(&net, last) == tombolo::protocol::membership::Vouched::Enough));
    let before = shown(&mut net, alice);
    for replica in [alice, bob] {
        replica.compact_after(&mut net, RETENTION);
        replica.save_from(&mut net, FEW);
        replica.crash(&mut net);
    }
    net.run_for(RETENTION * 4);
    for replica in [alice, bob] {
        assert_eq!(shown(&mut net, replica), before);
        assert!(replica.counted(&net, SetAsideReason::SnapshotMismatch) > 0);
        assert_eq!(horizons(&mut net, replica), 0);
        assert!(replica.integrity(&net).is_sound());
    }
}
