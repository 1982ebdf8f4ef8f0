//! What the stories of snapshots share: who has written, what a log holds, and a member who publishes something false.

use std::time::Duration;

use tombolo::protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo::protocol::ids::{DeviceId, UserId};
use tombolo::protocol::item::LogItem;
use tombolo::protocol::membership::Vouched;
use tombolo::protocol::record::Role;
use tombolo::protocol::snapshot::{Attest, Cover};
use tombolo::{ActOutcome, MembershipAct};
use tombolo_tests::lies;
use tombolo_tests::{Net, RelayNode, Replica, Rogue};

pub(crate) const RELAY: RelayNode = RelayNode::FIRST;

/// How long a relay of these stories keeps what a snapshot stands for.
pub(crate) const RETENTION: Duration = Duration::from_secs(600);

/// From how many entries on the devices of these stories publish.
pub(crate) const FEW: usize = 4;

/// Returns the entries of snapshots in a relay's log, chain by chain.
pub(crate) fn parts(net: &Net) -> Vec<Entry> {
    let entries = net.entries(RELAY).into_iter();
    entries.filter(|entry| entry.header().kind == EntryKind::Snapshot).collect()
}

/// Returns what the snapshots in a relay's log cover, with the last part of each.
pub(crate) fn covers(net: &Net) -> Vec<(Entry, Cover)> {
    let last = parts(net).into_iter().filter(|part| !part.header().flags.has(EntryFlags::CONTINUES));
    last.map(|part| (part.clone(), Cover::decode(part.clear()).expect("a snapshot says what it covers"))).collect()
}

/// Opens the documents anew, on a device that publishes from a few entries on.
pub(crate) fn publishes(net: &mut Net, replica: Replica) {
    replica.publish_from(net, FEW);
    replica.crash(net);
    net.run_until_quiet();
    for document in net.documents() {
        replica.words(net, document);
    }
    net.run_until_quiet();
}

/// Returns what members have said of snapshots in a relay's log.
pub(crate) fn words(net: &Net) -> Vec<Attest> {
    let read = |item: Vec<u8>| match LogItem::decode(&item) {
        Ok(LogItem::Attest(bytes)) => Some(Attest::decode(bytes).expect("a word")),
        _ => None,
    };
    net.log_items(RELAY, 1).into_iter().filter_map(read).collect()
}

/// Judges the words on a snapshot as anybody can who has the log.
pub(crate) fn vouched(net: &Net, last: &Entry) -> Vouched {
    let on_it = words(net).into_iter().filter(|word| word.snapshot == last.hash());
    let on_it: Vec<_> = on_it.map(|word| (word.device, word.members_head)).collect();
    let header = last.header();
    net.membership(RELAY).vouched((&header.chain.device, &header.members_head), &on_it)
}

pub(crate) fn device(net: &Net, replica: Replica) -> DeviceId {
    replica.ids(net).0
}

/// Alice writes most; Bob writes a little.
pub(crate) fn written<const N: usize>(seed: u64, names: [&str; N]) -> (Net, [Replica; N]) {
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

/// Four have written, and Alice has put so many characters of noise, which nothing makes much shorter, into the documents.
pub(crate) fn much_written(seed: u64, characters: &[usize]) -> (Net, [Replica; 4]) {
    let (mut net, four @ [alice, ..]) = written(seed, ["alice", "bob", "carol", "dan"]);
    for (document, characters) in net.documents().into_iter().zip(characters) {
        let noise: String = (0..*characters).map(|_| char::from(b'!' + net.chance().below(90) as u8)).collect();
        let edited = net
            .act(alice, |engine, now, tx| engine.edit(now, &document, |edit| edit.text("body")?.push_str(&noise), tx));
        edited.unwrap();
        net.run_until_quiet();
    }
    (net, four)
}

/// Writes RED for red, in the map and in the text.
pub(crate) fn redden(payload: &mut [u8]) {
    while let Some(at) = payload.windows(3).position(|three| three == b"red") {
        payload[at..at + 3].copy_from_slice(b"RED");
    }
}

/// Alice has published; Mallory, a member with one device, publishes something false of the same documents, and vouches
/// for it with everybody that is with her: others' devices that do nothing else.
pub(crate) fn betrayed(
    seed: u64,
    with_her: &[&str],
    falsify: impl Fn(&Net, &Entry, &mut Cover, &mut Vec<u8>),
) -> (Net, [Replica; 3], Vec<Entry>) {
    let (mut net, [alice, bob]) = written(seed, ["alice", "bob"]);
    publishes(&mut net, alice);
    let with_her: Vec<Replica> = with_her.iter().map(|name| net.device(name)).collect();
    for accomplice in &with_her {
        net.join(alice, *accomplice, Role::Writer);
    }
    let mallory = net.device("mallory");
    let link = alice.invite(&mut net, Role::Writer);
    let again = link.to_string().parse().expect("a link is one");
    mallory.take_invite(&mut net, again);
    alice.edit(&mut net, "since");
    net.run_until_quiet();
    let mut rogue = Rogue::of(&net, mallory, &link);
    let mut false_ones = Vec::new();
    for (last, mut cover) in covers(&net) {
        let document = net.documents().into_iter().find(|id| rogue.tag(id) == last.header().chain.document);
        let mut draft = rogue.draft(document.expect("a snapshot of a shared document"));
        let mut body = rogue.open(&last).expect("a member opens it");
        falsify(&net, &last, &mut cover, &mut body.changes[0]);
        (draft.kind, draft.clear) = (EntryKind::Snapshot, cover.encode().expect("a cover"));
        false_ones.push(rogue.seal_draft(draft, &body));
    }
    let head = net.membership(RELAY).head().expect("one head");
    let said = |last: &Entry, by: Replica| {
        Attest::sign(net.workspace(), last.hash(), device(&net, by), head, by.secrets(&net).sign_key())
    };
    let mut items: Vec<Vec<u8>> = false_ones.iter().map(|entry| LogItem::encode_entry(entry, None)).collect();
    for last in &false_ones {
        let speakers = with_her.iter().chain([&mallory]);
        items.extend(speakers.map(|by| LogItem::encode_attest(&said(last, *by).encode())));
    }
    with_her.iter().for_each(|accomplice| accomplice.kill(&mut net));
    net.patch(mallory, lies::append_too(items));
    mallory.edit(&mut net, "mine");
    net.run_for(Duration::from_secs(60));
    (net, [alice, bob, mallory], false_ones)
}

pub(crate) fn remove(net: &mut Net, by: Replica, whom: Replica) {
    let user = whom.ids(net).1;
    remove_user(net, by, user);
}

pub(crate) fn remove_user(net: &mut Net, by: Replica, user: UserId) {
    let workspace = net.workspace();
    let act = MembershipAct::Remove { user };
    let outcome = net.act(by, move |engine, now, tx| engine.act(now, &workspace, act, tx));
    assert!(matches!(outcome, Ok(Some(ActOutcome::Stated(_)))), "{outcome:?}");
}

/// Lets the disk change what is covered on a device that is down: every entry of changes before the first snapshot.
pub(crate) fn spoil_what_is_covered(net: &Net, replica: Replica) -> usize {
    spoil(net, replica, "true")
}

/// The same, but for the last of these entries of each chain.
pub(crate) fn spoil_below_what_is_covered(net: &Net, replica: Replica) -> usize {
    spoil(
        net,
        replica,
        "EXISTS (SELECT 1 FROM entry AS next WHERE next.chain = entry.chain AND next.seq = entry.seq + 1
        AND substr(next.bytes, 6, 1) = x'00')",
    )
}

