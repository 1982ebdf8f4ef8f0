//! Stories of published snapshots: who publishes, who vouches, and that nothing is read from one that only its author
//! has seen.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::document::Crdt;
use tombolo::protocol::entry::{Entry, EntryKind};
use tombolo::protocol::ids::DeviceId;
use tombolo::protocol::item::LogItem;
use tombolo::protocol::membership::Vouched;
use tombolo::protocol::record::Role;
use tombolo::protocol::snapshot::Attest;
use tombolo_tests::lies;
use tombolo_tests::{CrashAt, Net, Replica};

use crate::support::{
    FEW, RELAY, alone, betrayed, covers, device, parts, publishes, shown, spoil_what_is_covered, vouched, words,
    written,
};

#[test]
fn who_wrote_most_publishes_what_covers_every_chain_and_the_others_read_past_it() {
    let (mut net, [alice, bob]) = written(501, ["alice", "bob"]);
    publishes(&mut net, bob);
    assert!(parts(&net).is_empty(), "Bob wrote less");
    publishes(&mut net, alice);
    let covers = covers(&net);
    assert_eq!(covers.len(), 2, "one of each document");
    for (last, cover) in &covers {
        assert_eq!(last.header().chain.device, device(&net, alice));
        assert_eq!((cover.base, cover.excluded.len(), cover.chains.len()), (None, 0, 2));
        for entry in
            net.entries(RELAY).iter().filter(|entry| entry.header().chain.document == last.header().chain.document)
        {
            let (seq, end) = cover.chains[&entry.header().chain.id()];
            assert_eq!(entry.header().seq <= seq, entry.header().kind == EntryKind::Changes);
            assert!(entry.header().seq != seq || entry.hash() == end);
        }
    }
    assert_eq!(covers.iter().map(|(_, cover)| cover.encoder).collect::<BTreeSet<_>>(), [1, 2].into());
    bob.edit(&mut net, "after");
    net.run_until_quiet();
    alice.edit(&mut net, "later");
    net.run_until_quiet();
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    carol.edit(&mut net, "new");
    net.run_until_quiet();
    for replica in [alice, bob, carol] {
        replica.crash(&mut net);
        net.run_until_quiet();
        assert!(replica.is_settled(&mut net) && replica.integrity(&net).is_sound());
        replica.assert_sound(&net);
    }
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn a_snapshot_is_published_anew_only_when_enough_has_come_since() {
    let (mut net, [alice, _]) = written(502, ["alice", "bob"]);
    publishes(&mut net, alice);
    let before = parts(&net).len();
    publishes(&mut net, alice);
    assert_eq!(parts(&net).len(), before);
    for word in ["seven", "eight", "nine", "ten"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    publishes(&mut net, alice);
    assert_eq!(parts(&net).len(), 2 * before);
}

#[test]
fn a_long_document_is_published_in_parts_which_are_saved_and_opened_with_the_rest() {
    let mut net = Net::seeded(503);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    // Letters that do not compress, so that a state of them is long as well.
    let noise: String = (0..600_000).map(|_| char::from(b'!' + net.chance().below(90) as u8)).collect();
    for document in net.documents() {
        let text = noise.clone();
        let edited = net
            .act(alice, |engine, now, tx| engine.edit(now, &document, |edit| edit.text("body")?.push_str(&text), tx));
        edited.unwrap();
    }
    net.run_until_quiet();
    for word in ["one", "two", "three", "four"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in [alice, bob] {
        replica.save_from(&mut net, 2);
    }
    publishes(&mut net, alice);
    assert!(covers(&net).len() == 2 && parts(&net).len() >= 4);
    for replica in [bob, alice, bob] {
        let word = format!("after-{}", net.log_length(RELAY));
        replica.edit(&mut net, &word);
        net.run_until_quiet();
        replica.crash(&mut net);
        net.run_until_quiet();
        assert!(replica.integrity(&net).is_sound());
    }
    net.assert_converged([alice, bob]);
}

#[test]
fn a_device_that_dies_while_it_publishes_has_published_all_or_nothing() {
    for (nth, at) in (1..6).flat_map(|nth| [(nth, CrashAt::BeforeCommit), (nth, CrashAt::AfterCommit)]) {
        let (mut net, [alice, bob]) = written(504, ["alice", "bob"]);
        alice.publish_from(&mut net, FEW);
        alice.crash(&mut net);
        alice.crash_at_commit(&mut net, nth, at);
        for document in net.documents() {
            if alice.is_up(&net) {
                net.act(alice, |engine, now, tx| engine.read(now, &document, |_| (), tx)).unwrap();
            }
            net.run_until_quiet();
        }
        publishes(&mut net, alice);
        bob.edit(&mut net, "after");
        net.run_until_quiet();
        assert_eq!(covers(&net).len(), 2, "commit {nth} {at:?}");
        assert!(alice.integrity(&net).is_sound());
        net.assert_converged([alice, bob]);
    }
}

#[test]
fn a_reader_publishes_nothing_and_nobody_a_short_document() {
    let mut net = Net::seeded(505);
    let [alice] = net.replicas(["alice"]);
    let reader = net.device("rita");
    net.join(alice, reader, Role::Reader);
    for word in ["one", "two", "three", "four", "five"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    publishes(&mut net, reader);
    assert!(parts(&net).is_empty());
    let fresh = alice.create(&mut net, Crdt::Yrs);
    net.share_document(fresh);
    publishes(&mut net, alice);
    assert_eq!(covers(&net).len(), 2, "a short document is not worth it");
    net.assert_converged([alice, reader]);
}

#[test]
fn the_others_make_the_state_again_and_say_so_once_in_the_log() {
    let (mut net, [alice, bob, carol]) = written(506, ["alice", "bob", "carol"]);
    publishes(&mut net, alice);
    let snapshots: Vec<Entry> = covers(&net).into_iter().map(|(last, _)| last).collect();
    assert!(words(&net).is_empty());
    publishes(&mut net, bob);
    assert_eq!(words(&net).len(), 2);
    assert!(snapshots.iter().all(|last| vouched(&net, last) == Vouched::Lacking { have: 1, need: 2 }));
    publishes(&mut net, carol);
    assert!(snapshots.iter().all(|last| vouched(&net, last) == Vouched::Enough));
    for replica in [bob, carol, alice] {
        publishes(&mut net, replica);
    }
    net.restart_relay(RELAY);
    net.run_for(Duration::from_secs(60));
    assert_eq!((words(&net).len(), covers(&net).len()), (4, 2), "nobody says it twice");
    let dora = net.device("dora");
    net.join(alice, dora, Role::Writer);
    publishes(&mut net, dora);
    assert_eq!(words(&net).len(), 6);
    for replica in [alice, bob, carol, dora] {
        assert!(replica.is_settled(&mut net) && replica.integrity(&net).is_sound());
        assert_eq!(replica.counted(&net, SetAsideReason::SnapshotMismatch), 0);
    }
    net.assert_converged([alice, bob, carol, dora]);
}

#[test]
fn a_relay_that_lost_everything_is_given_the_words_again() {
    let (mut net, [alice, bob, carol]) = written(507, ["alice", "bob", "carol"]);
    for replica in [alice, bob, carol] {
        publishes(&mut net, replica);
    }
    assert_eq!(words(&net).len(), 4);
    net.wipe_relay(RELAY);
    for replica in [alice, bob, carol] {
        replica.edit(&mut net, &format!("after-{replica:?}"));
    }
    net.run_for(Duration::from_secs(600));
    assert_eq!(words(&net).len(), 4);
    assert!(covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Enough));
    net.assert_converged([alice, bob, carol]);
}

/// Holders set the false ones aside, nobody but Mallory speaks for them, and every word that was written is there.
fn comes_to_nothing(mut net: Net, [alice, bob, _]: [Replica; 3], false_ones: &[Entry]) {
    let in_log = parts(&net);
    assert!(false_ones.iter().all(|last| in_log.contains(last)), "the relay can not tell");
    for replica in [bob, alice] {
        publishes(&mut net, replica);
        assert_eq!(replica.counted(&net, SetAsideReason::SnapshotMismatch), 2, "{replica:?}");
    }
    for last in false_ones {
        assert_eq!(vouched(&net, last), Vouched::Lacking { have: 0, need: 2 });
    }
    assert_eq!(words(&net).iter().filter(|word| false_ones.iter().any(|last| last.hash() == word.snapshot)).count(), 2);
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    for replica in [alice, bob, carol] {
        assert!(replica.integrity(&net).is_sound());
    }
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn case_42_a_snapshot_that_omits_a_covered_entry_is_set_aside_by_whoever_holds_that() {
    let (net, replicas, false_ones) = betrayed(508, &[], |net, last, cover, _| {
        // It says that it stands for what came since, and holds what was there before.
        for entry in net.entries(RELAY) {
            let header = entry.header();
            if header.chain.document == last.header().chain.document {
                let end = cover.chains.entry(header.chain.id()).or_insert((0, entry.hash()));
                *end = (*end).max((header.seq, entry.hash()));
            }
        }
    });
    comes_to_nothing(net, replicas, &false_ones);
}

#[test]
fn case_42_a_snapshot_with_an_altered_text_is_set_aside_by_whoever_holds_what_it_covers() {
    let (net, replicas, false_ones) = betrayed(509, &[], |_, _, _, payload| {
        let at = payload.windows(3).rposition(|three| three == b"red").expect("the state has the word");
        payload[at..at + 3].copy_from_slice(b"RED");
    });
    comes_to_nothing(net, replicas, &false_ones);
}

#[test]
fn case_65_a_snapshot_that_drops_history_has_not_enough_words_by_its_authors_own() {
    let (net, replicas, false_ones) = betrayed(510, &[], |_, _, _, payload| {
        // Nothing but who created the document.
        payload.truncate(DeviceId::BYTES + 1);
    });
    comes_to_nothing(net, replicas, &false_ones);
}

#[test]
fn a_relay_takes_no_word_of_a_reader_nor_one_that_somebody_else_signed() {
    let (mut net, [alice, bob]) = written(511, ["alice", "bob"]);
    publishes(&mut net, alice);
    let rita = net.device("rita");
    net.join(alice, rita, Role::Reader);
    let last = covers(&net)[0].0.hash();
    let head = net.membership(RELAY).head().expect("one head");
    let sign = |net: &Net, whose: Replica, by: Replica| {
        let attest = Attest::sign(net.workspace(), last, device(net, whose), head, by.secrets(net).sign_key());
        LogItem::encode_attest(&attest.encode())
    };
    let items = vec![sign(&net, rita, rita), sign(&net, bob, alice)];
    net.patch(alice, lies::append_too(items));
    let before = ["role_denied", "bad_signature"].map(|reason| net.refused(RELAY, reason));
    alice.edit(&mut net, "more");
    net.run_for(Duration::from_secs(60));
    let after = ["role_denied", "bad_signature"].map(|reason| net.refused(RELAY, reason));
    assert!(after.iter().zip(before).all(|(after, before)| *after > before), "{before:?} {after:?}");
    assert!(words(&net).is_empty());
}

#[test]
fn a_device_that_compares_with_a_relay_learns_the_words_that_are_there_and_opens_from_what_they_vouch_for() {
    let mut net = Net::seeded(512);
    let four @ [alice, bob, carol, dan] = net.replicas(["alice", "bob", "carol", "dan"]);
    for word in ["one", "two", "three", "four", "five", "six"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    // Dan is away while the others vouch, and then meets a relay that he has no place in.
    net.cut(dan);
    for replica in [alice, bob, carol] {
        replica.publish_from(&mut net, FEW);
        replica.crash(&mut net);
        net.run_for(Duration::from_secs(90));
        shown(&mut net, replica);
        net.run_for(Duration::from_secs(90));
    }
    assert!(covers(&net).len() == 2 && covers(&net).iter().all(|(last, _)| vouched(&net, last) == Vouched::Enough));
    let second = net.add_relay();
    net.dial_relay(alice, second);
    net.run_for(Duration::from_secs(90));
    net.heal_to(dan, second);
    net.dial_relay(dan, second);
    net.run_for(Duration::from_secs(90));
    dan.kill(&mut net);
    dan.save_from(&mut net, FEW);
    assert!(spoil_what_is_covered(&net, dan) >= 12);
    let expected = shown(&mut net, alice);
    assert_eq!(alone(&mut net, dan), expected);
    net.heal();
    net.run_for(Duration::from_secs(300));
    net.assert_equal(&four);
}
