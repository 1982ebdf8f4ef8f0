//! Stories of documents that are opened from a snapshot which enough others vouched for, and of what is opened from none.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::protocol::ids::{DeviceId, DocumentTag, EntryHash};
use tombolo::protocol::membership::Vouched;
use tombolo::protocol::record::Role;
use tombolo_tests::{CrashAt, Replica};

use crate::support::{
    FEW, RELAY, alone, betrayed, covers, device, newcomer, publishes, redden, shown, spoil_what_is_covered, vouched,
    vouched_by,
};

#[test]
fn a_device_that_comes_new_opens_from_what_two_others_vouch_for_and_the_tail_and_reads_nothing_below() {
    let (mut net, four @ [alice, bob, ..]) = vouched_by(521, 2);
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Enough));
    bob.edit(&mut net, "after");
    net.run_until_quiet();
    let dora = newcomer(&mut net, alice, "dora", Role::Writer);
    assert!(spoil_what_is_covered(&net, dora) >= 16);
    let expected = shown(&mut net, alice);
    assert_eq!(alone(&mut net, dora), expected);
    assert_eq!(dora.counted(&net, SetAsideReason::Damaged), 0);
    // What is typed on top of it goes the usual way.
    dora.edit(&mut net, "mine");
    net.heal();
    net.run_until_quiet();
    alice.edit(&mut net, "answer");
    net.run_until_quiet();
    dora.crash(&mut net);
    net.run_until_quiet();
    net.assert_equal(&[alice, bob, dora]);
    net.assert_converged(four);
}

#[test]
fn with_fewer_words_than_are_needed_nothing_is_opened_from_a_snapshot() {
    let (mut net, [alice, ..]) = vouched_by(522, 1);
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Lacking { have: 1, need: 2 }));
    let dora = newcomer(&mut net, alice, "dora", Role::Writer);
    spoil_what_is_covered(&net, dora);
    assert_eq!(alone(&mut net, dora), [Vec::<String>::new(), Vec::new()], "nothing is left of its entries");
    assert!(dora.counted(&net, SetAsideReason::Damaged) > 0);
    net.heal();
    net.run_for(Duration::from_secs(120));
    net.assert_equal(&[alice, dora]);
    assert!(dora.integrity(&net).is_sound(), "a relay has given back what the disk had changed");
}

#[test]
fn a_short_document_is_shown_whole_from_a_snapshot_while_the_disk_has_changed_what_that_covers() {
    let (mut net, [alice, bob, ..]) = vouched_by(523, 2);
    bob.edit(&mut net, "after");
    net.run_until_quiet();
    bob.kill(&mut net);
    assert!(spoil_what_is_covered(&net, bob) >= 16);
    let expected = shown(&mut net, alice);
    assert_eq!(alone(&mut net, bob), expected);
    assert!(bob.counted(&net, SetAsideReason::Damaged) > 0, "it is read, and known");
    bob.edit(&mut net, "meanwhile");
    net.heal();
    net.run_for(Duration::from_secs(120));
    assert!(bob.integrity(&net).is_sound() && bob.is_settled(&mut net));
    net.assert_equal(&[alice, bob]);
}

#[test]
fn a_device_that_dies_while_it_opens_from_a_snapshot_loses_nothing() {
    for (nth, at) in (1..5).flat_map(|nth| [(nth, CrashAt::BeforeCommit), (nth, CrashAt::AfterCommit)]) {
        let (mut net, four @ [alice, ..]) = vouched_by(524, 2);
        let dora = newcomer(&mut net, alice, "dora", Role::Writer);
        net.start(dora);
        dora.crash_at_commit(&mut net, nth, at);
        for word in ["mine", "also"] {
            dora.edit_if_up(&mut net, word);
            net.run_for(Duration::from_secs(5));
        }
        net.start(dora);
        net.run_until_quiet();
        dora.edit(&mut net, "last");
        net.run_until_quiet();
        assert!(dora.integrity(&net).is_sound(), "commit {nth} {at:?}");
        let all: Vec<Replica> = four.into_iter().chain([dora]).collect();
        net.assert_all_converged(&all);
    }
}

