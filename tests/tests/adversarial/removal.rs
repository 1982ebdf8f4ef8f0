//! Members who were removed, and removals that meet: who is out is out, and nothing sealed after opens for them.

use std::time::Duration;

use tombolo::crypto::DeviceSecrets;
use tombolo::document::Crdt;
use tombolo::engine::Event;
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::frame::{Frame, Head, Items, NotFoundReason, Opened};
use tombolo::protocol::ids::RecordId;
use tombolo::protocol::record::{RecordBody, Role};
use tombolo::{LinkWay, MembershipAct, SetAsideReason};
use tombolo_tests::lies::{self, Lie};
use tombolo_tests::{Net, RelayNode, Replica};

use crate::support::{
    RELAY, act, go_on, openable, others_go_on, role, scene, set_aside, set_role, stated, turned_away, until_removed,
    user,
};

#[test]
fn case_17_what_a_removed_member_sends_after_the_removal_is_not_taken() {
    let mut story = scene(17, Role::Writer);
    let [alice, bob] = story.honest;
    let (mallorys, target) = (user(&story.net, story.mallory), story.target);
    let cut_off = story.net.metric(RELAY, "cut_off_total");
    act(&mut story.net, alice, MembershipAct::Remove { user: mallorys }).unwrap();
    until_removed(&mut story.net, mallorys);
    // Her device has not heard of it: in good faith it seals and sends.
    story.mallory.try_edit(&mut story.net, target, "too late").unwrap();
    story.net.run_for(Duration::from_secs(120));
    assert_eq!(story.net.metric(RELAY, "cut_off_total"), cut_off + 1);
    assert!(story.mallory.was_told(&story.net, |event| turned_away(event, CloseCode::DeviceRevoked)));
    for replica in [alice, bob] {
        assert!(!replica.has(&mut story.net, target, "too late"));
        assert_eq!(role(&mut story.net, replica, mallorys), None);
    }
    // Her work is not lost for her: once she hears of the removal, it is kept aside, with its reason.
    let aside = |event: &Event| match event {
        Event::SetAside { entry, .. } => entry.reason == SetAsideReason::BeyondPin,
        _ => false,
    };
    assert!(story.mallory.was_told(&story.net, aside));
    story.mallory.kill(&mut story.net);
    others_go_on(&mut story.net, &[alice, bob]);
}

/// Answers a device that is no member as if it were one: with what stands in the log, signed.
pub(crate) fn goes_on_serving(net: &Net, first_position: u64) -> Lie {
    let (log, head) = net.signed_head(RELAY);
    let items = net.log_items(RELAY, first_position);
    lies::rewrite(move |frame| match frame {
        Frame::NotFound(absent) => {
            let channel = 77;
            let (workspace, receipt) = (absent.workspace, head.clone());
            let opened = Opened { workspace, channel, log, head: receipt.clone().into(), reset: None, resumed: true };
            let items = items.iter().cloned().map(Into::into).collect();
            let run = Items { channel, first_position, items };
            vec![opened.into(), run.into(), Head { channel, receipt: receipt.into() }.into()]
        }
        frame => vec![frame],
    })
}

#[test]
fn case_20_a_removed_member_whom_a_relay_serves_all_the_same_opens_nothing_new() {
    let mut story = scene(20, Role::Writer);
    let [alice, bob] = story.honest;
    let (mallorys, target) = (user(&story.net, story.mallory), story.target);
    let before = story.net.log_length(RELAY);
    story.net.cut(story.mallory);
    story.net.run_for(Duration::from_secs(60));
    stated(&mut story.net, alice, MembershipAct::Remove { user: mallorys });
    alice.edit(&mut story.net, "not for mallory");
    story.net.run_until_quiet();
    let lie = goes_on_serving(&story.net, before + 1);
    story.net.lie(RELAY, lie);
    story.net.heal();
    story.net.run_for(Duration::from_secs(300));
    assert!(story.mallory.was_told(&story.net, |event| matches!(event, Event::RoleChanged { role: None, .. })));
    assert!(!story.mallory.has(&mut story.net, target, "not for mallory"));
    assert!(story.mallory.counted(&story.net, SetAsideReason::PendingKey) > 0);
    // Nor does it open for who takes the keys out of the device.
    let membership = story.net.membership(RELAY);
    let epoch = membership.view().epoch().unwrap();
    assert!(!openable(&membership, &[story.rogue.secrets()]).contains(&epoch));
    assert!(openable(&membership, &[&bob.secrets(&story.net)]).contains(&epoch));
    story.mallory.kill(&mut story.net);
    story.net.honest(RELAY);
    others_go_on(&mut story.net, &[alice, bob]);
    story.net.run_until_quiet();
    story.net.assert_converged([alice, bob]);
}

