//! Work of a fixed size, for a counter of instructions: `cargo xtask ci counts` plays each in several sizes and judges how
//! what one more costs grows, and what it is beside the signatures and seals that it can not be without.
//!
//! Invariant: a workload and a size decide everything that is done, but for sockets and threads, of which there are none.

use std::hint::black_box;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tombolo::document::Crdt;
use tombolo::protocol::keys::{VerifyKey, memo};
use tombolo::protocol::record::Role;
use tombolo::{MembershipAct, SystemEntropy};
use tombolo_crypto::{DeviceSecrets, Secret32, StoreCipher};
use tombolo_testkit::net::Net;
use tombolo_testkit::replica::Replica;

/// Bytes that are sealed and signed: a small entry.
const MESSAGE_BYTES: usize = 200;
/// Time between two edits: each is an entry of its own.
const PAUSE: Duration = Duration::from_millis(400);
const SEED: u64 = 7;
/// Documents to which a device comes back.
const FEW: usize = 20;
const MANY: usize = 320;
/// Characters of a text that somebody else began.
const SHORT: usize = 200;
const LONG: usize = 20_000;
/// Edits of a burst: what waits while a device flushes.
const BURST: usize = 64;

/// Does one workload once, in one size.
#[derive(Parser)]
struct Wanted {
    workload: Workload,
    /// How much of it.
    size: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Workload {
    /// Signing once, verifying, sealing and opening twice: what an entry costs that one writes and one reads.
    Primitives,
    /// Edits that one device makes while another reads along, through a relay; yrs.
    LiveYrs,
    /// The same with automerge.
    LiveAutomerge,
    /// Edits that a device hears of when it comes back, each of a round trip of its own; yrs.
    AwayYrs,
    /// Documents that are made, and reach another device.
    Documents,
    /// Roles that are given, and judged by all.
    Roles,
    /// A device that comes back again and again to few documents, none of which has changed.
    ReturnToFew,
    /// The same to many.
    ReturnToMany,
    /// Edits of a short text that somebody else began; automerge.
    TypeInShort,
    /// The same of a long one.
    TypeInLong,
    /// Bursts of edits of a text that nobody else has, each burst a commit; automerge.
    TypeOwnAutomerge,
    /// The same edits with the library alone, each a transaction of which the bytes are taken.
    AloneAutomerge,
    /// The bursts; yrs.
    TypeOwnYrs,
}

fn main() {
    let Wanted { workload, size } = Wanted::parse();
    match workload {
        Workload::Primitives => primitives(size),
        Workload::LiveYrs => live(Crdt::Yrs, size),
        Workload::LiveAutomerge => live(Crdt::Automerge, size),
        Workload::AwayYrs => away(size),
        Workload::Documents => documents(size),
        Workload::Roles => roles(size),
        Workload::ReturnToFew => returns(FEW, size),
        Workload::ReturnToMany => returns(MANY, size),
        Workload::TypeInShort => types(SHORT, size),
        Workload::TypeInLong => types(LONG, size),
        Workload::TypeOwnAutomerge => types_own(Crdt::Automerge, size),
        Workload::AloneAutomerge => alone_automerge(size),
        Workload::TypeOwnYrs => types_own(Crdt::Yrs, size),
    }
}

#[expect(clippy::expect_used, reason = "what was just signed and sealed verifies and opens")]
fn primitives(size: usize) {
    let mut entropy = SystemEntropy::new();
    let cipher = StoreCipher::new(Secret32::generate(&mut entropy));
    let device = DeviceSecrets::generate(&mut entropy);
    let key = VerifyKey::parse(&device.sign_key().public()).expect("a key");
    let message = [7_u8; MESSAGE_BYTES];
    for _ in 0..size {
        let signature = device.sign_key().sign("tombolo/counted", &message);
        for _ in 0..2 {
            key.verify("tombolo/counted", &message, &signature).expect("its signature");
            let sealed = cipher.seal("counted", "value", b"key", &message, &mut entropy);
            black_box(cipher.open("counted", "value", b"key", &sealed).expect("its seal"));
        }
    }
}

fn two() -> (Net, Replica, Replica) {
    let mut net = Net::seeded(SEED);
    // A device or a relay of its own verifies for itself.
    memo::switch_off();
    let [alice, bob] = net.replicas(["alice", "bob"]);
    (net, alice, bob)
}

#[expect(clippy::expect_used, reason = "the document is there, and the device writes")]
fn edits(net: &mut Net, alice: Replica, crdt: Crdt, size: usize) {
    let document = alice.create(net, crdt);
    net.share_document(document);
    net.run_until_quiet();
    for nth in 0..size {
        alice.try_edit(net, document, &format!("word{nth}")).expect("an edit");
        net.run_for(PAUSE);
    }
}

fn live(crdt: Crdt, size: usize) {
    let (mut net, alice, bob) = two();
    edits(&mut net, alice, crdt, size);
    net.run_until_quiet();
    bob.assert_sound(&net);
}

fn away(size: usize) {
    let (mut net, alice, bob) = two();
    net.cut(bob);
    edits(&mut net, alice, Crdt::Yrs, size);
    net.heal();
    net.run_until_quiet();
    bob.assert_sound(&net);
}

fn documents(size: usize) {
    let (mut net, alice, bob) = two();
    for _ in 0..size {
        let document = alice.create(&mut net, Crdt::Yrs);
        net.share_document(document);
        net.run_for(PAUSE);
    }
    net.run_until_quiet();
    bob.assert_sound(&net);
}

#[expect(clippy::expect_used, reason = "the founder may give roles")]
fn roles(size: usize) {
    let (mut net, alice, bob) = two();
    let (workspace, user) = (net.workspace(), bob.ids(&net).1);
    for nth in 0..size {
        let role = if nth % 2 == 0 { Role::Admin } else { Role::Writer };
        let act = MembershipAct::SetRole { user, role, expires_ms: None };
        let given = net.act(alice, |engine, now, tx| engine.act(now, &workspace, act, tx));
        given.expect("a role is given");
        net.run_for(PAUSE);
    }
    net.run_until_quiet();
    bob.assert_sound(&net);
}

fn returns(documents: usize, size: usize) {
    let (mut net, alice, bob) = two();
    for _ in 0..documents {
        let document = alice.create(&mut net, Crdt::Yrs);
        net.share_document(document);
    }
    net.run_until_quiet();
    for _ in 0..size {
        bob.crash(&mut net);
        net.run_until_quiet();
        assert!(bob.is_settled(&mut net), "{:?}", bob.debt(&mut net));
    }
}

#[expect(clippy::expect_used, reason = "the document is there, and both devices write")]
fn types(characters: usize, size: usize) {
    let (mut net, alice, bob) = two();
    let document = alice.create(&mut net, Crdt::Automerge);
    net.share_document(document);
    let begun = net.act(alice, |engine, now, tx| {
        engine.edit(now, &document, |edit| edit.text("body")?.push_str(&"x".repeat(characters)), tx)
    });
    begun.expect("the text is begun");
    net.run_until_quiet();
    // She would apply what he types, which takes as long as the document is.
    net.cut(alice);
    for nth in 0..size {
        bob.try_edit(&mut net, document, &format!("word{nth}")).expect("an edit");
        net.run_for(PAUSE);
    }
    net.run_until_quiet();
    bob.assert_sound(&net);
}

/// What is typed: letter by letter at the end, and now and then the last two are taken back. Returns place and length of
/// what is removed, with what is put there.
fn keystrokes(size: usize) -> impl Iterator<Item = (usize, usize, &'static str)> {
    let mut length = 0;
    (0..size * BURST).map(move |nth| {
        let (at, removed, letter) = if nth % 16 == 15 { (length - 2, 2, "") } else { (length, 0, "x") };
        length = at + letter.len();
        (at, removed, letter)
    })
}

#[expect(clippy::expect_used, reason = "the document is there, and its author writes")]
fn types_own(crdt: Crdt, size: usize) {
    let (mut net, alice, _) = two();
    net.cut(alice);
    let document = alice.create(&mut net, crdt);
    let mut keystrokes = keystrokes(size);
    for _ in 0..size {
        let burst: Vec<_> = keystrokes.by_ref().take(BURST).collect();
        let typed = net.act(alice, |engine, now, tx| {
            burst.iter().try_for_each(|(at, removed, letter)| {
                engine.edit(now, &document, |edit| edit.text("body")?.splice(*at, *removed, letter), tx)
            })
        });
        typed.expect("edits");
    }
}

#[expect(clippy::expect_used, reason = "the edits are sound")]
fn alone_automerge(size: usize) {
    use automerge::transaction::Transactable;
    let mut document = automerge::Automerge::new();
    let mut transaction = document.transaction();
    let text = transaction.put_object(automerge::ROOT, "body", automerge::ObjType::Text).expect("a text");
    transaction.commit();
    for (at, removed, letter) in keystrokes(size) {
        let mut transaction = document.transaction();
        transaction.splice_text(&text, at, removed.cast_signed(), letter).expect("an edit");
        transaction.commit();
        black_box(document.get_last_local_change().map(|change| change.raw_bytes().to_vec()));
    }
}
