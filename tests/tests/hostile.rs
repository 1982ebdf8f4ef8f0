//! Stories of members who mean harm and relays that lie, beside the numbered cases in `adversarial/`.

use std::time::Duration;

use tombolo::crypto::{InviteLink, array};
use tombolo::document::Crdt;
use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::frame::Frame;
use tombolo::protocol::item::LogItem;
use tombolo::protocol::record::{Draft, Genesis, Record, RecordBody, Role};
use tombolo::{DebtReason, SetAsideReason};
use tombolo_tests::lies::{self, Lie};
use tombolo_tests::{Chance, Net, RelayNode, Replica, Rogue};

/// Decodes and applies, then every later encode of the document panics in yrs 0.28.1.
const YRS_POISON: [u8; 20] = [1, 2, 1, 0, 0xf2, 0x47, 1, 2, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0x18, 1, 1];
/// No automerge change, though it begins like one.
const AUTOMERGE_POISON: [u8; 20] = [0x85, 0x6f, 0x4a, 0x83, 3, 3, 3, 3, 1, 9, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3];

const RELAY: RelayNode = RelayNode::FIRST;

/// Two honest members, and one in the hands of somebody who means harm.
fn with_rogue(seed: u64, role: Role) -> (Net, [Replica; 2], Replica, Rogue) {
    let mut net = Net::seeded(seed);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let mallory = net.device("mallory");
    let link = alice.invite(&mut net, role);
    let Ok(again) = link.to_string().parse::<InviteLink>() else { unreachable!("a link reads what it wrote") };
    mallory.take_invite(&mut net, link);
    net.run_until_quiet();
    let rogue = Rogue::of(&net, mallory, &again);
    (net, [alice, bob], mallory, rogue)
}

fn set_aside(net: &mut Net, replica: Replica) -> Vec<SetAsideReason> {
    replica.debt(net).set_aside.iter().map(|entry| entry.reason).collect()
}

#[test]
fn poison_of_a_member_is_set_aside_and_nobody_falls_over() {
    let cases = [(0, Crdt::Automerge, &AUTOMERGE_POISON), (1, Crdt::Yrs, &YRS_POISON)];
    for (nth, crdt, poison) in cases {
        let (mut net, [alice, bob], mallory, mut rogue) = with_rogue(20, Role::Writer);
        let entry = rogue.seal(net.documents()[nth], crdt.as_u8(), poison);
        net.patch(mallory, lies::append_too(vec![LogItem::encode_entry(&entry, None)]));
        alice.edit(&mut net, "bait");
        net.run_until_quiet();
        mallory.kill(&mut net);
        for restart in 0..3 {
            for replica in [alice, bob] {
                replica.edit(&mut net, &format!("after {restart} by {replica:?}"));
            }
            net.run_until_quiet();
            net.assert_converged([alice, bob]);
            for replica in [alice, bob] {
                assert_eq!(set_aside(&mut net, replica), [SetAsideReason::Poison], "{crdt:?}");
                replica.crash(&mut net);
            }
        }
        assert!(alice.counted(&net, SetAsideReason::Poison) > 0);
        assert!(bob.was_told(&net, |event| matches!(event, Event::SetAside { .. })));
    }
}

