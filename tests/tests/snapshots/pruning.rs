//! Stories of relays that delete what a snapshot stands for, and of devices that never had it.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::protocol::frame::{Frame, Ground, Pruned};
use tombolo::protocol::ids::ChainId;
use tombolo::protocol::item::LogItem;
use tombolo::protocol::record::Role;
use tombolo::{Error, SetAsideReason};
use tombolo_tests::{CrashAt, Net, Replica};

use crate::support::{FEW, RELAY, covers, horizons, pruned, publishes, remove, shown, vouched_by, written};

/// Returns how many entries a relay's log holds, and of how many only the place.
fn held(net: &Net) -> (usize, usize) {
    let is_entry = |item: &&Vec<u8>| matches!(LogItem::decode(item), Ok(LogItem::Entry(_) | LogItem::Elided(_)));
    let items = net.log_items(RELAY, 1);
    (items.iter().filter(is_entry).count(), items.iter().filter(|item| item.is_empty()).count())
}

/// Returns the chains that the newest snapshots cover, and up to where.
fn ends(net: &Net) -> BTreeSet<(ChainId, u64)> {
    covers(net).into_iter().flat_map(|(_, cover)| cover.chains).map(|(chain, (seq, _))| (chain, seq)).collect()
}

fn has_all(words: &[String], wanted: &[&str]) -> bool {
    wanted.iter().all(|word| words.iter().any(|there| there == word))
}

#[test]
fn what_two_others_vouch_for_goes_and_a_newcomer_has_the_snapshot_and_what_came_after() {
    let (mut net, four @ [alice, bob, ..]) = vouched_by(601, 2);
    bob.edit(&mut net, "after");
    net.run_until_quiet();
    let (before, _) = held(&net);
    assert!(pruned(&mut net) > 1000);
    let (left, gone) = held(&net);
    assert_eq!(before, left + gone);
    // Of each chain the last stays, and the first, which says what the short forms leave out: of each document the five in
    // the midst of Alice's seven go, and none of Bob's two.
    assert_eq!(gone, 2 * 5, "{left} are left");
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    assert_eq!(shown(&mut net, dora), shown(&mut net, alice));
    assert_eq!((horizons(&mut net, dora), horizons(&mut net, bob)), (2, 0));
    assert!(dora.integrity(&net).is_sound(), "{:?}", dora.integrity(&net));
    dora.edit(&mut net, "mine");
    net.run_until_quiet();
    alice.edit(&mut net, "answer");
    net.run_until_quiet();
    for _ in 0..2 {
        net.assert_equal(&[alice, bob, dora]);
        net.assert_converged(four);
        assert!(dora.is_settled(&mut net));
        dora.crash(&mut net);
        net.run_until_quiet();
    }
}

/// Returns the bytes of a relay's file that hold something.
fn used_bytes(net: &mut Net) -> i64 {
    net.stop_relay(RELAY);
    let file = rusqlite::Connection::open(net.relay_folder(RELAY).join("log.sqlite")).unwrap();
    let pragma = |name: &str| file.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).unwrap();
    let used = (pragma("page_count") - pragma("freelist_count")) * pragma("page_size");
    drop(file);
    net.start_relay(RELAY);
    net.run_until_quiet();
    used
}

#[test]
fn the_room_of_what_goes_is_free_for_other_things() {
    let (mut net, [alice, bob]) = written(612, ["alice", "bob"]);
    for nth in 0..200 {
        alice.edit(&mut net, &format!("word{nth}"));
        net.run_for(Duration::from_millis(400));
    }
    net.run_until_quiet();
    for replica in [alice, bob] {
        publishes(&mut net, replica);
    }
    let before = used_bytes(&mut net);
    let freed = pruned(&mut net) as i64;
    let left = used_bytes(&mut net);
    assert!(freed > 80_000, "{freed}");
    assert!(before - left > freed * 3 / 4, "{before} bytes before, {left} after, of {freed} that were freed");
    assert_eq!(shown(&mut net, bob), shown(&mut net, alice));
}

