//! Members who leave of their own accord: whatever they know, and whoever helps them, nothing opens for them that
//! was sealed by somebody who knew.

use std::time::Duration;

use tombolo::engine::Event;
use tombolo::protocol::frame::RefusalReason;
use tombolo::protocol::identity::{Identity, IdentityAct, IdentityLog, Signer};
use tombolo::protocol::ids::{RecordId, UserId};
use tombolo::protocol::membership::RecordRefusal;
use tombolo::protocol::record::{Devices, RecordBody, Role, Rotation, Standing};
use tombolo::{InviteTerms, MembershipAct, SetAsideReason};
use tombolo_tests::{Net, Replica};

use crate::records::{rotation, standing};
use crate::removal::{assert_sealed_rightly, goes_on_serving, part, with_two_relays};
use crate::support::{RELAY, Scene, go_on, openable, others_go_on, role, scene, set_role, stated, user};

/// Longer than the others wait before one of them begins an epoch.
const WAIT: Duration = Duration::from_secs(30);

/// Fails unless the keys are new since a departure, and nothing that was sealed behind it opens for the device.
fn assert_shut_out(net: &Net, left: RecordId, gone: Replica) {
    let membership = net.membership(RELAY);
    assert!(membership.view_at(&left).unwrap().epoch().is_none(), "the departure itself has no epoch");
    assert!(!membership.view().needs_healing());
    let opened = openable(&membership, &[&gone.secrets(net)]);
    assert!(!opened.contains(&membership.view().epoch().unwrap()));
    for entry in net.entries(RELAY) {
        let knew = membership.descends(&entry.header().members_head, &left);
        assert!(!knew || !opened.contains(&entry.header().epoch));
    }
    assert_sealed_rightly(net, RELAY);
}

fn leave(net: &mut Net, who: Replica) -> RecordId {
    let user = user(net, who);
    stated(net, who, MembershipAct::Remove { user })
}

/// Lets time pass until somebody knows that these are gone, and no longer.
fn until_known(net: &mut Net, who: Replica, gone: &[UserId]) {
    for _ in 0..120_000 {
        if gone.iter().all(|user| role(net, who, *user).is_none()) {
            return;
        }
        net.run_for(Duration::from_millis(1));
    }
    panic!("the removal does not arrive");
}

impl Scene {
    /// An epoch as mallory would have it: given to all but her device.
    fn drawn_by_mallory(&self) -> Rotation {
        let mut drawn = rotation(&self.net.membership(RELAY).view(), 0xd1);
        drawn.wraps.retain(|wrap| wrap.recipient != *self.rogue.device().as_bytes());
        drawn
    }

    /// What mallory's device says of itself: that it is given up.
    fn given_up(&self) -> IdentityLog {
        let users = user(&self.net, self.mallory);
        let mut log = self.net.membership(RELAY).view().identity(&users).unwrap().clone();
        let device = self.rogue.device();
        let draft = Identity::evaluate(&log).unwrap().draft(IdentityAct::Revoke(device), Signer::Device(device));
        let signature = draft.sign(self.rogue.secrets().sign_key());
        log.records.push(draft.complete(signature, None));
        log
    }
}

#[test]
fn who_leaves_can_not_choose_the_keys_that_come_next() {
    let mut story = scene(701, Role::Writer);
    let mallorys = user(&story.net, story.mallory);
    let refused = (RefusalReason::RecordRefused, RecordRefusal::RotationByLeaver);
    for role in [None, Some(Role::Carrier)] {
        let rotation = Some(story.drawn_by_mallory());
        let body = RecordBody::Standing(Box::new(Standing { rotation, ..standing(mallorys, role) }));
        story.is_no_record(body, refused.0, refused.1);
    }
    let (identity, rotation) = (story.given_up(), Some(story.drawn_by_mallory()));
    let body = RecordBody::Devices(Box::new(Devices { identity: identity.into(), pins: None, rotation }));
    story.is_no_record(body, refused.0, refused.1);
    story.ends();
}

#[test]
fn who_left_and_has_the_relay_on_her_side_opens_nothing_that_was_sealed_since() {
    let mut story = scene(702, Role::Writer);
    let [alice, bob] = story.honest;
    let (mallory, target, before) = (story.mallory, story.target, story.net.log_length(RELAY));
    let left = leave(&mut story.net, mallory);
    alice.try_edit(&mut story.net, target, "not for mallory").unwrap();
    bob.try_edit(&mut story.net, target, "nor this").unwrap();
    story.net.run_for(WAIT);
    // Her departure itself she has.
    let lie = goes_on_serving(&story.net, before + 2);
    story.net.lie(RELAY, lie);
    mallory.crash(&mut story.net);
    story.net.run_for(Duration::from_secs(300));
    assert!(mallory.was_told(&story.net, |event| matches!(event, Event::RoleChanged { role: None, .. })));
    for word in ["not for mallory", "nor this"] {
        assert!(!mallory.has(&mut story.net, target, word));
    }
    assert!(mallory.counted(&story.net, SetAsideReason::PendingKey) > 0, "she was given what is sealed");
    assert_shut_out(&story.net, left, mallory);
    mallory.kill(&mut story.net);
    story.net.honest(RELAY);
    story.ends();
}

