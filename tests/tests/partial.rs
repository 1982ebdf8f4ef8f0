//! Stories of devices that ask relays for some documents of a workspace only (ADR 0021).

use std::time::Duration;

use tombolo::document::Crdt;
use tombolo::engine::Event;
use tombolo::protocol::frame::{Frame, Open, Reconcile};
use tombolo::protocol::ids::{DocumentId, UserId};
use tombolo::protocol::item::LogItem;
use tombolo::protocol::limits::WANTED_DOCUMENTS_MAX;
use tombolo::protocol::record::Role;
use tombolo::{Error, MembershipAct, Milestone, SetAsideReason};
use tombolo_tests::lies::{self, Lie};
use tombolo_tests::{CrashAt, Net, RelayNode, Replica};

const RELAY: RelayNode = RelayNode::FIRST;

/// Alice has made six documents, and Bob has them too.
fn six(seed: u64) -> (Net, [Replica; 2], Vec<DocumentId>) {
    let mut net = Net::seeded(seed);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let mut documents = net.documents();
    for nth in 0..4 {
        let crdt = if nth % 2 == 0 { Crdt::Automerge } else { Crdt::Yrs };
        documents.push(alice.create(&mut net, crdt));
    }
    net.run_until_quiet();
    write(&mut net, alice, &documents, "first");
    net.run_until_quiet();
    (net, [alice, bob], documents)
}

fn write(net: &mut Net, who: Replica, documents: &[DocumentId], word: &str) {
    for document in documents {
        assert!(who.try_edit(net, *document, word).is_ok(), "the edit is taken");
    }
}

fn known(net: &mut Net, who: Replica, documents: &[DocumentId], word: &str) -> Vec<bool> {
    documents.iter().map(|document| who.knows(net, *document, word)).collect()
}

/// Nothing was refused, contradicted or lost, and nothing is owed.
fn all_is_well(net: &mut Net, replicas: &[Replica]) {
    for replica in replicas {
        assert!(replica.is_settled(net), "{:?}", replica.debt(net));
        let mut counted = replica.all_counted(net);
        // What a list brings may come with the log as well.
        counted.remove(&SetAsideReason::Duplicate);
        assert!(counted.is_empty(), "{counted:?}");
        replica.assert_sound(net);
    }
}

#[test]
fn of_what_it_does_not_ask_for_a_device_is_sent_names_only_and_can_still_judge_the_log() {
    let (mut net, [alice, bob], documents) = six(900);
    bob.sync_only(&mut net, &documents[..2]).unwrap();
    net.run_until_quiet();
    let (lie, tapped) = lies::tap();
    net.lie(RELAY, lie);
    write(&mut net, alice, &documents, "second");
    net.run_until_quiet();
    assert_eq!(known(&mut net, bob, &documents, "second"), [true, true, false, false, false, false]);
    assert_eq!(known(&mut net, bob, &documents, "first"), [true; 6]);
    // And from a cursor.
    bob.crash(&mut net);
    write(&mut net, alice, &documents, "third");
    net.run_until_quiet();
    assert_eq!(known(&mut net, bob, &documents, "third"), [true, true, false, false, false, false]);
    let left_out = tapped.borrow().iter().filter(|frame| leaves_out(frame)).count();
    assert!(left_out > 1, "{left_out}");
    all_is_well(&mut net, &[alice, bob]);
}

fn leaves_out(frame: &Frame) -> bool {
    let Frame::Items(items) = frame else {
        return false;
    };
    items.items.iter().any(|item| matches!(LogItem::decode(item), Ok(LogItem::LeftOut(_))))
}

