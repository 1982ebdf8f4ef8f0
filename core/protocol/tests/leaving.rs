//! Who leaves, and what the others must do before anything is sealed again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "world/world.rs"]
mod world;

use tombolo_protocol::ids::{RecordId, UserId};
use tombolo_protocol::membership::{RecordOutcome, RecordRefusal};
use tombolo_protocol::record::{Devices, Expiry, RecordBody, Role, Rotation, Standing};
use world::{Person, RELAY_SEED, World, devices, relay};

const REFUSED: fn(RecordRefusal) -> RecordOutcome = RecordOutcome::Refused;

fn user(person: &Person) -> UserId {
    person.log.user()
}

fn standing(subject: &Person, role: Option<Role>, rotation: Option<Rotation>) -> RecordBody {
    let subject = user(subject);
    RecordBody::Standing(Box::new(Standing { subject, role, expiry: None, proof: None, pins: None, rotation }))
}

/// A new epoch for all but one.
fn rotation_without(world: &World, gone: &[u8; 32]) -> Rotation {
    let mut rotation = world.rotation(&world.members.view());
    rotation.wraps.retain(|wrap| wrap.recipient != *gone);
    rotation
}

fn say(world: &mut World, by: &Person, body: RecordBody) -> (RecordId, RecordOutcome) {
    let heads = world.heads();
    let record = by.say(&world.members, &heads, body);
    let id = world.add(record);
    (id, world.members.outcome(&id).unwrap())
}

fn admitted(world: &mut World, by: &Person, body: RecordBody) -> RecordId {
    let (id, outcome) = say(world, by, body);
    assert_eq!(outcome, RecordOutcome::Admitted);
    id
}

/// Anna owns; the others are given roles and bring their devices.
fn workspace<const N: usize>(roles: [Role; N]) -> (World, Person, [Person; N]) {
    let anna = Person::new(1);
    let mut world = World::founded_by(&anna);
    let people = std::array::from_fn(|n| Person::new(n as u8 + 2));
    for (person, role) in people.iter().zip(roles) {
        admitted(&mut world, &anna, standing(person, Some(role), None));
        admitted(&mut world, person, devices(&person.log, None));
    }
    (world, anna, people)
}

/// The workspace has no epoch until one of those who stay begins one; then it has that.
fn is_healed_by(world: &mut World, by: &Person, gone: &[u8; 32]) {
    let view = world.members.view();
    assert!(view.needs_healing() && view.epoch().is_none());
    assert_eq!(view.newest_epochs().count(), 1, "what the next epoch carries on is known");
    let healing = world.rotation(&view);
    assert!(healing.wraps.iter().all(|wrap| wrap.recipient != *gone));
    let epoch = healing.epoch;
    admitted(world, by, RecordBody::Rotate(healing));
    let view = world.members.view();
    assert!(!view.needs_healing());
    assert_eq!(view.epoch(), Some(epoch));
}

#[test]
fn who_leaves_draws_no_keys_and_one_of_those_who_stay_does() {
    let (mut world, _, [ben, cleo]) = workspace([Role::Writer, Role::Commenter]);
    let bens = *ben.keys.id().as_bytes();
    let drawn = standing(&ben, None, Some(rotation_without(&world, &bens)));
    assert_eq!(say(&mut world, &ben, drawn).1, REFUSED(RecordRefusal::RotationByLeaver));
    admitted(&mut world, &ben, standing(&ben, None, None));
    is_healed_by(&mut world, &cleo, &bens);
}

#[test]
fn a_member_who_steps_down_to_a_role_without_keys_draws_none() {
    let (mut world, anna, [ben]) = workspace([Role::Admin]);
    let bens = *ben.keys.id().as_bytes();
    let drawn = standing(&ben, Some(Role::Carrier), Some(rotation_without(&world, &bens)));
    assert_eq!(say(&mut world, &ben, drawn).1, REFUSED(RecordRefusal::RotationByLeaver));
    admitted(&mut world, &ben, standing(&ben, Some(Role::Reader), None));
    assert!(!world.members.view().needs_healing(), "who still reads may know the keys");
    admitted(&mut world, &ben, standing(&ben, Some(Role::Carrier), None));
    is_healed_by(&mut world, &anna, &bens);
}