#[test]
fn an_entry_of_a_device_that_nobody_knows_is_dropped_and_does_not_wait() {
    let (mut net, [alice, bob], _, mut rogue) = with_rogue(25, Role::Writer);
    let stranger = net.device("stranger");
    rogue.act_as(stranger.secrets(&net));
    let entry = rogue.seal(net.documents()[1], Crdt::Yrs.as_u8(), &YRS_POISON);
    net.plant_entry(RELAY, &entry);
    net.run_until_quiet();
    for replica in [alice, bob] {
        assert_eq!(replica.counted(&net, SetAsideReason::UnknownAuthor), 1);
        let debt = replica.debt(&mut net);
        assert!(debt.held.is_empty() && debt.set_aside.is_empty(), "{debt:?}");
    }
    alice.edit(&mut net, "after");
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn a_genesis_that_the_relay_made_up_is_refused() {
    let (mut net, [alice, bob], mallory, _) = with_rogue(24, Role::Writer);
    let secrets = mallory.secrets(&net);
    let root = tombolo::crypto::UserRoot::from_seed(&[3; 32]);
    let genesis = Genesis {
        nonce: array(&mut Chance::new(24, "genesis")),
        root: tombolo::protocol::keys::VerifyKey::parse(&root.sign_key().public()).unwrap(),
        device: secrets.public(),
        blinding_commitment: [5; 32],
    };
    let draft = Draft {
        workspace: Record::NO_WORKSPACE,
        generation: 0,
        time_ms: 0,
        author: secrets.id(),
        parents: Vec::new(),
        body: RecordBody::Genesis(Box::new(genesis)),
        secret: Vec::new(),
    };
    let record = Record::sign(draft, secrets.sign_key()).unwrap();
    net.plant_record(RELAY, &record);
    net.run_until_quiet();
    for replica in [alice, bob] {
        assert_eq!(replica.counted(&net, SetAsideReason::RecordRefused), 1);
        replica.edit(&mut net, &format!("after by {replica:?}"));
    }
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

/// Lets a relay lie while two devices write; returns what the reader counted. Then the relay is honest.
fn lied_to(seed: u64, lie: Lie) -> (Net, [Replica; 2]) {
    let mut net = Net::seeded(seed);
    let replicas = net.replicas(["alice", "bob"]);
    net.lie(RELAY, lie);
    for round in 0..6 {
        for replica in replicas {
            replica.edit(&mut net, &format!("{round} by {replica:?}"));
        }
        net.run_for(Duration::from_secs(2));
    }
    net.run_for(Duration::from_secs(120));
    (net, replicas)
}

fn honest_again(net: &mut Net, replicas: [Replica; 2]) {
    net.honest(RELAY);
    net.run_for(Duration::from_secs(120));
    // What a relay keeps to itself at the very end is noticed with the next thing that it says.
    for replica in replicas {
        replica.edit(net, &format!("at last by {replica:?}"));
    }
    net.run_for(Duration::from_secs(120));
    net.run_until_quiet();
    net.assert_converged(replicas);
}

#[test]
fn items_that_the_relay_drops_are_noticed_as_a_fork_of_its_log() {
    let (mut net, replicas) = lied_to(30, lies::drop_items());
    assert!(replicas.iter().any(|replica| replica.counted(&net, SetAsideReason::RelayFork) > 0));
    assert!(replicas.iter().any(|replica| replica.was_told(&net, |e| matches!(e, Event::RelayFork { .. }))));
    honest_again(&mut net, replicas);
}

#[test]
fn items_out_of_order_end_the_session_and_nothing_else() {
    let (mut net, replicas) = lied_to(32, lies::reorder_items());
    assert!(replicas.iter().any(|replica| replica.counted(&net, SetAsideReason::Malformed) > 0));
    honest_again(&mut net, replicas);
}

#[test]
fn withheld_receipts_leave_the_work_owed() {
    let mut net = Net::seeded(34);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.lie(RELAY, lies::withhold("Received"));
    alice.edit(&mut net, "milk");
    net.run_for(Duration::from_secs(10));
    let debt = alice.debt(&mut net);
    assert!(!debt.is_settled(), "{debt:?}");
    assert!(debt.documents.iter().all(|document| document.reason == DebtReason::UnderWay), "{debt:?}");
    honest_again(&mut net, [alice, bob]);
}

/// How long, after it was mended, until a device leaves a relay that owed it an answer, asks again and is at rest.
const ASKS_AGAIN_WITHIN: Duration = Duration::from_secs(75);

/// Lets a relay that was rolled back, so that its devices compare, keep back frames of a type while alice writes;
/// then it is mended, and nothing else happens.
fn unanswered(seed: u64, kept_back: &'static str) -> (Net, [Replica; 2]) {
    let mut net = Net::seeded(seed);
    let replicas = net.replicas(["alice", "bob"]);
    let [alice, bob] = replicas;
    net.back_up_relay(RELAY);
    alice.edit(&mut net, "milk");
    bob.edit(&mut net, "bread");
    net.run_until_quiet();
    net.lie(RELAY, lies::withhold(kept_back));
    net.roll_back_relay(RELAY);
    net.run_for(Duration::from_secs(40));
    alice.edit(&mut net, "honey");
    net.run_for(Duration::from_secs(2));
    alice.edit(&mut net, "salt");
    net.run_for(Duration::from_secs(8));
    assert!(!alice.is_settled(&mut net), "{kept_back}: {:?}", alice.debt(&mut net));
    net.honest(RELAY);
    (net, replicas)
}

#[test]
fn what_a_relay_left_unanswered_is_asked_again_though_nothing_else_happens() {
    for (seed, kept_back) in (40..).zip(["Opened", "Summary", "Head", "Received"]) {
        let (mut net, replicas) = unanswered(seed, kept_back);
        net.run_for(ASKS_AGAIN_WITHIN);
        for replica in replicas {
            assert!(replica.is_settled(&mut net), "{kept_back}: {:?}", replica.debt(&mut net));
        }
        let left = |event: &Event| match event {
            Event::Relay { state: RelayState::Offline { reason, .. }, .. } => {
                *reason == Some(OfflineReason::Ended(CloseCode::Silent))
            }
            _ => false,
        };
        assert!(replicas[0].was_told(&net, left), "{kept_back}: {:?}", replicas[0].events(&net));
        net.assert_converged(replicas);
    }
}

#[test]
fn a_relay_that_never_answers_is_asked_every_quarter_of_an_hour_and_at_rest_as_soon_once_it_does() {
    const HOURS: usize = 24;
    let (mut net, replicas) = unanswered(44, "Opened");
    net.lie(RELAY, lies::withhold("Opened"));
    let (tap, said) = lies::tap();
    net.patch(replicas[0], tap);
    net.run_for(Duration::from_secs(3600 * HOURS as u64));
    let asked = said.borrow().iter().filter(|frame| matches!(frame, Frame::Open(_))).count();
    assert!((4 * HOURS - 4..=4 * HOURS + 4).contains(&asked), "{asked}");
    net.honest(RELAY);
    net.run_for(Duration::from_secs(15 * 60 + 15));
    for replica in replicas {
        assert!(replica.is_settled(&mut net), "{:?}", replica.debt(&mut net));
    }
    net.assert_converged(replicas);
}

#[test]
fn receipts_with_a_wrong_signature_acknowledge_nothing() {
    let (mut net, replicas) = lied_to(35, lies::break_receipts());
    for replica in replicas {
        assert!(replica.counted(&net, SetAsideReason::BadSignature) > 0);
    }
    honest_again(&mut net, replicas);
}

#[test]
fn an_old_head_is_noticed_as_a_fork() {
    let (mut net, replicas) = lied_to(36, lies::old_heads());
    assert!(replicas.iter().any(|replica| replica.was_told(&net, |e| matches!(e, Event::RelayFork { .. }))));
    honest_again(&mut net, replicas);
}

#[test]
fn a_relay_that_goes_back_and_hides_it_is_shown_as_a_fork_and_healed() {
    let mut net = Net::seeded(37);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.back_up_relay(RELAY);
    net.cut(bob);
    alice.edit(&mut net, "gone");
    net.run_for(Duration::from_secs(60));
    net.cut(alice);
    net.roll_back_relay(RELAY);
    net.heal_to(bob, RELAY);
    bob.edit(&mut net, "instead");
    net.run_for(Duration::from_secs(120));
    net.patch(alice, lies::hide_receipts());
    net.heal();
    net.run_for(Duration::from_secs(120));
    assert!(alice.was_told(&net, |event| matches!(event, Event::RelayFork { .. })), "{:?}", alice.events(&net));
    assert!(!alice.was_told(&net, |event| matches!(event, Event::RelayRollback { .. })));
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}
