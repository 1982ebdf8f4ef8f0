//! Stories of what a device says it has and owes, while a relay keeps something from it or spoils it on the way, or
//! its user may not write any more.

use std::ops::DerefMut;
use std::time::Duration;

use tombolo::document::Crdt;
use tombolo::engine::Event;
use tombolo::protocol::entry::Entry;
use tombolo::protocol::frame::Frame;
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::item::LogItem;
use tombolo::protocol::record::Role;
use tombolo::{DebtReason, MembershipAct, Milestone, SetAsideReason};
use tombolo_tests::lies::Lie;
use tombolo_tests::{Net, RelayNode, Replica, Rogue};

const RELAY: RelayNode = RelayNode::FIRST;
/// Longer than what is lacking is waited for, and than a list may take to begin.
const A_WHILE: Duration = Duration::from_secs(120);

/// Alice, who founded it, Bob and Carol, each at two relays.
fn three_at_two_relays(seed: u64) -> (Net, [Replica; 3], RelayNode) {
    let mut net = Net::seeded(seed);
    let three = net.replicas(["alice", "bob", "carol"]);
    let second = net.add_relay();
    for replica in three {
        net.dial_relay(replica, second);
    }
    net.run_until_quiet();
    (net, three, second)
}

/// Changes the frames to one device.
fn to(whose: Replica, change: impl Fn(&mut Frame) + 'static) -> Lie {
    Box::new(move |to, bytes, _| match Frame::decode(&bytes) {
        Ok(mut frame) if to == whose => {
            change(&mut frame);
            vec![frame.encode()]
        }
        _ => vec![bytes],
    })
}

fn flip(bytes: &mut [u8]) {
    bytes.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
}

/// Breaks the signature of each entry.
fn spoil_entries(frame: &mut Frame) {
    match frame {
        Frame::Items(items) => {
            for item in &mut items.items {
                if matches!(LogItem::decode(item), Ok(LogItem::Entry(_) | LogItem::Elided(_))) {
                    flip(item);
                }
            }
        }
        Frame::Fetched(fetched) => fetched.entries.iter_mut().for_each(|entry| flip(entry)),
        _ => {}
    }
}

/// Breaks the signature of each record.
fn spoil_records(frame: &mut Frame) {
    match frame {
        Frame::Items(items) => {
            for item in &mut items.items {
                if matches!(LogItem::decode(item), Ok(LogItem::Record(_))) {
                    flip(item);
                }
            }
        }
        Frame::Ground(ground) => ground.records.iter_mut().for_each(|record| flip(record)),
        _ => {}
    }
}

/// Waits, on one device, until another has all that it wrote; returns how to find out.
fn ask_whether_seen(net: &mut Net, author: Replica, reader: Replica) -> impl Fn(&Net) -> bool + use<> {
    let (document, device) = (net.documents()[0], reader.ids(net).0);
    let asked = net.act(author, |engine, _, tx| engine.await_milestone(&document, Milestone::SeenBy(device), tx));
    let Ok(Some(number)) = asked else { unreachable!("the device is up") };
    move |net| author.was_told(net, |event| matches!(event, Event::Reached(told) if *told == number))
}

#[test]
fn what_came_spoilt_is_not_said_to_be_seen_and_the_session_that_lives_on_gets_it() {
    let mut net = Net::seeded(301);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    let sessions = net.metric(RELAY, "sessions_total");
    net.lie(RELAY, to(bob, spoil_entries));
    alice.edit(&mut net, "tide");
    let is_seen = ask_whether_seen(&mut net, alice, bob);
    net.run_for(A_WHILE);
    assert!(!bob.has(&mut net, document, "tide"));
    assert!(!is_seen(&net), "alice was told that bob has seen what came to him spoilt");

    net.honest(RELAY);
    net.run_for(3 * A_WHILE);
    assert!(bob.has(&mut net, document, "tide"), "the session that lives on never asks again");
    assert!(is_seen(&net));
    assert_eq!(net.metric(RELAY, "sessions_total"), sessions, "no other session was needed");
    net.assert_converged([alice, bob]);
}