#[test]
fn a_device_that_gives_itself_up_draws_no_keys_but_those_of_its_user_do() {
    let (mut world, anna, [ben]) = workspace([Role::Writer]);
    let bens = *ben.keys.id().as_bytes();
    let log = ben.log_with_first_revoked();
    let rotation = Some(rotation_without(&world, &bens));
    let say_devices =
        |rotation| RecordBody::Devices(Box::new(Devices { identity: log.clone().into(), pins: None, rotation }));
    let drawn = say_devices(rotation.clone());
    assert_eq!(say(&mut world, &ben, drawn).1, REFUSED(RecordRefusal::RotationByLeaver));
    assert_eq!(say(&mut world, &anna, say_devices(None)).1, REFUSED(RecordRefusal::RotationMissing));
    admitted(&mut world, &ben, say_devices(None));
    is_healed_by(&mut world, &anna, &bens);
}

#[test]
fn what_was_drawn_beside_a_departure_does_not_shut_the_leaver_out() {
    let (mut world, anna, [ben, cleo]) = workspace([Role::Writer, Role::Writer]);
    let heads = world.heads();
    let beside = RecordBody::Rotate(world.rotation(&world.members.view()));
    let beside = cleo.say(&world.members, &heads, beside);
    let left = ben.say(&world.members, &heads, standing(&ben, None, None));
    world.add(beside);
    assert!(!world.members.view().needs_healing());
    world.add(left);
    is_healed_by(&mut world, &anna, ben.keys.id().as_bytes());
}

#[test]
fn nobody_is_invited_before_the_keys_are_new() {
    let (mut world, anna, [ben]) = workspace([Role::Writer]);
    let invite = world.invite(&world.members.view(), Role::Writer, 1, 0);
    admitted(&mut world, &ben, standing(&ben, None, None));
    let offered = RecordBody::InviteCreate(Box::new(invite));
    assert_eq!(say(&mut world, &anna, offered).1, REFUSED(RecordRefusal::EpochMismatch));
    is_healed_by(&mut world, &anna, ben.keys.id().as_bytes());
    let invite = world.invite(&world.members.view(), Role::Writer, 1, 0);
    admitted(&mut world, &anna, RecordBody::InviteCreate(Box::new(invite)));
}

#[test]
fn a_removal_that_ends_an_invite_which_has_the_keys_begins_an_epoch() {
    let (mut world, anna, [ben]) = workspace([Role::Admin]);
    let invite = world.invite(&world.members.view(), Role::Writer, 1, 0);
    let invite = admitted(&mut world, &ben, RecordBody::InviteCreate(Box::new(invite)));
    // Whoever holds his link has the keys as well as he.
    let (box_of_ben, box_of_link) = (*ben.keys.id().as_bytes(), *invite.as_bytes());
    assert_eq!(say(&mut world, &anna, standing(&ben, None, None)).1, REFUSED(RecordRefusal::RotationMissing));
    let mut rotation = rotation_without(&world, &box_of_ben);
    assert_eq!(
        say(&mut world, &anna, standing(&ben, None, Some(rotation.clone()))).1,
        REFUSED(RecordRefusal::RecipientSetMismatch)
    );
    rotation.wraps.retain(|wrap| wrap.recipient != box_of_link);
    admitted(&mut world, &anna, standing(&ben, None, Some(rotation)));
    assert!(world.members.view().invite(&invite).unwrap().ended);
}