/// Two relays that hear of each other only by devices; everybody dials both.
pub(crate) fn with_two_relays<const N: usize>(seed: u64, names: [&str; N]) -> (Net, [Replica; N], RelayNode) {
    let mut net = Net::seeded(seed);
    let replicas = net.replicas(names);
    let second = net.add_relay();
    replicas.iter().for_each(|replica| net.dial_relay(*replica, second));
    net.run_until_quiet();
    (net, replicas, second)
}

/// Leaves one device on each relay, and cuts the others off.
pub(crate) fn part(net: &mut Net, on_first: Replica, on_second: Replica, away: &[Replica], second: RelayNode) {
    net.cut_from(on_first, second);
    net.cut_from(on_second, RELAY);
    away.iter().for_each(|replica| net.cut(*replica));
    net.run_for(Duration::from_secs(60));
}

/// Fails unless each entry is sealed with the epoch that stood where its author stood.
pub(crate) fn assert_sealed_rightly(net: &Net, relay: RelayNode) {
    let membership = net.membership(relay);
    for entry in net.entries(relay) {
        let view = membership.view_at(&entry.header().members_head).unwrap();
        assert_eq!(view.epoch(), Some(entry.header().epoch), "nobody seals where there is no epoch");
    }
}

#[test]
fn case_21_of_two_removals_side_by_side_both_hold_and_nothing_opens_for_either_or_both() {
    let (mut net, [alice, ben, cleo, xaver, yoko], second) =
        with_two_relays(21, ["alice", "ben", "cleo", "xaver", "yoko"]);
    let [x, y] = [xaver, yoko].map(|replica| user(&net, replica));
    set_role(&mut net, alice, ben, Role::Admin);
    set_role(&mut net, alice, cleo, Role::Admin);
    part(&mut net, ben, cleo, &[alice, xaver, yoko], second);
    stated(&mut net, ben, MembershipAct::Remove { user: x });
    stated(&mut net, cleo, MembershipAct::Remove { user: y });
    ben.edit(&mut net, "ben, without xaver");
    cleo.edit(&mut net, "cleo, without yoko");
    net.run_for(Duration::from_secs(60));
    let before = net.membership(RELAY).view().epoch();
    assert!(before.is_some());
    net.heal();
    net.run_for(Duration::from_secs(600));
    for replica in [alice, ben, cleo] {
        assert_eq!((role(&mut net, replica, x), role(&mut net, replica, y)), (None, None));
    }
    alice.edit(&mut net, "healed");
    net.run_for(Duration::from_secs(120));
    let membership = net.membership(RELAY);
    let heals = |record: &&tombolo::protocol::record::Record| matches!(record.body(), RecordBody::Rotate(rotation) if rotation.previous.len() == 2);
    let healing: Vec<RecordId> = membership.in_order().into_iter().filter(heals).map(|record| record.id()).collect();
    assert!(!healing.is_empty(), "somebody began an epoch that follows both");
    for relay in [RELAY, second] {
        assert_sealed_rightly(&net, relay);
    }
    let epoch = net.membership(RELAY).view().epoch().unwrap();
    let thieves: Vec<DeviceSecrets> = [xaver, yoko].iter().map(|replica| replica.secrets(&net)).collect();
    let both: Vec<&DeviceSecrets> = thieves.iter().collect();
    let opened = openable(&net.membership(RELAY), &both);
    assert!(!opened.contains(&epoch), "not even with the keys of both");
    let document = net.documents()[0];
    for replica in [xaver, yoko] {
        assert!(!replica.has(&mut net, document, "healed"));
        assert!(net.metric(RELAY, "not_found_total") > 0);
        replica.kill(&mut net);
    }
    others_go_on(&mut net, &[alice, ben, cleo]);
    net.run_until_quiet();
    net.assert_converged([alice, ben, cleo]);
}

