//! Stories of sessions that break at a bad moment, of relays that keep something back, and of joins that fail.

use std::time::Duration;

use tombolo::crypto::InviteLink;
use tombolo::document::Crdt;
use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::frame::{Close, Frame};
use tombolo::protocol::ids::{RecordId, RelayId, WorkspaceId};
use tombolo::protocol::record::{Draft, Record, RecordBody, RelaySuccession, Role};
use tombolo::{
    Error, EvidenceKind, InviteTerms, JoinRefusal, RelayEvidence, SetAsideReason, Unsent, UnsentWork, WorkspaceState,
};
use tombolo_tests::lies::{self, Lie};
use tombolo_tests::{Net, RelayNode, Replica};

const RELAY: RelayNode = RelayNode::FIRST;

fn invite(net: &mut Net, host: Replica, workspace: WorkspaceId) -> InviteLink {
    let terms = InviteTerms { role: Role::Writer, expires_ms: None, uses: Some(1) };
    let made = net.act(host, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
    let Ok(Some(link)) = made else { unreachable!("an invite is made") };
    net.run_until_quiet();
    link
}

/// Keeps one workspace from opening: nothing about it reaches the device.
fn never_opens(workspace: WorkspaceId) -> Lie {
    let mut hidden = None;
    lies::rewrite(move |frame| {
        let about = match &frame {
            Frame::Opened(opened) if opened.workspace == workspace.tag() => {
                hidden = Some(opened.channel);
                true
            }
            Frame::Items(items) => Some(items.channel) == hidden,
            Frame::Head(head) => Some(head.channel) == hidden,
            Frame::Status(status) => Some(status.channel) == hidden,
            _ => false,
        };
        if about { Vec::new() } else { vec![frame] }
    })
}

#[test]
fn a_relay_that_lost_its_key_is_succeeded_in_every_workspace_though_the_first_session_breaks() {
    let mut net = Net::seeded(50);
    let [alice, bob] = ["alice", "bob"].map(|name| net.device(name));
    net.found(alice);
    let made = net.act(alice, |engine, now, tx| engine.create_workspace(now, "Second", tx));
    let second = made.unwrap().unwrap();
    net.run_until_quiet();
    let link = invite(&mut net, alice, second);
    net.wipe_relay(RELAY);
    net.lie(RELAY, never_opens(second));
    net.run_for(Duration::from_secs(120));
    assert!(alice.was_told(&net, |event| matches!(event, Event::RelayReplaced { .. })));
    assert!(alice.debt(&mut net).is_settled(), "the first workspace is healed");
    alice.crash(&mut net);
    net.honest(RELAY);
    net.run_until_quiet();
    alice.crash(&mut net);
    net.run_until_quiet();
    bob.take_invite(&mut net, link);
    net.run_until_quiet();
    let joined = |event: &Event| matches!(event, Event::Joined { workspace } if *workspace == second);
    assert!(bob.was_told(&net, joined), "{:?}", bob.events(&net));
}

/// Says that the session is over before the relay could prove its key.
fn turned_away_before_the_proof(code: CloseCode) -> Lie {
    lies::rewrite(move |frame| match frame {
        Frame::Challenge(_) => {
            vec![Close { code: code.number(), retry_after_ms: Some(u32::MAX), version: None }.into()]
        }
        frame => vec![frame],
    })
}

#[test]
fn a_refusal_that_anybody_could_have_forged_keeps_no_device_away() {
    for code in [CloseCode::NotAdmitted, CloseCode::UnsupportedVersion, CloseCode::Overloaded] {
        let mut net = Net::seeded(51);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        net.lie(RELAY, turned_away_before_the_proof(code));
        net.restart_relay(RELAY);
        net.run_for(Duration::from_secs(300));
        let states = net.act(alice, |engine, now, _| Ok(engine.relay_states(now))).unwrap().unwrap();
        let hearsay = |state: &RelayState| match state {
            RelayState::Offline { retry_in: Some(_), reason, proven } => {
                *reason == Some(OfflineReason::Ended(code)) && !proven
            }
            state => *state == RelayState::Dialling,
        };
        assert!(states.iter().all(|(_, state)| hearsay(state)), "{states:?}");
        let told = |event: &Event| matches!(event, Event::Relay { state, .. } if hearsay(state));
        assert!(alice.was_told(&net, told));
        alice.edit(&mut net, "meanwhile");
        net.honest(RELAY);
        net.run_for(Duration::from_secs(120));
        net.run_until_quiet();
        net.assert_converged([alice, bob]);
    }
}

fn again(link: &InviteLink) -> InviteLink {
    let Ok(link) = link.to_string().parse() else { unreachable!("a link reads what it wrote") };
    link
}

fn state(net: &mut Net, replica: Replica) -> Result<WorkspaceState, Error> {
    let workspace = net.workspace();
    let state = net.act(replica, |engine, _, _| engine.workspace_state(&workspace))?;
    state.ok_or(Error::Closed)
}

fn forget(net: &mut Net, replica: Replica, unsent: Unsent) -> Result<(), Error> {
    let workspace = net.workspace();
    net.act(replica, |engine, now, tx| engine.forget_workspace(now, &workspace, unsent, tx)).map(|_| ())
}

fn joined(event: &Event) -> bool {
    matches!(event, Event::Joined { .. })
}

#[test]
fn a_used_invite_is_refused_for_good_and_the_workspace_can_be_forgotten_and_joined_anew() {
    let mut net = Net::seeded(52);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| net.device(name));
    net.found(alice);
    let link = alice.invite(&mut net, Role::Writer);
    bob.take_invite(&mut net, again(&link));
    net.run_until_quiet();
    carol.take_invite(&mut net, link);
    net.run_until_quiet();
    let refused = |event: &Event| matches!(event, Event::JoinRefused { reason: Some(JoinRefusal::UsedUp), .. });
    assert!(carol.was_told(&net, refused), "{:?}", carol.events(&net));
    carol.crash(&mut net);
    net.run_until_quiet();
    assert!(matches!(state(&mut net, carol), Ok(WorkspaceState::Refused(JoinRefusal::UsedUp))));
    forget(&mut net, carol, Unsent::Keep).unwrap();
    carol.crash(&mut net);
    assert!(matches!(state(&mut net, carol), Err(Error::NoWorkspace(_))));
    net.join(alice, carol, Role::Writer);
    carol.edit(&mut net, "here at last");
    net.run_until_quiet();
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn another_invite_takes_the_place_of_one_that_was_refused() {
    let mut net = Net::seeded(53);
    let [alice, bob] = ["alice", "bob"].map(|name| net.device(name));
    let workspace = net.found(alice);
    let terms = InviteTerms { role: Role::Writer, expires_ms: Some(net.now().wall_ms), uses: Some(1) };
    let expired = net.act(alice, |engine, now, tx| engine.invite(now, &workspace, terms, tx)).unwrap().unwrap();
    net.run_until_quiet();
    bob.take_invite(&mut net, expired);
    net.run_until_quiet();
    assert!(matches!(state(&mut net, bob), Ok(WorkspaceState::Refused(JoinRefusal::Expired))));
    net.join(alice, bob, Role::Writer);
    assert!(matches!(state(&mut net, bob), Ok(WorkspaceState::Member)));
}

#[test]
fn a_workspace_with_unsent_work_is_forgotten_only_when_told_so_and_its_chains_are_never_forked() {
    let mut net = Net::seeded(54);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    bob.edit(&mut net, "sent");
    net.run_until_quiet();
    net.cut(bob);
    net.run_for(Duration::from_secs(60));
    net.documents().first().map(|document| bob.try_edit(&mut net, *document, "lost")).unwrap().unwrap();
    let kept = forget(&mut net, bob, Unsent::Keep);
    assert!(matches!(kept, Err(Error::UnsentWork(UnsentWork { changes: 1, entries: 0, records: 0 }))), "{kept:?}");
    // Work that waits in another workspace is not touched by it.
    let other = net.act(bob, |engine, now, tx| {
        let workspace = engine.create_workspace(now, "His own", tx)?;
        let document = engine.create_document(now, &workspace, Crdt::Automerge, tx)?;
        engine.edit(now, &document, |edit| edit.put("kept", 1), tx)?;
        Ok((workspace, document))
    });
    let (workspace, kept) = other.unwrap().unwrap();
    forget(&mut net, bob, Unsent::Discard).unwrap();
    net.heal();
    net.run_until_quiet();
    let link = invite(&mut net, bob, workspace);
    alice.take_invite(&mut net, link);
    net.run_until_quiet();
    assert!(alice.has(&mut net, kept, "kept"), "{:?}", alice.events(&net));
    net.join(alice, bob, Role::Writer);
    let document = net.documents()[0];
    assert!(bob.has(&mut net, document, "sent") && !bob.has(&mut net, document, "lost"));
    bob.edit(&mut net, "again");
    net.run_until_quiet();
    assert!(alice.has(&mut net, document, "again"));
    for replica in [alice, bob] {
        assert_eq!(replica.counted(&net, SetAsideReason::Fork), 0);
        assert!(replica.debt(&mut net).is_settled());
    }
}

#[test]
fn a_joiner_that_did_not_hear_of_its_admission_comes_in_all_the_same() {
    let mut net = Net::seeded(55);
    let [alice, bob] = ["alice", "bob"].map(|name| net.device(name));
    let workspace = net.found(alice);
    let link = alice.invite(&mut net, Role::Writer);
    net.lie(RELAY, never_opens(workspace));
    bob.take_invite(&mut net, link);
    net.run_for(Duration::from_secs(5));
    assert!(!bob.was_told(&net, joined));
    bob.crash(&mut net);
    net.honest(RELAY);
    net.run_until_quiet();
    assert!(bob.was_told(&net, joined), "{:?}", bob.events(&net));
    net.assert_converged([alice, bob]);
}

#[test]
fn a_join_that_came_before_its_invite_is_tried_again_within_seconds() {
    let mut net = Net::seeded(56);
    let [alice, bob] = ["alice", "bob"].map(|name| net.device(name));
    let workspace = net.found(alice);
    net.cut(alice);
    let terms = InviteTerms { role: Role::Writer, expires_ms: None, uses: Some(1) };
    let link = net.act(alice, |engine, now, tx| engine.invite(now, &workspace, terms, tx)).unwrap().unwrap();
    bob.take_invite(&mut net, link);
    net.run_for(Duration::from_secs(10));
    assert!(bob.was_told(&net, |event| matches!(event, Event::JoinRefused { reason: None, .. })));
    net.heal();
    while !alice.debt(&mut net).is_settled() {
        net.run_for(Duration::from_secs(1));
    }
    net.run_for(Duration::from_secs(5));
    assert!(bob.was_told(&net, joined), "{:?}", bob.events(&net));
}

/// Keeps from one device whatever is new in the log, but not what its fellows say of themselves.
fn hides_items_from(victim: Replica) -> Lie {
    Box::new(move |replica, bytes, _| match Frame::decode(&bytes) {
        Ok(Frame::Items(_)) if replica == victim => Vec::new(),
        _ => vec![bytes],
    })
}

fn evidence(net: &mut Net, replica: Replica) -> Vec<RelayEvidence> {
    let workspace = net.workspace();
    let found = net.act(replica, |engine, _, tx| engine.relay_evidence(&workspace, tx));
    let Ok(Some(found)) = found else { unreachable!("the workspace is here") };
    found
}

fn withheld(event: &Event) -> bool {
    matches!(event, Event::Withheld { .. })
}

#[test]
fn what_a_relay_keeps_back_at_the_end_is_noticed_by_what_the_others_say() {
    let mut net = Net::seeded(57);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.lie(RELAY, hides_items_from(bob));
    alice.edit(&mut net, "hidden");
    net.run_for(Duration::from_secs(25));
    assert!(!bob.was_told(&net, withheld), "a slow reader is not suspicious yet");
    net.run_for(Duration::from_secs(20));
    assert!(bob.was_told(&net, withheld), "{:?}", bob.events(&net));
    assert!(!alice.was_told(&net, withheld));
    assert_eq!(bob.counted(&net, SetAsideReason::Withheld), 1, "it is told once");
    net.honest(RELAY);
    alice.edit(&mut net, "shown");
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn a_relay_that_opens_below_what_it_signed_for_another_is_caught_with_both_its_words() {
    let mut net = Net::seeded(58);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.back_up_relay(RELAY);
    net.lie(RELAY, hides_items_from(bob));
    alice.edit(&mut net, "hidden");
    net.run_for(Duration::from_secs(10));
    net.cut(alice);
    net.run_for(Duration::from_secs(30));
    net.honest(RELAY);
    net.roll_back_relay(RELAY);
    net.run_for(Duration::from_secs(60));
    assert!(bob.was_told(&net, withheld), "{:?}", bob.events(&net));
    assert!(bob.counted(&net, SetAsideReason::Withheld) > 0);
    let found = evidence(&mut net, bob);
    assert!(found.iter().any(|found| found.kind == EvidenceKind::Withheld), "{found:?}");
    bob.edit(&mut net, "local work goes on");
    net.heal();
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn records_whose_parents_never_come_are_kept_up_to_a_bound_and_the_oldest_go_first() {
    let mut net = Net::seeded(60);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let secrets = bob.secrets(&net);
    for nth in 0..200u8 {
        let nobody = RelayId::from_bytes([nth; 32]);
        let body = RecordBody::RelaySuccession(RelaySuccession { address: String::new(), old: nobody, new: nobody });
        let draft = Draft {
            workspace: net.workspace(),
            generation: 100,
            time_ms: 0,
            author: secrets.id(),
            parents: vec![RecordId::from_bytes([nth; 32])],
            body,
            secret: vec![nth; 60_000],
        };
        net.plant_record(RELAY, &Record::sign(draft, secrets.sign_key()).unwrap());
    }
    net.run_until_quiet();
    let forgotten = alice.counted(&net, SetAsideReason::TooMuchHeld);
    assert!((50..100).contains(&forgotten), "{forgotten}");
    alice.crash(&mut net);
    alice.edit(&mut net, "all the same");
    net.run_until_quiet();
    assert_eq!(alice.counted(&net, SetAsideReason::TooMuchHeld), forgotten, "what was forgotten is not here any more");
    net.assert_converged([alice, bob]);
}

#[test]
fn one_member_gives_a_relay_that_was_put_back_the_joins_and_what_stands_on_them() {
    let mut net = Net::seeded(62);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.back_up_relay(RelayNode::FIRST);
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    alice.invite(&mut net, Role::Reader);
    net.run_until_quiet();
    alice.kill(&mut net);
    carol.kill(&mut net);
    net.roll_back_relay(RelayNode::FIRST);
    bob.edit(&mut net, "after it");
    net.run_for(Duration::from_secs(20));
    assert!(bob.is_settled(&mut net), "{:?}", bob.debt(&mut net));
}

#[test]
fn what_is_said_while_a_device_compares_is_taken_in_its_order() {
    for seed in 70..74 {
        let mut net = Net::seeded(seed);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        let other = net.add_relay();
        net.dial_relay(alice, other);
        net.run_for(Duration::from_secs(120));
        net.cut(bob);
        for _ in 0..6 {
            let document = alice.create(&mut net, Crdt::Yrs);
            net.share_document(document);
        }
        net.run_for(Duration::from_secs(30));
        net.dial_relay(bob, other);
        net.heal_to(bob, other);
        // Bob has much to fetch when the relay says that he has its list, and more comes after that word.
        for nth in 0..60 {
            alice.edit(&mut net, &format!("word-{nth}"));
            net.run_for(Duration::from_millis(20));
        }
        net.run_for(Duration::from_secs(60));
        assert_eq!(bob.counted(&net, SetAsideReason::RelayFork), 0, "{seed}");
        for document in net.documents() {
            assert!(bob.has(&mut net, document, "word-59"), "{seed}");
        }
    }
}
