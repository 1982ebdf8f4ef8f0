//! Lives in which something goes because a snapshot stands for it: a device gives its entries up, or never has them; a
//! relay deletes them, or takes from a device what stands for those that it lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tombolo::crypto::MemoryVault;
use tombolo::protocol::record::Role;
use tombolo_disk::Disk;
use tombolo_tests::{Net, RelayNode, Replica};

use crate::life::{Commits, Cut, Life};
use crate::{device, relay};

const RELAY: RelayNode = RelayNode::FIRST;
/// How long devices and relays of these lives keep what a snapshot stands for.
const RETENTION: Duration = Duration::from_secs(600);
/// From how many entries on their devices publish.
const FEW: usize = 4;

#[test]
fn a_power_cut_at_any_operation_of_giving_entries_up_leaves_every_word() {
    let (life, vault, words) = given_up();
    life.cut(false, |cut| shows(cut, &vault, &words, false)).tell("giving up");
}

#[test]
fn a_power_cut_at_any_operation_of_taking_a_snapshot_instead_of_entries_leaves_all_its_words_or_nothing() {
    let (life, vault, words) = taken();
    life.cut(false, |cut| shows(cut, &vault, &words, true)).tell("taking");
}

#[test]
fn a_power_cut_of_a_relay_at_any_operation_of_deleting_leaves_the_entries_or_what_stands_for_them() {
    deleted().cut(false, stands).tell("deleting");
}

#[test]
fn a_power_cut_of_a_relay_at_any_operation_of_taking_floors_leaves_what_stands_for_what_it_lost() {
    floored().cut(false, stands).tell("taking floors");
}

