//! Stories of relays that lost what a snapshot stands for, and of devices that bring no more than that and what came after.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tombolo::protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo::protocol::frame::{Append, Frame};
use tombolo::protocol::ids::ChainId;
use tombolo::protocol::item::LogItem;
use tombolo::protocol::record::Role;
use tombolo_tests::lies;
use tombolo_tests::{CrashAt, Net, Replica};

use crate::support::{
    FEW, RELAY, covers, horizons, much_written, parts, pruned, publishes, remove, shown, vouched_by, written,
};

/// Returns the first entry that a relay's log holds of each chain.
fn begins(net: &Net) -> BTreeMap<ChainId, u64> {
    let mut begins = BTreeMap::new();
    for entry in net.entries(RELAY) {
        begins.entry(entry.header().chain.id()).or_insert(entry.header().seq);
    }
    begins
}

fn taken(net: &Net) -> u64 {
    net.metric(RELAY, "floors_taken_total")
}

fn is_deep(net: &Net) -> bool {
    begins(net).values().any(|seq| *seq > 1)
}

/// Dora came after the relay had deleted what two vouched for; then everybody else is away.
fn with_dora(seed: u64) -> (Net, [Replica; 4], Replica) {
    let (mut net, four @ [alice, bob, ..]) = vouched_by(seed, 2);
    assert!(pruned(&mut net) > 1000);
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    bob.edit(&mut net, "after");
    net.run_until_quiet();
    four.into_iter().for_each(|away| net.cut(away));
    (net, four, dora)
}

/// Everybody is back, and a newcomer learns everything from the relay; nobody lacks or owes anything.
fn all_is_well(net: &mut Net, four: [Replica; 4], dora: Replica) {
    net.heal();
    net.run_for(Duration::from_secs(7200));
    let erin = net.device("erin");
    net.join(four[0], erin, Role::Writer);
    net.run_until_quiet();
    erin.edit(net, "hello");
    four[0].edit(net, "answer");
    net.run_until_quiet();
    let all: Vec<Replica> = four.into_iter().chain([dora, erin]).collect();
    for _ in 0..2 {
        net.assert_all_converged(&all);
        for replica in &all {
            assert!(replica.is_settled(net) && replica.integrity(net).is_sound(), "{:?}", replica.debt(net));
        }
        dora.crash(net);
        erin.crash(net);
        net.restart_relay(RELAY);
        net.run_until_quiet();
    }
}

#[test]
fn who_has_only_the_snapshot_brings_a_relay_that_lost_its_log_everything_that_stands_on_it() {
    for (seed, lose) in [(620, Net::lose_log as fn(&mut Net, _)), (621, Net::wipe_relay)] {
        let (mut net, four, dora) = with_dora(seed);
        lose(&mut net, RELAY);
        dora.edit(&mut net, "mine");
        net.run_for(Duration::from_secs(600));
        assert!(dora.is_settled(&mut net), "{seed}: {:?}", dora.debt(&mut net));
        assert!(taken(&net) >= 2, "{seed}");
        assert!(is_deep(&net), "{seed}");
        let floors = begins(&net);
        all_is_well(&mut net, four, dora);
        // Who has the bodies leaves them out, for the snapshot stands for them.
        let after = begins(&net);
        let stays = |(chain, seq): (&ChainId, &u64)| *seq == 1 || after.get(chain) == Some(seq);
        assert!(floors.iter().all(stays), "{seed}: {floors:?} {after:?}");
        let erin = net.device("frank");
        net.join(four[0], erin, Role::Writer);
        net.run_until_quiet();
        assert_eq!(shown(&mut net, erin), shown(&mut net, four[0]), "{seed}");
        assert_eq!(horizons(&mut net, erin), 2, "{seed}");
    }
}