#[test]
fn what_an_admin_excludes_is_gone_though_a_snapshot_holds_it() {
    let (mut net, [alice, bob, ..]) = vouched_by(525, 2);
    let dora = newcomer(&mut net, alice, "dora", Role::Writer);
    net.start(dora);
    net.run_until_quiet();
    assert!(shown(&mut net, dora).iter().all(|words| words.contains(&"blue".to_owned())));
    // Bob's last entry of each document.
    let entries = net.entries(RELAY).into_iter().filter(|entry| entry.header().chain.device == device(&net, bob));
    let last: BTreeMap<DocumentTag, EntryHash> =
        entries.map(|entry| (entry.header().chain.document, entry.hash())).collect();
    let blue: Vec<EntryHash> = last.into_values().collect();
    let workspace = net.workspace();
    let stated = net.act(alice, move |engine, now, tx| engine.judge_entries(now, &workspace, blue, false, tx));
    assert!(matches!(stated, Ok(Some(_))), "{stated:?}");
    net.run_for(Duration::from_secs(90));
    for _ in 0..2 {
        assert!(shown(&mut net, dora).iter().all(|words| !words.contains(&"blue".to_owned())));
        net.assert_equal(&[alice, bob, dora]);
        dora.crash(&mut net);
        net.run_until_quiet();
    }
}

#[test]
fn what_colluders_vouch_for_and_does_not_load_is_counted_once_and_the_document_built_of_its_entries() {
    type Falsify = fn(&mut Vec<u8>);
    let poisons: [Falsify; 4] = [
        |payload| payload.truncate(DeviceId::BYTES + 3),
        |payload| payload[0] ^= 1,
        |payload| payload.iter_mut().skip(DeviceId::BYTES).for_each(|byte| *byte ^= 0xa5),
        |payload| payload.truncate(DeviceId::BYTES),
    ];
    for (seed, poison) in (530..).zip(poisons) {
        let (mut net, [alice, bob, _], false_ones) =
            betrayed(seed, &["mona", "nina"], |_, _, _, payload| poison(payload));
        assert!(false_ones.iter().all(|last| vouched(&net, last) == Vouched::Enough));
        let dora = newcomer(&mut net, alice, "dora", Role::Writer);
        net.start(dora);
        net.run_until_quiet();
        for _ in 0..3 {
            shown(&mut net, dora);
        }
        assert_eq!(dora.counted(&net, SetAsideReason::SnapshotMismatch), 2, "{seed}");
        dora.edit(&mut net, "mine");
        net.run_until_quiet();
        dora.crash(&mut net);
        net.run_until_quiet();
        assert!(dora.integrity(&net).is_sound());
        net.assert_converged([alice, bob, dora]);
    }
}

#[test]
fn two_who_collude_are_believed_by_a_newcomer_until_it_makes_the_state_again() {
    let (mut net, [alice, bob, _], false_ones) = betrayed(540, &["mona", "nina"], |_, _, _, bytes| redden(bytes));
    assert!(false_ones.iter().all(|last| vouched(&net, last) == Vouched::Enough));
    let dora = newcomer(&mut net, alice, "dora", Role::Writer);
    dora.publish_from(&mut net, FEW);
    net.start(dora);
    net.run_until_quiet();
    // automerge's file has a checksum of its own, yrs's update has none.
    let believed = shown(&mut net, dora).iter().filter(|words| words.contains(&"RED".to_owned())).count();
    assert_eq!(believed, 1);
    net.run_until_quiet();
    for _ in 0..2 {
        assert!(shown(&mut net, dora).iter().all(|words| words.contains(&"red".to_owned())));
        net.assert_converged([alice, bob, dora]);
        dora.crash(&mut net);
        net.run_until_quiet();
    }
    // Nobody who holds what was written is shown anything else.
    for replica in [alice, bob] {
        publishes(&mut net, replica);
    }
    net.assert_converged([alice, bob, dora]);
}