#[test]
fn what_somebody_left_while_all_others_were_away_is_healed_by_the_first_who_comes_back() {
    let mut net = Net::seeded(703);
    let [alice, bob, cleo] = net.replicas(["alice", "bob", "cleo"]);
    net.cut(alice);
    net.cut(bob);
    net.run_for(WAIT);
    let left = leave(&mut net, cleo);
    cleo.kill(&mut net);
    assert!(net.membership(RELAY).view().needs_healing());
    let document = net.documents()[0];
    bob.try_edit(&mut net, document, "written while away").unwrap();
    net.heal_to(alice, RELAY);
    net.run_for(WAIT + WAIT);
    assert!(!net.membership(RELAY).view().needs_healing(), "alice begins an epoch, though she has nothing to say");
    net.heal();
    go_on(&mut net, &[alice, bob], document);
    assert!(alice.has(&mut net, document, "written while away"));
    assert_shut_out(&net, left, cleo);
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn who_has_something_to_say_begins_the_epoch_at_once() {
    let mut net = Net::seeded(704);
    let [alice, bob, cleo] = net.replicas(["alice", "bob", "cleo"]);
    let cleos = user(&net, cleo);
    net.cut(bob);
    alice.kill(&mut net);
    let left = leave(&mut net, cleo);
    cleo.kill(&mut net);
    assert!(net.membership(RELAY).view().needs_healing());
    let document = net.documents()[0];
    bob.try_edit(&mut net, document, "written while away").unwrap();
    net.heal();
    until_known(&mut net, bob, &[cleos]);
    // Sooner than anybody who only looks after the members would.
    net.run_for(Duration::from_millis(190));
    assert!(!net.membership(RELAY).view().needs_healing());
    net.run_for(WAIT);
    assert!(bob.debt(&mut net).is_settled());
    assert_shut_out(&net, left, cleo);
    net.start(alice);
    others_go_on(&mut net, &[alice, bob]);
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn a_device_that_heard_of_a_departure_and_crashed_begins_the_epoch_when_it_is_back() {
    let mut net = Net::seeded(705);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let bobs = user(&net, bob);
    let stated = crate::support::act(&mut net, bob, MembershipAct::Remove { user: bobs });
    assert!(stated.is_ok());
    until_known(&mut net, alice, &[bobs]);
    assert!(net.membership(RELAY).view().needs_healing(), "the others wait a moment, lest all do it");
    alice.crash(&mut net);
    net.run_for(WAIT + WAIT);
    assert!(!net.membership(RELAY).view().needs_healing());
    bob.kill(&mut net);
    others_go_on(&mut net, &[alice]);
}

#[test]
fn a_device_that_gives_itself_up_is_shut_out_by_the_others() {
    let mut story = scene(706, Role::Writer);
    let [alice, bob] = story.honest;
    let identity = story.given_up();
    let record = story.rogue.state(
        &story.net,
        RecordBody::Devices(Box::new(Devices { identity: identity.into(), pins: None, rotation: None })),
    );
    story.mallory.kill(&mut story.net);
    story.net.plant_record(RELAY, &record);
    assert!(story.net.membership(RELAY).view().needs_healing());
    story.net.run_for(WAIT);
    let document = story.target;
    go_on(&mut story.net, &[alice, bob], document);
    assert_shut_out(&story.net, record.id(), story.mallory);
    story.ends();
}

#[test]
fn a_member_who_becomes_a_carrier_carries_on_without_the_keys() {
    let mut net = Net::seeded(707);
    let [alice, bob, cleo] = net.replicas(["alice", "bob", "cleo"]);
    let cleos = user(&net, cleo);
    let left = stated(&mut net, cleo, MembershipAct::SetRole { user: cleos, role: Role::Carrier, expires_ms: None });
    net.run_for(WAIT);
    assert_eq!(role(&mut net, bob, cleos), Some(Role::Carrier));
    let document = net.documents()[0];
    go_on(&mut net, &[alice, bob], document);
    assert_shut_out(&net, left, cleo);
    // Given a role again, she is given the keys again.
    set_role(&mut net, alice, cleo, Role::Reader);
    net.run_for(WAIT);
    alice.try_edit(&mut net, document, "for all").unwrap();
    net.run_for(WAIT);
    assert!(cleo.has(&mut net, document, "for all"));
    net.run_until_quiet();
    net.assert_converged([alice, bob, cleo]);
}

#[test]
fn an_invite_after_two_removals_side_by_side_waits_for_nobody() {
    let (mut net, [alice, ben, cleo], second) = with_two_relays(708, ["alice", "ben", "cleo"]);
    let [bens, cleos] = [ben, cleo].map(|replica| user(&net, replica));
    set_role(&mut net, alice, ben, Role::Admin);
    set_role(&mut net, alice, cleo, Role::Admin);
    part(&mut net, ben, cleo, &[alice], second);
    stated(&mut net, ben, MembershipAct::Remove { user: cleos });
    stated(&mut net, cleo, MembershipAct::Remove { user: bens });
    net.heal();
    until_known(&mut net, alice, &[bens, cleos]);
    // Nobody has written since: the invite itself brings the two together.
    let workspace = net.workspace();
    let terms = InviteTerms { role: Role::Writer, expires_ms: None, uses: Some(1) };
    let link = net.act(alice, |engine, now, tx| engine.invite(now, &workspace, terms, tx)).unwrap().unwrap();
    for replica in [ben, cleo] {
        replica.kill(&mut net);
    }
    let dave = net.device("dave");
    dave.take_invite(&mut net, link);
    net.run_for(WAIT + WAIT);
    others_go_on(&mut net, &[alice, dave]);
    net.run_until_quiet();
    net.assert_equal(&[alice, dave]);
}
