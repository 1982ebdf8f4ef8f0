//! Two people who really wrote together end with the same text, which is the one that was recorded.
#![cfg(test)]

use tombolo::document::Crdt;
use tombolo_tests::friends::Recording;

fn friends_write(crdt: Crdt, seed: u64, tie: Tie) {
    let Some(recording) = Recording::load() else {
        let folder = Recording::folder();
        println!("SKIPPED: friendsforever.json.gz is not in {}; skipped: 1", folder.display());
        assert!(!(folder.is_dir() && std::env::var_os("CI").is_some()), "the trace is missing");
        return;
    };
    let played = recording.play(crdt, seed);
    let merges = recording.transactions.iter().filter(|transaction| transaction.merges).count();
    let (count, looks) = (recording.transactions.len(), played.looks);
    println!("{crdt:?}: {count} transactions, {merges} merges, {looks} looks into the other's relay");
    assert!(merges >= 2258 && looks > 1000, "{merges} merges, {looks} looks");
    let [first, second] = &played.texts;
    assert_eq!(first, second, "the friends' texts");
    // The trace's own answer to the one tie is one of the two: a letter of each at the same place at once.
    assert!(tie == Tie::Other || *first == recording.end, "{first} is not what the trace says");
}

/// Whether the seed's names order the friends as the trace's did, where only names can.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tie {
    AsTheTrace,
    Other,
}

#[test]
fn two_friends_write_together_in_automerge() {
    friends_write(Crdt::Automerge, 1, Tie::AsTheTrace);
}

#[test]
fn two_friends_write_together_in_yrs() {
    friends_write(Crdt::Yrs, 1, Tie::AsTheTrace);
}

#[test]
fn two_friends_agree_where_names_decide_a_tie_otherwise_than_the_trace() {
    friends_write(Crdt::Yrs, 2, Tie::Other);
}