#[test]
fn who_may_not_offer_an_invite_any_more_has_none_that_is_open() {
    let (mut world, anna, [ben]) = workspace([Role::Admin]);
    let mut offer = |by: &Person, role, uses| {
        let invite = world.invite(&world.members.view(), role, uses, 0);
        admitted(&mut world, by, RecordBody::InviteCreate(Box::new(invite)))
    };
    let (for_one, for_many) = (offer(&ben, Role::Writer, 1), offer(&ben, Role::Reader, 0));
    let (hers, hers_for_many) = (offer(&anna, Role::Writer, 1), offer(&anna, Role::Writer, 0));
    // As a writer ben still reads; but the link for one is not his to offer, and whoever holds it has the keys.
    assert_eq!(
        say(&mut world, &anna, standing(&ben, Some(Role::Writer), None)).1,
        REFUSED(RecordRefusal::RotationMissing)
    );
    let lowered = standing(&ben, Some(Role::Writer), Some(rotation_without(&world, for_one.as_bytes())));
    admitted(&mut world, &anna, lowered);
    let ended = |world: &World, invite| world.members.view().invite(&invite).unwrap().ended;
    assert!(ended(&world, for_one) && ended(&world, for_many));
    assert!(!ended(&world, hers) && !ended(&world, hers_for_many), "by it he could become no more than he is");
    // As a reader he could come back as a writer by it.
    admitted(&mut world, &anna, standing(&ben, Some(Role::Reader), None));
    assert!(!ended(&world, hers) && ended(&world, hers_for_many));
}

#[test]
fn an_admin_who_steps_down_and_still_reads_ends_their_own_invites_with_new_keys() {
    let (mut world, _, [ben]) = workspace([Role::Admin]);
    let invite = world.invite(&world.members.view(), Role::Writer, 1, 0);
    let invite = admitted(&mut world, &ben, RecordBody::InviteCreate(Box::new(invite)));
    assert_eq!(
        say(&mut world, &ben, standing(&ben, Some(Role::Reader), None)).1,
        REFUSED(RecordRefusal::RotationMissing)
    );
    let rotation = rotation_without(&world, invite.as_bytes());
    admitted(&mut world, &ben, standing(&ben, Some(Role::Reader), Some(rotation)));
    assert!(!world.members.view().needs_healing() && world.members.view().invite(&invite).unwrap().ended);
}

#[test]
fn a_departure_that_does_not_count_leaves_the_keys_as_they_are() {
    let (mut world, anna, [ben]) = workspace([Role::Owner]);
    let heads = world.heads();
    let epoch = world.members.view().epoch();
    // Two owners leave side by side: nobody would be left, so neither goes.
    let both = [&anna, &ben].map(|person| person.say(&world.members, &heads, standing(person, None, None)));
    for record in both {
        world.add(record);
    }
    let view = world.members.view();
    assert_eq!((view.members().count(), view.epoch(), view.needs_healing()), (2, epoch, false));
}

#[test]
fn who_sweeps_their_own_ended_role_draws_no_keys() {
    use tombolo_protocol::ids::LogId;
    use tombolo_protocol::receipt::{Receipt, Signed};
    let (mut world, anna, [ben]) = workspace([Role::Writer]);
    let expiry = Some(Expiry { expires_ms: 1000, relay: relay(RELAY_SEED) });
    let swept = |expiry, proof, rotation, role| {
        RecordBody::Standing(Box::new(Standing { subject: user(&ben), role, expiry, proof, pins: None, rotation }))
    };
    admitted(&mut world, &anna, swept(expiry, None, None, Some(Role::Writer)));
    let receipt = Receipt {
        relay: relay(RELAY_SEED),
        workspace: world.members.workspace(),
        log: LogId::from_bytes([1; 16]),
        position: 1,
        head: [0; 32],
        time_ms: 1001,
        acknowledged: [0; 32],
    };
    let proof = Some(Signed::sign(receipt, &world::key(RELAY_SEED)));
    let rotation = Some(rotation_without(&world, ben.keys.id().as_bytes()));
    let drawn = swept(None, proof.clone(), rotation, None);
    assert_eq!(say(&mut world, &ben, drawn).1, REFUSED(RecordRefusal::RotationByLeaver));
    admitted(&mut world, &ben, swept(None, proof, None, None));
    is_healed_by(&mut world, &anna, ben.keys.id().as_bytes());
}