#[test]
fn what_waits_for_a_spoilt_record_is_not_said_to_be_seen_and_the_session_that_lives_on_gets_it() {
    let mut net = Net::seeded(302);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    net.lie(RELAY, to(bob, spoil_records));
    alice.invite(&mut net, Role::Reader);
    alice.edit(&mut net, "behind-it");
    let is_seen = ask_whether_seen(&mut net, alice, bob);
    net.run_for(A_WHILE);
    assert!(!bob.has(&mut net, document, "behind-it"));
    assert!(!is_seen(&net), "alice was told that bob has seen what waits with him");

    net.honest(RELAY);
    net.run_for(3 * A_WHILE);
    assert!(bob.has(&mut net, document, "behind-it"), "the session that lives on never asks again");
    assert!(is_seen(&net));
    net.assert_converged([alice, bob]);
}

#[test]
fn a_spoilt_record_that_waited_for_its_parent_is_kept_as_it_was_signed() {
    for restarts in [false, true] {
        let mut net = Net::seeded(310);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        net.lie(RELAY, to(bob, spoil_records));
        alice.invite(&mut net, Role::Reader);
        alice.invite(&mut net, Role::Reader);
        net.run_for(Duration::from_secs(10));
        if restarts {
            bob.crash(&mut net);
            net.run_for(Duration::from_secs(10));
        }
        net.honest(RELAY);
        bob.crash(&mut net);
        net.run_for(A_WHILE);
        bob.crash(&mut net);
        net.run_for(A_WHILE);
        // A relay that has nothing takes from bob what alice signed, and no spoilt copy of it.
        alice.kill(&mut net);
        net.wipe_relay(RELAY);
        net.run_for(A_WHILE);
        let debt = bob.debt(&mut net);
        assert!(debt.is_settled(), "{debt:?}");
    }
}

#[test]
fn a_list_whose_chains_are_not_to_be_had_is_not_said_to_be_reached() {
    let mut net = Net::seeded(303);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    net.cut(bob);
    alice.edit(&mut net, "tide");
    net.run_until_quiet();
    net.lose_log(RELAY);
    net.run_until_quiet();
    net.lie(
        RELAY,
        to(bob, |frame| {
            if let Frame::Fetched(fetched) = frame {
                fetched.entries.clear();
            }
        }),
    );
    net.heal();
    let is_seen = ask_whether_seen(&mut net, alice, bob);
    net.run_for(A_WHILE);
    assert!(!bob.has(&mut net, document, "tide"));
    assert!(!is_seen(&net), "alice was told that bob has seen what the relay kept back");
    assert!(!bob.debt(&mut net).is_settled(), "bob says that he has all that the relay lists");

    net.honest(RELAY);
    bob.crash(&mut net);
    net.run_for(A_WHILE);
    assert!(bob.has(&mut net, document, "tide"), "what a list left open is not asked for again");
    assert!(is_seen(&net));
    net.assert_converged([alice, bob]);
}

#[test]
fn what_was_left_out_of_a_run_is_not_said_to_be_seen_by_its_place_and_is_found_by_what_the_others_say() {
    let mut net = Net::seeded(309);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    // Nobody signs a head for what comes in the midst of a session, so bob can not tell by himself.
    net.lie(
        RELAY,
        to(bob, |frame| match frame {
            Frame::Items(items) => drop(items.items.remove(0)),
            Frame::Fetched(fetched) => fetched.entries.clear(),
            _ => {}
        }),
    );
    alice.edit(&mut net, "tide");
    let is_seen = ask_whether_seen(&mut net, alice, bob);
    net.run_for(A_WHILE);
    assert!(!bob.has(&mut net, document, "tide"));
    assert!(!is_seen(&net), "alice was told that bob has seen what was left out");

    net.honest(RELAY);
    net.run_for(3 * A_WHILE);
    assert!(bob.has(&mut net, document, "tide"));
    assert!(is_seen(&net));
    net.assert_converged([alice, bob]);
}

#[test]
fn what_a_relay_left_out_for_one_is_not_said_to_be_seen_by_what_it_put_in_its_place() {
    let mut net = Net::seeded(317);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    // Of what alice brings at once bob is given all but the first: each in the place of the one before.
    net.lie(
        RELAY,
        to(bob, |frame| match frame {
            Frame::Items(items) if items.items.len() > 1 => drop(items.items.remove(0)),
            Frame::Fetched(fetched) => fetched.entries.clear(),
            _ => {}
        }),
    );
    net.cut(alice);
    alice.edit(&mut net, "tide");
    alice.create(&mut net, Crdt::Yrs);
    net.heal();
    let is_seen = ask_whether_seen(&mut net, alice, bob);
    net.run_for(A_WHILE);
    assert!(!bob.has(&mut net, document, "tide"));
    assert!(!is_seen(&net), "alice was told that bob has seen what was left out");

    net.honest(RELAY);
    net.run_for(3 * A_WHILE);
    assert!(bob.has(&mut net, document, "tide"));
    assert!(is_seen(&net));
    net.assert_converged([alice, bob]);
}