#[test]
fn case_22_two_admins_who_remove_each_other_are_both_out_and_the_owner_stays() {
    let (mut net, [alice, ben, cleo], second) = with_two_relays(22, ["alice", "ben", "cleo"]);
    let [alices, bens, cleos] = [alice, ben, cleo].map(|replica| user(&net, replica));
    set_role(&mut net, alice, ben, Role::Admin);
    set_role(&mut net, alice, cleo, Role::Admin);
    part(&mut net, ben, cleo, &[alice], second);
    stated(&mut net, ben, MembershipAct::Remove { user: cleos });
    stated(&mut net, cleo, MembershipAct::Remove { user: bens });
    net.heal();
    net.run_for(Duration::from_secs(600));
    assert_eq!((role(&mut net, alice, bens), role(&mut net, alice, cleos)), (None, None));
    assert_eq!(role(&mut net, alice, alices), Some(Role::Owner));
    for relay in [RELAY, second] {
        let members: Vec<_> = net.membership(relay).view().members().collect();
        assert_eq!(members, [(alices, Role::Owner)]);
        assert!(net.metric(relay, "not_found_total") > 0);
    }
    for replica in [ben, cleo] {
        replica.kill(&mut net);
    }
    // Two removals stand side by side: the first who writes begins an epoch that follows both.
    others_go_on(&mut net, &[alice]);
    let dave = net.device("dave");
    net.join(alice, dave, Role::Writer);
    others_go_on(&mut net, &[alice, dave]);
    net.run_until_quiet();
    net.assert_equal(&[alice, dave]);
}

#[test]
fn case_24_what_a_removed_admin_granted_meanwhile_is_void_with_all_that_rests_on_it() {
    let (mut net, [alice, ben, carol, zoe], second) = with_two_relays(24, ["alice", "ben", "carol", "zoe"]);
    let [bens, zoes] = [ben, zoe].map(|replica| user(&net, replica));
    set_role(&mut net, alice, ben, Role::Admin);
    stated(&mut net, alice, MembershipAct::Remove { user: zoes });
    part(&mut net, alice, ben, &[], second);
    net.cut_from(zoe, RELAY);
    net.cut_from(carol, RELAY);
    // Ben takes Zoe in again, Carol's device gives her the keys, and she writes, while Alice removes him.
    set_role(&mut net, ben, zoe, Role::Writer);
    zoe.crash(&mut net);
    net.run_for(Duration::from_secs(600));
    assert_eq!(role(&mut net, zoe, zoes), Some(Role::Writer));
    zoe.edit(&mut net, "on a void grant");
    net.run_for(Duration::from_secs(60));
    let document = net.documents()[0];
    assert_eq!(role(&mut net, ben, zoes), Some(Role::Writer));
    assert!(carol.has(&mut net, document, "on a void grant"), "{:?}", zoe.debt(&mut net));
    stated(&mut net, alice, MembershipAct::Remove { user: bens });
    net.heal();
    net.run_for(Duration::from_secs(600));
    for replica in [alice, carol] {
        assert_eq!((role(&mut net, replica, bens), role(&mut net, replica, zoes)), (None, None));
        // She counts as removed without pins: what she wrote is kept, and does not count.
        assert!(!replica.has(&mut net, document, "on a void grant"), "{replica:?}");
        assert_eq!(set_aside(&mut net, replica), [SetAsideReason::BeyondPin; 2], "{replica:?}");
        assert_eq!(replica.counted(&net, SetAsideReason::BeyondPin), 2);
        replica.assert_sound(&net);
    }
    ben.kill(&mut net);
    zoe.kill(&mut net);
    net.assert_equal(&[alice, carol]);
    let other = alice.create(&mut net, Crdt::Yrs);
    net.run_for(Duration::from_secs(60));
    go_on(&mut net, &[alice, carol], other);
}