#[test]
fn a_device_that_was_away_takes_the_snapshot_in_and_loses_nothing_of_its_own() {
    let (mut net, [alice, bob]) = written(602, ["alice", "bob"]);
    let [carol, dan] = ["carol", "dan"].map(|name| net.device(name));
    for guest in [carol, dan] {
        net.join(alice, guest, Role::Writer);
    }
    net.run_until_quiet();
    net.cut(bob);
    bob.edit(&mut net, "offline");
    for word in ["seven", "eight", "nine"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in [alice, carol, dan] {
        publishes(&mut net, replica);
    }
    alice.edit(&mut net, "after");
    net.run_until_quiet();
    assert!(pruned(&mut net) > 1000);
    bob.edit(&mut net, "still");
    net.heal();
    net.run_until_quiet();
    for _ in 0..2 {
        assert!(shown(&mut net, bob).iter().all(|words| has_all(words, &["offline", "still", "seven", "after"])));
        assert_eq!(horizons(&mut net, bob), 2);
        assert!(bob.integrity(&net).is_sound());
        net.assert_all_converged(&[alice, bob, carol, dan]);
        bob.crash(&mut net);
        net.run_until_quiet();
    }
}

#[test]
fn a_device_that_dies_while_it_takes_a_snapshot_in_takes_it_in_anew() {
    for (nth, at) in (1..8).flat_map(|nth| [(nth, CrashAt::BeforeCommit), (nth, CrashAt::AfterCommit)]) {
        let (mut net, four @ [alice, ..]) = vouched_by(603, 2);
        pruned(&mut net);
        let dora = net.device("dora");
        net.join(alice, dora, Role::Writer);
        dora.crash_at_commit(&mut net, nth, at);
        for word in ["mine", "also"] {
            dora.edit_if_up(&mut net, word);
            net.run_until_quiet();
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
fn fewer_words_than_are_needed_delete_nothing() {
    let (mut net, four) = vouched_by(604, 1);
    assert_eq!(pruned(&mut net), 0);
    assert_eq!(held(&net).1, 0);
    net.assert_converged(four);
}

#[test]
fn what_came_since_goes_once_a_newer_snapshot_stands_for_it() {
    let (mut net, [alice, bob, carol, dan]) = written(605, ["alice", "bob", "carol", "dan"]);
    // So that the second snapshot covers no more of Bob's chain than the first, and stands for what went of it.
    for word in ["green", "grey"] {
        bob.edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in [alice, carol, dan] {
        publishes(&mut net, replica);
    }
    assert!(pruned(&mut net) > 0);
    let first = ends(&net);
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
    let gone = held(&net).1;
    pruned(&mut net);
    assert!(held(&net).1 > gone, "more is gone");
    assert_ne!(ends(&net), first);
    let erin = net.device("erin");
    erin.save_from(&mut net, FEW);
    net.join(alice, erin, Role::Writer);
    net.run_until_quiet();
    erin.edit(&mut net, "mine");
    net.run_until_quiet();
    for _ in 0..2 {
        net.assert_all_converged(&[alice, bob, carol, dan, dora, erin]);
        for replica in [dora, erin] {
            assert!(replica.integrity(&net).is_sound());
            replica.crash(&mut net);
        }
        net.run_until_quiet();
    }
}

/// What a relay makes of a frame.
type Twist = fn(Frame) -> Frame;

#[test]
fn a_relay_that_points_at_what_stands_for_nothing_is_not_believed() {
    let twists: [Twist; 3] = [
        |frame| match frame {
            Frame::Ground(ground) => Frame::from(Ground { attests: Vec::new(), ..ground }),
            frame => frame,
        },
        |frame| match frame {
            Frame::Pruned(pruned) => Frame::from(Pruned { to_seq: pruned.from_seq, ..pruned }),
            frame => frame,
        },
        |frame| match frame {
            Frame::Fetched(mut fetched) => {
                fetched.entries.iter_mut().for_each(|entry| entry[300] ^= 1);
                Frame::from(fetched)
            }
            frame => frame,
        },
    ];
    for (seed, twist) in (610..).zip(twists) {
        let (mut net, [alice, bob, ..]) = vouched_by(seed, 2);
        pruned(&mut net);
        net.lie(
            RELAY,
            Box::new(move |_, bytes, _| match Frame::decode(&bytes) {
                Ok(frame) => vec![twist(frame).encode()],
                Err(_) => vec![bytes],
            }),
        );
        let dora = net.device("dora");
        net.join(alice, dora, Role::Writer);
        net.run_for(Duration::from_secs(300));
        assert!(dora.counted(&net, SetAsideReason::SnapshotMismatch) > 0, "{seed}");
        assert!(
            dora.debt(&mut net).held.contains_key(&SetAsideReason::Gap),
            "{seed}: it says that something is lacking"
        );
        assert_eq!(horizons(&mut net, dora), 0, "{seed}");
        net.honest(RELAY);
        net.run_for(Duration::from_secs(7200));
        assert!(dora.is_settled(&mut net), "{seed}");
        assert_eq!(horizons(&mut net, dora), 2, "{seed}");
        net.assert_all_converged(&[alice, bob, dora]);
    }
}

#[test]
fn what_was_deleted_is_shown_to_newcomers_though_those_who_vouched_were_removed_since() {
    let (mut net, [alice, bob, carol, dan]) = vouched_by(608, 2);
    pruned(&mut net);
    for voucher in [carol, dan] {
        remove(&mut net, alice, voucher);
        net.run_for(Duration::from_secs(60));
    }
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    dora.edit(&mut net, "mine");
    net.run_until_quiet();
    for _ in 0..2 {
        net.assert_all_converged(&[alice, bob, dora]);
        dora.crash(&mut net);
        net.run_until_quiet();
    }
}

#[test]
fn a_snapshot_that_the_disk_has_changed_is_fetched_again_by_who_stands_on_it() {
    let (mut net, [alice, bob, ..]) = vouched_by(609, 2);
    pruned(&mut net);
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    dora.kill(&mut net);
    let file = rusqlite::Connection::open(dora.store_path(&net)).unwrap();
    let spoilt = file
        .execute(
            "UPDATE entry SET bytes = CAST(substr(bytes, 1, 300) || zeroblob(1) || substr(bytes, 302) AS BLOB)
        WHERE substr(bytes, 6, 1) = x'01'",
            [],
        )
        .unwrap();
    file.execute("DELETE FROM saved", []).unwrap();
    drop(file);
    assert!(spoilt >= 2);
    net.start(dora);
    for document in net.documents() {
        let read = net.act(dora, move |engine, now, tx| engine.read(now, &document, |view| view.keys().is_ok(), tx));
        assert!(matches!(read, Err(Error::Damaged)), "{read:?}");
    }
    net.run_for(Duration::from_secs(120));
    assert!(dora.integrity(&net).is_sound() && dora.is_settled(&mut net));
    net.assert_all_converged(&[alice, bob, dora]);
}
