//! Stories of published snapshots: who publishes, who vouches, and that nothing is read from one that only its author
//! has seen.

#![cfg(test)]

use std::collections::BTreeSet;

use tombolo::document::Crdt;
use tombolo::protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo::protocol::ids::DeviceId;
use tombolo::protocol::record::Role;
use tombolo::protocol::snapshot::Cover;
use tombolo_tests::{CrashAt, Net, RelayNode, Replica};

const RELAY: RelayNode = RelayNode::FIRST;

/// From how many entries on the devices of these stories publish.
const FEW: usize = 4;

/// Returns the entries of snapshots in a relay's log, chain by chain.
fn parts(net: &Net) -> Vec<Entry> {
    let entries = net.entries(RELAY).into_iter();
    entries.filter(|entry| entry.header().kind == EntryKind::Snapshot).collect()
}

/// Returns what the snapshots in a relay's log cover, with the last part of each.
fn covers(net: &Net) -> Vec<(Entry, Cover)> {
    let last = parts(net).into_iter().filter(|part| !part.header().flags.has(EntryFlags::CONTINUES));
    last.map(|part| (part.clone(), Cover::decode(part.clear()).expect("a snapshot says what it covers"))).collect()
}

/// Opens the documents anew, on a device that publishes from a few entries on.
fn publishes(net: &mut Net, replica: Replica) {
    replica.publish_from(net, FEW);
    replica.crash(net);
    net.run_until_quiet();
    for document in net.documents() {
        replica.words(net, document);
    }
    net.run_until_quiet();
}

fn device(net: &Net, replica: Replica) -> DeviceId {
    replica.ids(net).0
}

/// Alice writes most; Bob writes a little.
fn written<const N: usize>(seed: u64, names: [&str; N]) -> (Net, [Replica; N]) {
    let mut net = Net::seeded(seed);
    let replicas = net.replicas(names);
    for word in ["one", "two", "three", "four", "five", "six"] {
        replicas[0].edit(&mut net, word);
        net.run_until_quiet();
    }
    for word in ["red", "blue"] {
        replicas[1].edit(&mut net, word);
        net.run_until_quiet();
    }
    (net, replicas)
}

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