#[test]
fn case_25_a_newcomer_whom_a_new_epoch_left_out_is_given_it() {
    let (mut net, [alice, ben, xaver, zoe], second) = with_two_relays(25, ["alice", "ben", "xaver", "zoe"]);
    let (x, zoes) = (user(&net, xaver), user(&net, zoe));
    set_role(&mut net, alice, ben, Role::Admin);
    set_role(&mut net, alice, zoe, Role::Carrier);
    part(&mut net, alice, ben, &[xaver, zoe], second);
    // A removal begins an epoch while zoe, as somebody else has it, may read from now on.
    set_role(&mut net, alice, zoe, Role::Writer);
    stated(&mut net, ben, MembershipAct::Remove { user: x });
    ben.edit(&mut net, "sealed without zoe");
    net.run_for(Duration::from_secs(60));
    let left_out = openable(&net.membership(second), &[&zoe.secrets(&net)]);
    assert!(!left_out.contains(&net.membership(second).view().epoch().unwrap()));
    // Zoe hears of both while nobody is there who could give her the keys.
    net.cut(alice);
    net.cut(ben);
    net.run_for(Duration::from_secs(60));
    for relay in [RELAY, second] {
        net.heal_to(zoe, relay);
    }
    net.run_for(Duration::from_secs(300));
    let document = net.documents()[0];
    assert_eq!(role(&mut net, zoe, zoes), Some(Role::Writer));
    assert!(!zoe.has(&mut net, document, "sealed without zoe"));
    assert!(zoe.counted(&net, SetAsideReason::PendingKey) > 0, "{:?}", zoe.debt(&mut net));
    net.heal();
    net.run_for(Duration::from_secs(600));
    xaver.kill(&mut net);
    assert!(zoe.has(&mut net, document, "sealed without zoe"), "a writer gave zoe the keys");
    assert_sealed_rightly(&net, RELAY);
    others_go_on(&mut net, &[alice, ben, zoe]);
    net.run_until_quiet();
    net.assert_converged([alice, ben, zoe]);
}

#[test]
fn case_33_work_of_a_guest_whose_time_ended_while_away_is_refused() {
    let mut net = Net::seeded(33);
    let [alice, bob, guest] = net.replicas(["alice", "bob", "guest"]);
    let guests = user(&net, guest);
    let friday = net.now().wall_ms + 3_600_000;
    let until = MembershipAct::SetRole { user: guests, role: Role::Writer, expires_ms: Some(friday) };
    stated(&mut net, alice, until);
    net.cut(guest);
    net.run_for(Duration::from_secs(60));
    guest.edit_if_up(&mut net, "offline");
    net.run_for(Duration::from_secs(3700));
    let document = net.documents()[0];
    let refused = net.metric(RELAY, "not_found_total");
    let (tap, said) = lies::tap();
    net.lie(RELAY, tap);
    net.heal();
    net.run_for(Duration::from_secs(120));
    assert!(net.metric(RELAY, "not_found_total") > refused, "the relay has no such workspace for the guest");
    let ended = |frame: &Frame| match frame {
        Frame::NotFound(absent) => absent.reason() == Some(NotFoundReason::RoleExpired),
        _ => false,
    };
    assert!(said.borrow().iter().any(ended), "and says why");
    assert!(!guest.debt(&mut net).is_settled());
    bob.try_edit(&mut net, document, "friday").unwrap();
    net.run_for(Duration::from_secs(60));
    assert_eq!(role(&mut net, alice, guests), None, "a receipt from after friday proves it");
    assert!(!alice.has(&mut net, document, "offline") && !bob.has(&mut net, document, "offline"));
    guest.kill(&mut net);
    others_go_on(&mut net, &[alice, bob]);
}

#[test]
fn case_41_a_device_that_was_given_up_loses_its_session_and_gets_no_other() {
    let mut net = Net::seeded(41);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    let (lost, _) = phone.ids(&net);
    let began = net.now().mono;
    laptop.give_up(&mut net, lost);
    while !phone.was_told(&net, |event| turned_away(event, CloseCode::DeviceRevoked)) {
        net.run_for(Duration::from_millis(10));
        assert!(net.now().mono - began < Duration::from_secs(5), "{:?}", phone.events(&net));
    }
    assert_eq!(net.metric(RELAY, "cut_off_total"), 1);
    // It comes back with the keys that it had.
    let events = phone.events(&net).len();
    net.dial_relay(phone, RELAY);
    phone.crash(&mut net);
    bob.edit(&mut net, "not for the phone");
    net.run_for(Duration::from_secs(300));
    let again = phone.events(&net)[events..].iter();
    assert!(again.clone().any(|event| turned_away(event, CloseCode::DeviceRevoked)), "{:?}", phone.events(&net));
    let document = net.documents()[0];
    assert!(!phone.has(&mut net, document, "not for the phone"));
    phone.kill(&mut net);
    others_go_on(&mut net, &[laptop, bob]);
    net.run_until_quiet();
    net.assert_converged([laptop, bob]);
}