#[test]
fn what_was_left_out_comes_once_it_is_asked_for() {
    for (seed, restarts) in [(901, false), (902, true)] {
        let (mut net, [alice, bob], documents) = six(seed);
        bob.sync_only(&mut net, &documents[..1]).unwrap();
        net.run_until_quiet();
        write(&mut net, alice, &documents, "second");
        net.run_until_quiet();
        let carol = net.device("carol");
        net.join(alice, carol, Role::Writer);
        write(&mut net, carol, &documents, "carols");
        net.run_until_quiet();
        assert_eq!(known(&mut net, bob, &documents, "carols"), [true, false, false, false, false, false]);
        bob.sync_only(&mut net, &documents[..3]).unwrap();
        if restarts {
            bob.crash(&mut net);
        }
        assert!(!bob.is_settled(&mut net));
        net.run_until_quiet();
        for word in ["second", "carols"] {
            assert_eq!(known(&mut net, bob, &documents, word), [true, true, true, false, false, false]);
        }
        bob.sync_all(&mut net);
        net.run_until_quiet();
        for word in ["second", "carols"] {
            assert_eq!(known(&mut net, bob, &documents, word), [true; 6]);
        }
        write(&mut net, alice, &documents, "last");
        net.run_until_quiet();
        assert_eq!(known(&mut net, bob, &documents, "last"), [true; 6]);
        all_is_well(&mut net, &[alice, bob, carol]);
    }
}

#[test]
fn what_is_asked_for_while_others_write_comes_whole() {
    let (mut net, [alice, bob], documents) = six(903);
    bob.sync_only(&mut net, &documents[..1]).unwrap();
    net.run_until_quiet();
    for nth in 0..30 {
        write(&mut net, alice, &documents, &format!("word-{nth}"));
        if nth == 10 {
            bob.sync_only(&mut net, &documents[..4]).unwrap();
        }
        if nth == 13 {
            bob.sync_all(&mut net);
        }
        if nth == 14 {
            bob.sync_only(&mut net, &documents[..5]).unwrap();
        }
        net.run_for(Duration::from_millis(40));
    }
    net.run_until_quiet();
    for nth in 0..30 {
        let known = known(&mut net, bob, &documents, &format!("word-{nth}"));
        assert_eq!(known[..5], [true; 5], "{nth}");
    }
    all_is_well(&mut net, &[alice, bob]);
}

#[test]
fn a_device_that_dies_while_it_asks_for_more_has_it_later() {
    let mut deaths = 0;
    for (nth, at) in (1..9).flat_map(|nth| [(nth, CrashAt::BeforeCommit), (nth, CrashAt::AfterCommit)]) {
        let (mut net, [alice, bob], documents) = six(904);
        bob.sync_only(&mut net, &documents[..1]).unwrap();
        net.run_until_quiet();
        write(&mut net, alice, &documents, "second");
        net.run_until_quiet();
        bob.crash_at_commit(&mut net, nth, at);
        // Who dies before that was kept asks once more.
        drop(bob.sync_only(&mut net, &documents[..3]));
        net.run_for(Duration::from_secs(5));
        deaths += u32::from(!bob.is_up(&net));
        bob.spare(&mut net);
        net.start(bob);
        bob.sync_only(&mut net, &documents[..3]).unwrap();
        net.run_until_quiet();
        assert_eq!(known(&mut net, bob, &documents, "second"), [true, true, true, false, false, false], "{nth} {at:?}");
        all_is_well(&mut net, &[alice, bob]);
    }
    assert!(deaths >= 8, "{deaths}");
}

#[test]
fn what_a_device_creates_it_asks_for_and_what_it_writes_elsewhere_is_sent() {
    let (mut net, [alice, bob], documents) = six(905);
    bob.sync_only(&mut net, &documents[..1]).unwrap();
    net.run_until_quiet();
    let own = bob.create(&mut net, Crdt::Yrs);
    bob.try_edit(&mut net, documents[4], "bobs").unwrap();
    net.run_until_quiet();
    assert!(alice.knows(&mut net, documents[4], "bobs"));
    write(&mut net, alice, &[own, documents[4]], "alices");
    net.run_until_quiet();
    assert!(bob.knows(&mut net, own, "alices"));
    assert!(!bob.knows(&mut net, documents[4], "alices"));
    bob.crash(&mut net);
    write(&mut net, alice, &[own], "later");
    net.run_until_quiet();
    assert!(bob.knows(&mut net, own, "later"));
    let workspace = net.workspace();
    let asked = net.act(bob, |engine, _, _| engine.synced_only(&workspace)).unwrap().unwrap();
    assert_eq!(asked, Some([documents[0], own].into()));
    all_is_well(&mut net, &[alice, bob]);
}