#[test]
fn what_another_device_brought_to_a_relay_is_not_said_to_be_seen_by_one_that_has_been_there_before() {
    let (mut net, [alice, bob, carol], second) = three_at_two_relays(304);
    net.cut_from(alice, second);
    net.cut(bob);
    let document = net.documents()[0];
    alice.edit(&mut net, "tide");
    // Carol brings it to the second relay, and alice learns of that by a list.
    net.run_for(A_WHILE);
    let is_seen = ask_whether_seen(&mut net, alice, bob);
    net.heal_to(alice, second);
    net.run_for(A_WHILE);
    assert!(!bob.has(&mut net, document, "tide"));
    assert!(!is_seen(&net), "alice was told that bob has seen what he was away for");
    net.heal();
    net.run_for(A_WHILE);
    assert!(is_seen(&net));
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn what_stands_on_work_that_has_not_come_is_not_said_to_be_seen() {
    let (mut net, [alice, bob, carol], second) = three_at_two_relays(312);
    net.cut_from(alice, RELAY);
    net.cut_from(bob, second);
    let document = net.documents()[0];
    alice.edit(&mut net, "ebb");
    while !carol.has(&mut net, document, "ebb") {
        net.run_for(Duration::from_millis(20));
    }
    // What alice wrote is on its way to the first relay by carol, who does not hurry with the work of others.
    carol.edit(&mut net, "tide");
    let is_seen = ask_whether_seen(&mut net, carol, bob);
    for _ in 0..600 {
        net.run_for(Duration::from_millis(100));
        assert!(!is_seen(&net) || bob.has(&mut net, document, "tide"), "carol was told that bob has seen it");
    }
    assert!(is_seen(&net));
    net.heal();
    net.run_until_quiet();
    net.assert_converged([alice, bob, carol]);
}

/// Breaks the signature of each entry of a frame but the last.
fn spoil_all_but_the_last(frame: &mut Frame) {
    fn spoil<B: DerefMut<Target = Vec<u8>>>(items: &mut [B]) {
        let entries = items.iter_mut().filter(|item| !matches!(LogItem::decode(item), Ok(LogItem::Record(_))));
        entries.rev().skip(1).for_each(|item| flip(item));
    }
    match frame {
        Frame::Items(items) => spoil(&mut items.items),
        Frame::Fetched(fetched) => spoil(&mut fetched.entries),
        _ => {}
    }
}

#[test]
fn an_entry_whose_copy_came_spoilt_is_proven_by_the_next_and_other_relays_take_both() {
    let mut net = Net::seeded(313);
    let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
    let (document, second) = (net.documents()[0], net.add_relay());
    net.cut(bob);
    net.cut(carol);
    for word in ["ebb", "tide", "flood"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    net.lie(RELAY, to(bob, spoil_all_but_the_last));
    net.heal_to(bob, RELAY);
    net.run_for(A_WHILE);
    assert!(["ebb", "tide", "flood"].iter().all(|word| bob.has(&mut net, document, word)));
    assert_eq!(bob.integrity(&net).proven_by_later.len(), 2);
    bob.assert_sound(&net);

    // Nobody has better copies now than bob.
    alice.kill(&mut net);
    net.stop_relay(RELAY);
    net.heal();
    for replica in [bob, carol] {
        net.dial_relay(replica, second);
    }
    net.run_for(3 * A_WHILE);
    assert!(bob.debt(&mut net).is_settled(), "{:?}", bob.debt(&mut net));
    net.assert_converged([bob, carol]);
    carol.assert_sound(&net);
}

/// Changes, each time that a run of several entries is fetched, a byte of what is sealed in the first.
fn change_the_first_of_several(frame: &mut Frame) {
    if let Frame::Fetched(fetched) = frame
        && let [first, _, ..] = &mut fetched.entries[..]
        && let Some(byte) = first.iter_mut().nth_back(80)
    {
        *byte ^= 1;
    }
}

#[test]
fn what_waits_for_a_spoilt_entry_of_a_list_is_not_owed_to_the_relay_that_listed_it() {
    let mut net = Net::seeded(315);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let (document, second) = (net.documents()[0], net.add_relay());
    net.cut(bob);
    for word in ["ebb", "tide", "flood"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    net.dial_relay(alice, second);
    net.run_until_quiet();
    net.lie(second, to(bob, change_the_first_of_several));
    net.dial_relay(bob, second);
    net.heal_to(bob, second);
    net.run_for(A_WHILE);
    assert_eq!(bob.counted(&net, SetAsideReason::Gap), 4, "two entries of each document waited");
    assert!(["ebb", "tide", "flood"].iter().all(|word| bob.has(&mut net, document, word)));
    assert!(bob.debt(&mut net).is_settled(), "{:?}", bob.debt(&mut net));
    bob.assert_sound(&net);
    net.assert_converged([alice, bob]);
}

#[test]
fn entries_that_came_spoilt_one_by_one_are_taken_with_the_one_that_proves_them() {
    let mut net = Net::seeded(314);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    let last = net.entries(RELAY).iter().map(|entry| entry.header().seq).max().unwrap_or(0);
    let is_spoilt = move |seq: u64| seq == last + 1 || seq == last + 2;
    let spoil_item = move |item: &mut [u8]| {
        let seq = match LogItem::decode(item) {
            Ok(LogItem::Elided(elided)) => Some(elided.seq),
            Ok(LogItem::Entry(bytes)) => Entry::decode(bytes).ok().map(|entry| entry.header().seq),
            _ => None,
        };
        seq.filter(|seq| is_spoilt(*seq)).into_iter().for_each(|_| flip(item));
    };
    // The relay has no better copies of two of them, whenever it is asked.
    net.lie(
        RELAY,
        to(bob, move |frame| match frame {
            Frame::Items(items) => items.items.iter_mut().for_each(|item| spoil_item(item)),
            Frame::Fetched(fetched) => {
                let spoilt = |bytes: &[u8]| Entry::decode(bytes).is_ok_and(|entry| is_spoilt(entry.header().seq));
                fetched.entries.iter_mut().filter(|entry| spoilt(entry)).for_each(|entry| flip(entry));
                // So little fits into a frame.
                fetched.entries.truncate(1);
            }
            _ => {}
        }),
    );
    for word in ["ebb", "tide"] {
        alice.edit(&mut net, word);
        net.run_for(A_WHILE);
        assert!(!bob.has(&mut net, document, word));
    }
    alice.edit(&mut net, "flood");
    net.run_for(A_WHILE);
    assert!(["ebb", "tide", "flood"].iter().all(|word| bob.has(&mut net, document, word)));
    bob.assert_sound(&net);
    net.assert_converged([alice, bob]);
}

fn set_role(net: &mut Net, by: Replica, whose: Replica, role: Role) {
    let (workspace, user) = (net.workspace(), whose.ids(net).1);
    let act = MembershipAct::SetRole { user, role, expires_ms: None };
    let stated = net.act(by, move |engine, now, tx| engine.act(now, &workspace, act, tx));
    assert!(matches!(stated, Ok(Some(_))), "{stated:?}");
}

fn kept_words(net: &mut Net, replica: Replica, document: DocumentId) -> Vec<String> {
    let read = net.act(replica, |engine, now, tx| engine.read_with_kept(now, &document, |view| view.keys(), tx));
    let Ok(Some(Ok(words))) = read else { unreachable!("the device is up") };
    words
}

#[test]
fn what_was_typed_offline_by_who_may_not_write_any_more_is_kept_aside_and_comes_back_with_the_right() {
    let mut net = Net::seeded(305);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    net.cut(bob);
    // Until he has noticed that he is offline, he seals what he writes.
    net.run_for(A_WHILE);
    bob.edit(&mut net, "typed");
    set_role(&mut net, alice, bob, Role::Reader);
    alice.edit(&mut net, "tide");
    net.run_until_quiet();
    net.heal();
    net.run_for(A_WHILE);
    for _ in 0..2 {
        assert!(bob.has(&mut net, document, "tide"));
        assert!(!bob.has(&mut net, document, "typed"), "bob sees what nobody else will");
        let versions = [alice, bob]
            .map(|replica| net.act(replica, |engine, now, tx| engine.version(now, &document, tx)).unwrap().unwrap());
        assert_eq!(versions[0], versions[1]);
        let debt = bob.debt(&mut net);
        assert!(!debt.is_settled());
        let owed: Vec<_> = debt.documents.iter().map(|owed| (owed.pending_changes, owed.reason)).collect();
        assert_eq!(owed, [(1, DebtReason::Refused(SetAsideReason::RoleDenied)); 2]);
        assert!(kept_words(&mut net, bob, document).contains(&"typed".to_owned()), "the work can not be got at");
        bob.crash(&mut net);
        net.run_for(A_WHILE);
    }
    set_role(&mut net, alice, bob, Role::Writer);
    net.run_for(A_WHILE);
    assert!(alice.has(&mut net, document, "typed"));
    net.assert_converged([alice, bob]);
}

#[test]
fn what_a_device_keeps_aside_itself_it_does_not_owe_to_a_relay_that_lost_it() {
    let mut net = Net::seeded(306);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let mallory = net.device("mallory");
    let link = alice.invite(&mut net, Role::Reader);
    let again = link.to_string().parse().unwrap();
    mallory.take_invite(&mut net, link);
    net.run_until_quiet();
    let mut rogue = Rogue::of(&net, mallory, &again);
    let target = net.documents()[0];
    let entry = rogue.seal(target, Crdt::Automerge.as_u8(), b"a reader's");
    mallory.kill(&mut net);
    net.plant_entry(RELAY, &entry);
    net.run_until_quiet();
    for replica in [alice, bob] {
        assert_eq!(replica.debt(&mut net).set_aside.len(), 1);
    }
    net.wipe_relay(RELAY);
    net.run_for(A_WHILE);
    for replica in [alice, bob] {
        let debt = replica.debt(&mut net);
        assert_eq!(debt.set_aside.len(), 1);
        assert!(debt.is_settled(), "{debt:?}");
    }
    net.assert_converged([alice, bob]);
}

#[test]
fn who_may_only_read_or_carry_gives_a_relay_back_what_nobody_else_holds() {
    for role in [Role::Reader, Role::Carrier] {
        let mut net = Net::seeded(318);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        let document = net.documents()[0];
        let carol = net.device("carol");
        net.join(alice, carol, role);
        net.cut(alice);
        bob.edit(&mut net, "tide");
        net.run_until_quiet();
        // Bob's device is lost for good, and the relay with all that it held.
        bob.kill(&mut net);
        net.lose_log(RELAY);
        net.heal();
        net.run_for(A_WHILE);
        assert!(alice.has(&mut net, document, "tide"), "{role:?}");
        assert!(carol.debt(&mut net).is_settled(), "{role:?}: {:?}", carol.debt(&mut net));
    }
}

#[test]
fn who_lacks_the_key_of_what_came_does_not_say_that_all_is_settled() {
    let mut net = Net::seeded(307);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let document = net.documents()[0];
    let carol = net.device("carol");
    net.join(alice, carol, Role::Carrier);
    bob.edit(&mut net, "tide");
    net.run_until_quiet();
    assert!(carol.debt(&mut net).is_settled(), "a carrier needs no keys");
    net.cut(bob);
    set_role(&mut net, alice, carol, Role::Reader);
    net.run_for(Duration::from_millis(150));
    net.cut(alice);
    net.run_for(A_WHILE);
    let debt = carol.debt(&mut net);
    assert!(debt.held.get(&SetAsideReason::PendingKey).is_some_and(|entries| *entries > 0), "{debt:?}");
    assert!(!debt.is_settled());
    net.heal();
    net.run_for(A_WHILE);
    assert!(carol.has(&mut net, document, "tide"));
    assert!(carol.debt(&mut net).is_settled());
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn a_document_tells_what_it_is_though_somebody_else_wrote_into_it_first() {
    let mut net = Net::seeded(308);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let mallory = net.device("mallory");
    let link = alice.invite(&mut net, Role::Writer);
    let again = link.to_string().parse().unwrap();
    mallory.take_invite(&mut net, link);
    net.run_until_quiet();
    let mut rogue = Rogue::of(&net, mallory, &again);
    mallory.kill(&mut net);
    net.cut(alice);
    let document = alice.create(&mut net, Crdt::Yrs);
    let entry = rogue.seal(document, Crdt::Yrs.as_u8(), b"first");
    net.plant_entry(RELAY, &entry);
    net.run_until_quiet();
    net.heal();
    net.run_for(A_WHILE);
    alice.try_edit(&mut net, document, "tide").unwrap();
    net.run_for(A_WHILE);
    assert!(bob.has(&mut net, document, "tide"), "nobody else knows what the document is");
}