/// Alice writes most, and publishes; Bob and Carol vouch for it.
fn vouched(seed: u64) -> (Net, [Replica; 3]) {
    let mut net = Net::seeded(seed);
    let three = net.replicas(["alice", "bob", "carol"]);
    for word in ["one", "two", "three", "four", "five", "six"] {
        three[0].edit(&mut net, word);
        net.run_until_quiet();
    }
    for word in ["red", "blue"] {
        three[1].edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in three {
        publishes(&mut net, replica);
    }
    (net, three)
}

fn publishes(net: &mut Net, replica: Replica) {
    replica.publish_from(net, FEW);
    replica.crash(net);
    net.run_until_quiet();
    words_of(net, replica);
}

fn words_of(net: &mut Net, replica: Replica) -> BTreeSet<String> {
    let words = net.documents().into_iter().flat_map(|document| replica.words(net, document)).collect();
    net.run_until_quiet();
    words
}

/// A device gives up what a snapshot stands for while what it typed last is still pending, sends that, and goes on.
fn given_up() -> (Life, MemoryVault, BTreeSet<String>) {
    let (mut net, [alice, ..]) = vouched(8);
    net.cut(alice);
    alice.edit(&mut net, "not sent");
    let words = words_of(&mut net, alice);
    alice.kill(&mut net);
    let (path, commits) = (alice.store_path(&net), Commits::default());
    let many = count(&path, "entry");
    let disk = Arc::new(Disk::mount(path.parent().unwrap()).unwrap());
    let recorder = disk.record().unwrap();
    net.witness(alice, commits.witness(&disk, Some(path.with_extension("sqlite.lock"))));
    alice.compact_after(&mut net, RETENTION);
    net.start(alice);
    net.run_for(RETENTION * 3);
    net.heal();
    net.run_until_quiet();
    alice.edit(&mut net, "behind it");
    net.run_until_quiet();
    alice.crash(&mut net);
    assert!(words_of(&mut net, alice).is_superset(&words));
    alice.kill(&mut net);
    let recording = recorder.end();
    assert_eq!((count(&path, "horizon"), count(&path, "pending")), (2, 0));
    assert!(count(&path, "entry") < many, "of {many} entries {} are left", count(&path, "entry"));
    (Life::new(device::FILE, recording, &commits), alice.vault(&net), words)
}

/// A device comes when the relay has deleted what a snapshot stands for.
fn taken() -> (Life, MemoryVault, BTreeSet<String>) {
    let (mut net, [alice, ..]) = vouched(9);
    let words = words_of(&mut net, alice);
    prune(&mut net);
    let dora = net.device("dora");
    dora.kill(&mut net);
    let (path, commits) = (dora.store_path(&net), Commits::default());
    let disk = Arc::new(Disk::mount(path.parent().unwrap()).unwrap());
    let recorder = disk.record().unwrap();
    net.witness(dora, commits.witness(&disk, Some(path.with_extension("sqlite.lock"))));
    net.start(dora);
    net.join(alice, dora, Role::Writer);
    net.run_until_quiet();
    assert_eq!(words_of(&mut net, dora), words);
    dora.edit(&mut net, "too");
    net.run_until_quiet();
    dora.kill(&mut net);
    let recording = recorder.end();
    assert_eq!(count(&path, "horizon"), 2);
    (Life::new(device::FILE, recording, &commits), dora.vault(&net), words)
}

/// A relay deletes what a snapshot stands for, and what the next one does, which goes on from it.
fn deleted() -> Life {
    let (mut net, three @ [alice, ..]) = vouched(10);
    net.stop_relay(RELAY);
    let (disk, commits) = (Arc::new(Disk::mount(&net.relay_folder(RELAY)).unwrap()), Commits::default());
    let recorder = disk.record().unwrap();
    net.witness_relay(RELAY, commits.witness(&disk, None));
    let first = prune(&mut net);
    for word in ["ebb", "flow", "slack", "surge", "swell"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in three {
        publishes(&mut net, replica);
    }
    let second = prune(&mut net);
    assert!(first > 0 && second > 0, "{first} and {second} bytes were deleted");
    net.assert_converged(three);
    net.stop_relay(RELAY);
    Life::new(relay::FILE, recorder.end(), &commits)
}

/// A relay lost its log, and is shown by devices that gave entries up what stands for those.
fn floored() -> Life {
    let (mut net, three) = vouched(11);
    for replica in three {
        replica.compact_after(&mut net, RETENTION);
        replica.crash(&mut net);
    }
    net.run_for(RETENTION * 3);
    net.lose_log(RELAY);
    net.stop_relay(RELAY);
    let folder = net.relay_folder(RELAY);
    let (disk, commits) = (Arc::new(Disk::mount(&folder).unwrap()), Commits::default());
    let recorder = disk.record().unwrap();
    net.witness_relay(RELAY, commits.witness(&disk, None));
    net.start_relay(RELAY);
    net.run_for(RETENTION * 12);
    for replica in three {
        assert!(replica.is_settled(&mut net), "{:?}", replica.debt(&mut net));
    }
    net.stop_relay(RELAY);
    let recording = recorder.end();
    assert!(count(&folder.join(relay::FILE), "floor") > 0, "no floor was taken");
    Life::new(relay::FILE, recording, &commits)
}

/// Lets the relay delete what is vouched for; returns how many bytes went since it was started for that.
fn prune(net: &mut Net) -> u64 {
    net.prune_after(RELAY, RETENTION);
    // It is found at first, has to stay for a while, and goes.
    for _ in 0..4 {
        net.run_for(RETENTION);
        net.sweep(RELAY);
    }
    net.run_until_quiet();
    net.metric(RELAY, "freed_bytes_total")
}

/// Opens what is left as a device does after a reboot: each document must show all of its words, whatever they are read
/// from, or where it comes from others, nothing.
fn shows(cut: &Cut<'_>, vault: &MemoryVault, words: &BTreeSet<String>, or_nothing: bool) -> Result<(), String> {
    // A document with floors has the snapshot that they are of, and a chain begins above 1 only where a floor says so.
    const ALONE: &str = "SELECT count(*) FROM floor WHERE document NOT IN (SELECT document FROM horizon)";
    const BASELESS: &str = "SELECT count(*) FROM chain WHERE floor_seq > 0 AND id NOT IN (SELECT chain FROM floor)";
    device::opens_and_goes_on(cut, vault, cut.is_settled)?;
    finds_none(&cut.path, [ALONE, BASELESS])?;
    let values = device::values(&cut.path, vault, cut.seed)?;
    if values.len() < 2 && !or_nothing {
        return Err(format!("{} documents are there", values.len()));
    }
    for value in values {
        let found: BTreeSet<String> = value.as_map().into_iter().flat_map(|map| map.keys().cloned()).collect();
        let missing: Vec<&String> = words.difference(&found).collect();
        if !(missing.is_empty() || or_nothing && found.is_empty()) {
            return Err(format!("{missing:?} are missing beside {found:?}"));
        }
    }
    Ok(())
}

/// Opens what is left as a relay does after a reboot: what has no bytes any more, or never came, is below a floor, and
/// the run that stands for it is whole.
fn stands(cut: &Cut<'_>) -> Result<(), String> {
    const GONE: &str =
        "SELECT count(*) FROM item LEFT JOIN floor ON floor.workspace = place >> 40 AND floor.chain = item.chain
        WHERE length(bytes) = 0 AND (floor.seq IS NULL OR item.seq >= floor.seq)";
    const BROKEN: &str = "SELECT count(*) FROM floor WHERE to_seq - from_seq + 1 <> (SELECT count(*) FROM item
        WHERE place >> 40 = workspace AND item.chain = snapshot AND item.seq BETWEEN from_seq AND to_seq AND length(bytes) > 0)";
    relay::opens(cut)?;
    finds_none(&cut.path, [GONE, BROKEN])
}

/// Says which of these questions finds a row.
fn finds_none(path: &Path, questions: [&str; 2]) -> Result<(), String> {
    let file = Connection::open(path).map_err(device::said)?;
    for wrong in questions {
        let found: i64 = file.query_row(wrong, [], |row| row.get(0)).map_err(device::said)?;
        if found > 0 {
            return Err(format!("{found} times: {wrong}"));
        }
    }
    Ok(())
}

fn count(path: &Path, table: &str) -> i64 {
    let file = Connection::open(path).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}