#[test]
fn who_joins_and_asks_for_one_document_never_gets_the_others() {
    let (mut net, [alice, _], documents) = six(906);
    let carol = net.device("carol");
    let link = alice.invite(&mut net, Role::Writer);
    carol.take_invite(&mut net, link);
    // Its keys come with the join.
    while carol.sync_only(&mut net, &documents[3..4]).is_err() {
        net.run_for(Duration::from_millis(5));
    }
    carol.crash(&mut net);
    write(&mut net, alice, &documents, "second");
    net.run_until_quiet();
    assert_eq!(known(&mut net, carol, &documents, "second"), [false, false, false, true, false, false]);
    all_is_well(&mut net, &[alice, carol]);
}

#[test]
fn nobody_is_said_to_have_seen_what_they_do_not_ask_for() {
    let (mut net, [alice, bob], documents) = six(907);
    bob.sync_only(&mut net, &documents[..1]).unwrap();
    net.run_for(Duration::from_secs(60));
    write(&mut net, alice, &documents[..2], "second");
    let bobs = bob.ids(&net).0;
    let mut awaits = |document: &DocumentId| {
        let seen = net.act(alice, |engine, _, tx| engine.await_milestone(document, Milestone::SeenBy(bobs), tx));
        seen.unwrap().unwrap()
    };
    let (asked, not_asked) = (awaits(&documents[0]), awaits(&documents[1]));
    let reached = |net: &Net, nth| alice.was_told(net, |event| matches!(event, Event::Reached(of) if *of == nth));
    net.run_for(Duration::from_secs(120));
    assert!(reached(&net, asked) && !reached(&net, not_asked));
    alice.crash(&mut net);
    let mut not_asked = 0;
    // Waits are counted anew, and the first two numbers were told before.
    for _ in 0..3 {
        let seen = net.act(alice, |engine, _, tx| engine.await_milestone(&documents[1], Milestone::SeenBy(bobs), tx));
        not_asked = seen.unwrap().unwrap();
    }
    net.run_for(Duration::from_secs(120));
    assert!(!reached(&net, not_asked));
    bob.sync_all(&mut net);
    net.run_for(Duration::from_secs(120));
    assert!(reached(&net, not_asked) && bob.knows(&mut net, documents[1], "second"));
    all_is_well(&mut net, &[alice, bob]);
}

#[test]
fn a_removal_by_who_asks_for_some_documents_keeps_what_was_written_into_the_others() {
    let (mut net, [alice, bob], documents) = six(908);
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    alice.sync_only(&mut net, &documents[..1]).unwrap();
    net.run_until_quiet();
    write(&mut net, bob, &documents, "bobs");
    net.run_until_quiet();
    assert_eq!(known(&mut net, alice, &documents, "bobs"), [true, false, false, false, false, false]);
    let (workspace, bobs): (_, UserId) = (net.workspace(), bob.ids(&net).1);
    let removed =
        net.act(alice, |engine, now, tx| engine.act(now, &workspace, MembershipAct::Remove { user: bobs }, tx));
    removed.unwrap();
    net.run_until_quiet();
    assert_eq!(known(&mut net, carol, &documents, "bobs"), [true; 6]);
    alice.sync_all(&mut net);
    net.run_until_quiet();
    assert_eq!(known(&mut net, alice, &documents, "bobs"), [true; 6]);
    net.assert_equal(&[alice, carol]);
}

#[test]
fn a_relay_that_lost_its_log_gets_from_a_device_all_that_this_one_holds() {
    // A new relay would have to be named by an owner before it counts an invite: here it keeps its key.
    for (seed, restarts) in [(909, false), (910, true)] {
        let (mut net, [alice, bob], documents) = six(seed);
        bob.sync_only(&mut net, &documents[..2]).unwrap();
        net.run_until_quiet();
        write(&mut net, alice, &documents, "second");
        net.run_until_quiet();
        let link = alice.invite(&mut net, Role::Writer);
        net.run_until_quiet();
        alice.kill(&mut net);
        net.lose_log(RELAY);
        if restarts {
            bob.crash(&mut net);
        }
        net.run_for(Duration::from_secs(600));
        let carol = net.device("carol");
        carol.take_invite(&mut net, link);
        net.run_until_quiet();
        assert_eq!(known(&mut net, carol, &documents, "first"), [true; 6]);
        assert_eq!(known(&mut net, carol, &documents, "second"), [true, true, false, false, false, false]);
        net.start(alice);
        net.run_for(Duration::from_secs(600));
        assert_eq!(known(&mut net, carol, &documents, "second"), [true; 6]);
        assert_eq!(known(&mut net, bob, &documents, "second"), [true, true, false, false, false, false]);
    }
}