#[test]
fn a_relay_that_was_put_back_to_before_goes_on_behind_the_gap() {
    let (mut net, [alice, bob, carol, dan]) = written(622, ["alice", "bob", "carol", "dan"]);
    net.back_up_relay(RELAY);
    for word in ["seven", "eight", "nine", "ten"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in [alice, carol, dan] {
        publishes(&mut net, replica);
    }
    assert!(pruned(&mut net) > 1000);
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    [alice, bob, carol, dan].into_iter().for_each(|away| net.cut(away));
    net.roll_back_relay(RELAY);
    dora.edit(&mut net, "mine");
    net.run_for(Duration::from_secs(600));
    assert!(dora.is_settled(&mut net), "{:?}", dora.debt(&mut net));
    assert!(taken(&net) > 0);
    all_is_well(&mut net, [alice, bob, carol, dan], dora);
}

#[test]
fn a_device_that_dies_while_it_shows_a_snapshot_shows_it_anew() {
    for (nth, at) in (1..8).flat_map(|nth| [(nth, CrashAt::BeforeCommit), (nth, CrashAt::AfterCommit)]) {
        let (mut net, four, dora) = with_dora(623);
        net.lose_log(RELAY);
        dora.crash_at_commit(&mut net, nth, at);
        dora.edit_if_up(&mut net, "mine");
        net.run_for(Duration::from_secs(300));
        net.start(dora);
        net.run_for(Duration::from_secs(600));
        assert!(dora.is_settled(&mut net), "commit {nth} {at:?}: {:?}", dora.debt(&mut net));
        assert!(is_deep(&net), "commit {nth} {at:?}");
        all_is_well(&mut net, four, dora);
    }
}

#[test]
fn a_relay_that_stops_while_it_is_shown_a_snapshot_has_all_of_it_or_nothing() {
    let mut stopped_within = 0;
    for step in 0..40 {
        let (mut net, four, dora) = with_dora(624);
        net.lose_log(RELAY);
        dora.edit(&mut net, "mine");
        net.run_for(Duration::from_millis(25 * step));
        net.restart_relay(RELAY);
        // Nothing of the workspace may be there yet.
        let is_there = !net.items_if_any(RELAY).is_empty();
        let held = if is_there { begins(&net) } else { BTreeMap::new() };
        let deep = held.values().filter(|seq| **seq > 1).count();
        let snapshots = if is_there { covers(&net).len() } else { 0 };
        // A chain begins above 1 only where the whole snapshot is there that says so.
        assert!(deep == 0 || snapshots > 0, "step {step}: {held:?}");
        stopped_within += usize::from(deep == 0 && !held.is_empty());
        net.run_for(Duration::from_secs(600));
        assert!(dora.is_settled(&mut net), "step {step}: {:?}", dora.debt(&mut net));
        if step % 8 == 0 {
            all_is_well(&mut net, four, dora);
        }
    }
    assert!(stopped_within < 40);
}

/// What a member makes of an item that it appends.
type Twist = fn(&[u8]) -> bool;

fn entry_of(item: &[u8]) -> Option<Entry> {
    match LogItem::decode(item) {
        Ok(LogItem::Entry(bytes)) => Entry::decode(bytes).ok(),
        _ => None,
    }
}

fn is_part(item: &[u8], last: bool) -> bool {
    entry_of(item).is_some_and(|entry| {
        let header = entry.header();
        header.kind == EntryKind::Snapshot && header.flags.has(EntryFlags::CONTINUES) != last
    })
}

#[test]
fn a_member_who_brings_less_than_the_proof_brings_no_floor_and_keeps_nobody_out() {
    let twists: [(&str, Twist); 3] = [
        ("words", |item| matches!(LogItem::decode(item), Ok(LogItem::Attest(_)))),
        ("ends", |item| entry_of(item).is_some_and(|entry| entry.header().seq > 1 && !is_part(item, true))),
        ("snapshot", |item| is_part(item, true)),
    ];
    for (seed, (what, spoils)) in (625..).zip(twists) {
        let (mut net, four, dora) = with_dora(seed);
        net.lose_log(RELAY);
        net.patch(
            dora,
            lies::rewrite(move |frame| match frame {
                Frame::Append(Append { channel, batch, items }) => {
                    let items = items.into_iter().map(|item| {
                        let mut bytes = item.to_vec();
                        if spoils(&bytes)
                            && let Some(last) = bytes.last_mut()
                        {
                            *last ^= 1;
                        }
                        bytes.into()
                    });
                    let items = items.collect();
                    vec![Append { channel, batch, items }.into()]
                }
                frame => vec![frame],
            }),
        );
        dora.edit(&mut net, "mine");
        net.run_for(Duration::from_secs(3600));
        assert_eq!(taken(&net), 0, "{what}");
        assert!(!is_deep(&net), "{what}");
        assert!(!dora.is_settled(&mut net), "{what}");
        assert!(net.refused(RELAY, "gap") > 0, "{what}");
        net.heal();
        net.run_for(Duration::from_secs(7200));
        assert_eq!(taken(&net), 0, "{what}");
        assert!(!is_deep(&net), "{what}: those who have the bodies bring them");
        assert!(parts(&net).len() >= 2, "{what}");
        net.assert_all_converged(&four);
    }
}

#[test]
fn a_snapshot_whose_vouchers_were_removed_proves_nothing_and_the_rest_is_owed_until_the_bodies_come() {
    let (mut net, four @ [alice, bob, carol, dan]) = vouched_by(628, 2);
    assert!(pruned(&mut net) > 1000);
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    for voucher in [carol, dan] {
        remove(&mut net, alice, voucher);
        net.run_for(Duration::from_secs(60));
    }
    four.into_iter().for_each(|away| net.cut(away));
    net.lose_log(RELAY);
    dora.edit(&mut net, "mine");
    let sent = Rc::new(Cell::new(0));
    let count = Rc::clone(&sent);
    net.patch(
        dora,
        Box::new(move |_, bytes, _| {
            count.set(count.get() + 1);
            vec![bytes]
        }),
    );
    net.run_for(Duration::from_secs(3600));
    assert_eq!(taken(&net), 0);
    assert!(!dora.is_settled(&mut net), "nobody has what her entries stand on");
    assert!(sent.get() < 200, "{} frames in an hour", sent.get());
    net.heal();
    net.run_for(Duration::from_secs(7200));
    assert!(!is_deep(&net));
    assert!(dora.is_settled(&mut net), "{:?}", dora.debt(&mut net));
    net.assert_all_converged(&[alice, bob, dora]);
}

#[test]
fn of_two_floors_the_log_goes_on_from_the_one_that_came_first() {
    for (seed, order) in [(630, [0, 1]), (631, [1, 0])] {
        let (mut net, four @ [alice, bob, carol, dan]) = written(seed, ["alice", "bob", "carol", "dan"]);
        for replica in [alice, carol, dan] {
            publishes(&mut net, replica);
        }
        assert!(pruned(&mut net) > 0);
        let dora = net.device("dora");
        net.join(alice, dora, Role::Writer);
        net.run_until_quiet();
        for word in ["a", "b", "c", "d", "e", "f"] {
            alice.edit(&mut net, word);
            net.run_until_quiet();
        }
        for replica in [alice, carol, dan] {
            publishes(&mut net, replica);
        }
        pruned(&mut net);
        let erin = net.device("erin");
        erin.save_from(&mut net, FEW);
        net.join(alice, erin, Role::Writer);
        net.run_until_quiet();
        [alice, bob, carol, dan, dora, erin].into_iter().for_each(|away| net.cut(away));
        net.lose_log(RELAY);
        for nth in order {
            let comes = [dora, erin][nth];
            net.heal_to(comes, RELAY);
            comes.edit(&mut net, "mine");
            net.run_for(Duration::from_secs(600));
            assert!(comes.is_settled(&mut net), "{seed} {nth}: {:?}", comes.debt(&mut net));
        }
        assert!(taken(&net) > 0 && is_deep(&net), "{seed}");
        net.assert_equal(&[dora, erin]);
        all_is_well_with(&mut net, four, &[dora, erin]);
    }
}

fn all_is_well_with(net: &mut Net, four: [Replica; 4], others: &[Replica]) {
    net.heal();
    net.run_for(Duration::from_secs(7200));
    let all: Vec<Replica> = four.into_iter().chain(others.iter().copied()).collect();
    for replica in &all {
        assert!(replica.is_settled(net) && replica.integrity(net).is_sound(), "{:?}", replica.debt(net));
    }
    net.assert_all_converged(&all);
}

#[test]
fn a_snapshot_longer_than_what_a_session_may_have_under_way_is_shown_whole() {
    let (mut net, four @ [alice, _, carol, dan]) = much_written(632, &[1_400_000]);
    for replica in [alice, carol, dan] {
        publishes(&mut net, replica);
    }
    let long = parts(&net).into_iter().find(|part| part.header().flags.has(EntryFlags::CONTINUES)).unwrap();
    let of_it = parts(&net).into_iter().filter(|part| part.header().chain == long.header().chain);
    let bytes: usize = of_it.map(|part| part.sealed().len()).sum();
    assert!(bytes > 1 << 20, "{bytes} bytes are no more than the credit");
    assert!(pruned(&mut net) > 1 << 19);
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    four.into_iter().for_each(|away| net.cut(away));
    net.lose_log(RELAY);
    dora.edit(&mut net, "mine");
    net.run_for(Duration::from_secs(600));
    assert!(dora.is_settled(&mut net), "{:?}", dora.debt(&mut net));
    assert!(taken(&net) >= 2 && is_deep(&net));
    all_is_well(&mut net, four, dora);
}