fn spoil(net: &Net, replica: Replica, which: &str) -> usize {
    let file = rusqlite::Connection::open(replica.store_path(net)).unwrap();
    // What is sealed stands before the signature of 64 bytes, which no name covers.
    let spoil = format!(
        "UPDATE entry
        SET bytes = CAST(substr(bytes, 1, length(bytes) - 80) || zeroblob(16) || substr(bytes, -64) AS BLOB)
        WHERE substr(bytes, 6, 1) = x'00' AND {which}
        AND arrival < (SELECT min(arrival) FROM entry WHERE substr(bytes, 6, 1) = x'01')"
    );
    file.execute(&spoil, []).unwrap()
}

/// Opens every document without a relay in reach, and returns their words.
pub(crate) fn alone(net: &mut Net, replica: Replica) -> Vec<Vec<String>> {
    net.cut(replica);
    net.start(replica);
    shown(net, replica)
}

pub(crate) fn shown(net: &mut Net, replica: Replica) -> Vec<Vec<String>> {
    net.documents().into_iter().map(|document| replica.words(net, document)).collect()
}

/// Alice has published, and so many others have vouched for it.
pub(crate) fn vouched_by(seed: u64, vouchers: usize) -> (Net, [Replica; 4]) {
    let (mut net, four @ [alice, _, carol, dan]) = written(seed, ["alice", "bob", "carol", "dan"]);
    for replica in [alice, carol, dan].into_iter().take(1 + vouchers) {
        publishes(&mut net, replica);
    }
    (net, four)
}

/// Lets the relay delete what is vouched for; returns how many bytes went.
pub(crate) fn pruned(net: &mut Net) -> u64 {
    net.prune_after(RELAY, RETENTION);
    let mut freed = 0;
    // It is found at first, has to stay for a while, and goes.
    for _ in 0..4 {
        net.run_for(RETENTION);
        net.sweep(RELAY);
        freed = net.metric(RELAY, "freed_bytes_total");
    }
    net.run_until_quiet();
    freed
}

/// A device that has just come, and has not opened anything.
pub(crate) fn newcomer(net: &mut Net, host: Replica, name: &str, role: Role) -> Replica {
    let replica = net.device(name);
    replica.save_from(net, FEW);
    net.join(host, replica, role);
    net.run_until_quiet();
    replica.kill(net);
    replica
}

/// Returns how many documents of a device stand on a snapshot; the device starts anew.
pub(crate) fn horizons(net: &mut Net, replica: Replica) -> i64 {
    rows(net, replica, "horizon")
}

/// Counts the rows of a table of a device's store.
pub(crate) fn rows(net: &mut Net, replica: Replica, table: &str) -> i64 {
    replica.kill(net);
    let file = rusqlite::Connection::open(replica.store_path(net)).unwrap();
    let count = file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    drop(file);
    net.start(replica);
    net.run_until_quiet();
    count
}