#[test]
fn a_relay_that_leaves_something_out_unasked_is_left_and_nothing_is_lost() {
    let (mut net, [alice, bob], documents) = six(911);
    let to_whom = bob;
    let lie: Lie = Box::new(move |to, bytes, _| {
        let Ok(Frame::Items(mut run)) = Frame::decode(&bytes) else { return vec![bytes] };
        if to == to_whom {
            let first = run.first_position;
            run.items = vec![run_of_one(first).into()];
        }
        vec![Frame::from(run).encode()]
    });
    net.lie(RELAY, lie);
    write(&mut net, alice, &documents, "second");
    net.run_for(Duration::from_secs(30));
    assert!(bob.counted(&net, SetAsideReason::Malformed) > 0);
    net.honest(RELAY);
    net.run_until_quiet();
    assert_eq!(known(&mut net, bob, &documents, "second"), [true; 6]);
}

fn run_of_one(first: u64) -> Vec<u8> {
    use tombolo::protocol::ids::EntryHash;
    use tombolo::protocol::item::{ItemHash, LeftOut};
    LeftOut::of(first - 1, &[ItemHash::Entry(EntryHash::from_bytes([7; 32]))]).encode()
}

#[test]
fn a_relay_that_gives_false_roots_is_found_out_by_its_own_head() {
    let (mut net, [alice, bob], documents) = six(912);
    bob.sync_only(&mut net, &documents[..1]).unwrap();
    net.run_until_quiet();
    let to_whom = bob;
    let lie: Lie = Box::new(move |to, bytes, _| {
        let Ok(Frame::Items(mut run)) = Frame::decode(&bytes) else { return vec![bytes] };
        for item in run.items.iter_mut().filter(|_| to == to_whom) {
            if let Ok(LogItem::LeftOut(mut left_out)) = LogItem::decode(item) {
                left_out.roots[0][0] ^= 1;
                *item = left_out.encode().into();
            }
        }
        vec![Frame::from(run).encode()]
    });
    net.lie(RELAY, lie);
    write(&mut net, alice, &documents, "second");
    net.run_until_quiet();
    bob.try_edit(&mut net, documents[0], "bobs").unwrap();
    net.run_for(Duration::from_secs(60));
    assert!(bob.counted(&net, SetAsideReason::RelayFork) > 0, "{:?}", bob.all_counted(&net));
    net.honest(RELAY);
    net.run_for(Duration::from_secs(3600));
    assert_eq!(known(&mut net, bob, &documents, "second"), [true, false, false, false, false, false]);
    assert!(alice.knows(&mut net, documents[0], "bobs"));
    assert!(bob.is_settled(&mut net));
}

#[test]
fn what_the_disk_makes_of_the_names_costs_a_comparison_and_nothing_else() {
    let spoil = [
        "UPDATE log SET wanted = x'00'",
        "UPDATE log SET wanted = NULL",
        "DELETE FROM partial",
        "DELETE FROM wanted",
        "UPDATE wanted SET document = x'0102' WHERE document IN (SELECT document FROM wanted LIMIT 1)",
    ];
    for (seed, spoilt) in (913..).zip(spoil) {
        let (mut net, [alice, bob], documents) = six(seed);
        bob.sync_only(&mut net, &documents[..3]).unwrap();
        net.run_until_quiet();
        write(&mut net, alice, &documents, "second");
        net.run_until_quiet();
        bob.kill(&mut net);
        rusqlite::Connection::open(bob.store_path(&net)).unwrap().execute(spoilt, []).unwrap();
        net.start(bob);
        net.run_until_quiet();
        bob.sync_all(&mut net);
        write(&mut net, alice, &documents, "third");
        net.run_until_quiet();
        for word in ["second", "third"] {
            assert_eq!(known(&mut net, bob, &documents, word), [true; 6], "{spoilt}");
        }
        assert!(bob.is_settled(&mut net));
    }
}

#[test]
fn more_documents_than_can_be_named_are_refused_and_nothing_changes() {
    let (mut net, [_, bob], documents) = six(920);
    bob.sync_only(&mut net, &documents[..1]).unwrap();
    let many: Vec<DocumentId> = (0..=WANTED_DOCUMENTS_MAX as u64).map(id).collect();
    let refused = bob.sync_only(&mut net, &many);
    assert!(
        matches!(refused, Err(Error::TooManyDocuments { count }) if count == WANTED_DOCUMENTS_MAX + 1),
        "{refused:?}"
    );
    bob.sync_only(&mut net, &many[1..]).unwrap();
    net.run_until_quiet();
    all_is_well(&mut net, &[bob]);
}

fn id(nth: u64) -> DocumentId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&nth.to_be_bytes());
    DocumentId::from_bytes(bytes)
}

#[test]
fn two_relays_and_a_device_that_asks_each_for_the_same() {
    let (mut net, [alice, bob], documents) = six(921);
    let other = net.add_relay();
    for who in [alice, bob] {
        net.dial_relay(who, other);
    }
    net.run_for(Duration::from_secs(120));
    bob.sync_only(&mut net, &documents[..2]).unwrap();
    net.run_until_quiet();
    net.cut_from(bob, RELAY);
    write(&mut net, alice, &documents, "second");
    net.run_for(Duration::from_secs(120));
    assert_eq!(known(&mut net, bob, &documents, "second"), [true, true, false, false, false, false]);
    let own = bob.create(&mut net, Crdt::Automerge);
    net.run_for(Duration::from_secs(120));
    write(&mut net, alice, &[own], "alices");
    net.run_for(Duration::from_secs(120));
    net.heal();
    net.run_for(Duration::from_secs(600));
    assert!(bob.knows(&mut net, own, "alices"));
    bob.sync_all(&mut net);
    net.run_for(Duration::from_secs(600));
    assert_eq!(known(&mut net, bob, &documents, "second"), [true; 6]);
    all_is_well(&mut net, &[alice, bob]);
}

#[test]
fn a_relay_that_does_not_know_of_it_sends_everything_and_nothing_is_waited_for() {
    let (mut net, [alice, bob], documents) = six(922);
    // As an older relay reads it.
    let unread = lies::rewrite(|frame| match frame {
        Frame::Open(open) => vec![Open { documents: None, ..open }.into()],
        Frame::Reconcile(compare) if compare.method == 2 => Vec::new(),
        Frame::Reconcile(compare) => vec![Reconcile { documents: None, held: None, ..compare }.into()],
        frame => vec![frame],
    });
    net.patch(bob, unread);
    bob.sync_only(&mut net, &documents[..2]).unwrap();
    net.run_until_quiet();
    write(&mut net, alice, &documents, "second");
    net.run_until_quiet();
    assert_eq!(known(&mut net, bob, &documents, "second"), [true; 6]);
    // It lists everything as well, and then all that is lacking is fetched.
    bob.kill(&mut net);
    rusqlite::Connection::open(bob.store_path(&net)).unwrap().execute("UPDATE log SET wanted = x'00'", []).unwrap();
    write(&mut net, alice, &documents, "third");
    net.run_until_quiet();
    net.start(bob);
    net.run_until_quiet();
    write(&mut net, alice, &documents, "fourth");
    net.run_until_quiet();
    bob.sync_all(&mut net);
    net.run_until_quiet();
    for word in ["third", "fourth"] {
        assert_eq!(known(&mut net, bob, &documents, word), [true; 6]);
    }
    all_is_well(&mut net, &[alice, bob]);
}

#[test]
fn what_waits_for_an_entry_of_a_document_that_is_asked_for_no_more_is_let_go() {
    let (mut net, [alice, bob], documents) = six(923);
    // Of the entries of one commit the first is kept back for good, and so is every answer.
    let (to_whom, mut kept) = (bob, false);
    let lie: Lie = Box::new(move |to, bytes, _| match Frame::decode(&bytes) {
        Ok(Frame::Items(mut run)) if to == to_whom && !kept => {
            kept = true;
            run.items.clear();
            vec![Frame::from(run).encode()]
        }
        Ok(Frame::Fetched(_)) if to == to_whom => Vec::new(),
        _ => vec![bytes],
    });
    net.lie(RELAY, lie);
    write(&mut net, alice, &documents[..1], "second");
    net.run_for(Duration::from_millis(500));
    write(&mut net, alice, &documents[..1], "third");
    net.run_for(Duration::from_secs(5));
    bob.sync_only(&mut net, &documents[1..]).unwrap();
    net.honest(RELAY);
    bob.crash(&mut net);
    net.run_until_quiet();
    assert!(bob.is_settled(&mut net), "{:?}", bob.debt(&mut net));
    bob.sync_all(&mut net);
    net.run_until_quiet();
    assert!(bob.knows(&mut net, documents[0], "second") && bob.knows(&mut net, documents[0], "third"));
}

#[test]
fn whoever_changes_its_mind_while_a_list_is_due_gets_what_it_asks_for_in_the_end() {
    for step in 0..14_u64 {
        let (mut net, [alice, bob], documents) = six(930 + step);
        bob.sync_only(&mut net, &documents[..1]).unwrap();
        net.run_until_quiet();
        // What is under way puts the list off.
        bob.try_edit(&mut net, documents[0], "bobs").unwrap();
        net.run_for(Duration::from_millis(10));
        bob.sync_only(&mut net, &documents[..2]).unwrap();
        net.run_for(Duration::from_millis(step * 20));
        bob.sync_only(&mut net, &documents[1..2]).unwrap();
        write(&mut net, alice, &documents, "between");
        net.run_for(Duration::from_millis(step * 35));
        bob.sync_only(&mut net, &documents[..1]).unwrap();
        net.run_until_quiet();
        write(&mut net, alice, &documents, "last");
        net.run_until_quiet();
        for word in ["between", "last"] {
            assert!(bob.knows(&mut net, documents[0], word), "{step}: {word}");
        }
        all_is_well(&mut net, &[alice, bob]);
    }
}

#[test]
fn two_who_type_at_once_are_no_fork_to_one_who_asks_for_some_documents() {
    let (mut net, [alice, bob], documents) = six(950);
    bob.sync_only(&mut net, &documents[..2]).unwrap();
    net.run_until_quiet();
    for nth in 0..60 {
        write(&mut net, alice, &documents, &format!("hers-{nth}"));
        write(&mut net, bob, &documents[..2], &format!("his-{nth}"));
        net.run_for(Duration::from_millis(nth % 7 * 9));
    }
    net.run_until_quiet();
    for document in &documents[..2] {
        assert!(bob.knows(&mut net, *document, "hers-59") && alice.knows(&mut net, *document, "his-59"));
    }
    all_is_well(&mut net, &[alice, bob]);
}

#[test]
fn a_device_that_asks_for_as_many_documents_as_can_be_named_creates_no_more() {
    let (mut net, [_, bob], _) = six(951);
    let workspace = net.workspace();
    bob.sync_only(&mut net, &(1..WANTED_DOCUMENTS_MAX as u64).map(id).collect::<Vec<_>>()).unwrap();
    let mut make = || net.act(bob, |engine, now, tx| engine.create_document(now, &workspace, Crdt::Yrs, tx));
    assert!(make().is_ok());
    assert!(matches!(make(), Err(Error::TooManyDocuments { count }) if count == WANTED_DOCUMENTS_MAX + 1));
}

#[test]
fn what_somebody_else_brought_to_another_relay_with_more_in_it_comes_too() {
    let (mut net, [alice, bob], documents) = six(952);
    let other = net.add_relay();
    net.dial_relay(alice, other);
    net.run_for(Duration::from_secs(120));
    bob.sync_only(&mut net, &documents[..1]).unwrap();
    net.dial_relay(bob, other);
    net.run_for(Duration::from_secs(120));
    // Bob reaches the other relay only once Alice has brought his document there, with a word of hers.
    net.cut_from(bob, other);
    let own = bob.create(&mut net, Crdt::Automerge);
    net.run_for(Duration::from_secs(120));
    write(&mut net, alice, &[own], "hers");
    net.run_for(Duration::from_secs(120));
    net.heal();
    net.run_for(Duration::from_secs(300));
    net.cut_from(bob, RELAY);
    write(&mut net, alice, &[own], "later");
    net.run_for(Duration::from_secs(300));
    assert!(bob.knows(&mut net, own, "hers") && bob.knows(&mut net, own, "later"));
}
