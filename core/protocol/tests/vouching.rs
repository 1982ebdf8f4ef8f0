//! Whose words on a snapshot are enough, and whose are not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "world/world.rs"]
mod world;

use tombolo_protocol::identity::IdentityAct;
use tombolo_protocol::ids::{DeviceId, RecordId};
use tombolo_protocol::membership::{RecordOutcome, Vouched};
use tombolo_protocol::record::{RecordBody, Role, Rotation, Standing};
use world::{Person, World, devices};

fn standing(subject: &Person, role: Option<Role>, rotation: Option<Rotation>) -> RecordBody {
    let subject = subject.log.user();
    RecordBody::Standing(Box::new(Standing { subject, role, expiry: None, proof: None, pins: None, rotation }))
}

fn said(world: &mut World, by: &Person, body: RecordBody) -> RecordId {
    let heads = world.heads();
    let record = by.say(&world.members, &heads, body);
    let id = world.add(record);
    assert_eq!(world.members.outcome(&id), Some(RecordOutcome::Admitted));
    id
}

fn comes(world: &mut World, anna: &Person, who: &Person, role: Role) -> RecordId {
    said(world, anna, standing(who, Some(role), None));
    said(world, who, devices(&who.log, None))
}

fn goes(world: &mut World, anna: &Person, who: &Person) -> RecordId {
    let mut rotation = world.rotation(&world.members.view());
    rotation.wraps.retain(|wrap| wrap.recipient != *who.keys.id().as_bytes());
    said(world, anna, standing(who, None, Some(rotation)))
}

/// Judges a snapshot by Anna with words of the others.
fn vouched(world: &World, anna: &Person, head: RecordId, words: &[(&Person, RecordId)]) -> Vouched {
    let words: Vec<(DeviceId, RecordId)> = words.iter().map(|(person, head)| (person.keys.id(), *head)).collect();
    world.members.vouched((&anna.keys.id(), &head), &words)
}

#[test]
fn two_other_writers_are_enough_and_one_twice_is_not() {
    let [anna, ben, cleo, dora] = [1, 2, 3, 4].map(Person::new);
    let mut world = World::founded_by(&anna);
    comes(&mut world, &anna, &ben, Role::Writer);
    comes(&mut world, &anna, &cleo, Role::Writer);
    let head = comes(&mut world, &anna, &dora, Role::Reader);
    let lacking = |have| Vouched::Lacking { have, need: 2 };
    assert_eq!(vouched(&world, &anna, head, &[]), lacking(0));
    // Neither the author's own word, nor a reader's, nor the same twice.
    assert_eq!(vouched(&world, &anna, head, &[(&anna, head), (&dora, head), (&ben, head), (&ben, head)]), lacking(1));
    assert_eq!(vouched(&world, &anna, head, &[(&ben, head), (&cleo, head)]), Vouched::Enough);
    let unknown = RecordId::from_bytes([9; 32]);
    assert_eq!(vouched(&world, &anna, head, &[(&ben, head), (&cleo, unknown)]), lacking(1));
    assert_eq!(vouched(&world, &anna, unknown, &[(&ben, head), (&cleo, head)]), Vouched::Never);
    assert_eq!(vouched(&world, &dora, head, &[(&ben, head), (&cleo, head)]), Vouched::Never);
}

#[test]
fn an_old_view_asks_for_no_fewer_and_fewer_are_asked_for_where_fewer_are_left() {
    let [anna, ben, cleo] = [1, 2, 3].map(Person::new);
    let mut world = World::founded_by(&anna);
    let alone = world.heads()[0];
    assert_eq!(vouched(&world, &anna, alone, &[]), Vouched::Alone);
    let with_ben = comes(&mut world, &anna, &ben, Role::Writer);
    assert_eq!(vouched(&world, &anna, with_ben, &[]), Vouched::Lacking { have: 0, need: 1 });
    assert_eq!(vouched(&world, &anna, with_ben, &[(&ben, with_ben)]), Vouched::Enough);
    let with_cleo = comes(&mut world, &anna, &cleo, Role::Writer);
    // Dated back to when she was alone, or had Ben only: what decides asks for as many as there are now.
    for old in [alone, with_ben] {
        assert_eq!(vouched(&world, &anna, old, &[(&ben, with_ben)]), Vouched::WasEnough);
        assert_eq!(vouched(&world, &anna, old, &[(&ben, with_cleo)]), Vouched::Lacking { have: 1, need: 2 });
    }
    assert_eq!(vouched(&world, &anna, alone, &[(&ben, with_ben), (&cleo, with_cleo)]), Vouched::Enough);
    // Cleo names a view in which she was nobody yet.
    let words = [(&ben, with_cleo), (&cleo, with_ben)];
    assert_eq!(vouched(&world, &anna, with_cleo, &words), Vouched::Lacking { have: 1, need: 2 });
    // Of the two who are left, one has spoken: as many as there are now.
    goes(&mut world, &anna, &ben);
    let words = [(&ben, with_cleo), (&cleo, with_cleo)];
    assert_eq!(vouched(&world, &anna, with_cleo, &words), Vouched::Enough);
    assert_eq!(vouched(&world, &anna, with_cleo, &words[..1]), Vouched::Lacking { have: 0, need: 1 });
}

#[test]
fn what_was_enough_when_it_was_said_is_told_apart_once_those_who_said_it_are_gone() {
    let [anna, ben, cleo, dora] = [1, 2, 3, 4].map(Person::new);
    let mut world = World::founded_by(&anna);
    comes(&mut world, &anna, &ben, Role::Writer);
    let head = comes(&mut world, &anna, &cleo, Role::Writer);
    let words = [(&ben, head), (&cleo, head)];
    assert_eq!(vouched(&world, &anna, head, &words), Vouched::Enough);
    let of_cleo = [(&anna, head), (&ben, head)];
    // Everybody is removed but the author, and then there is one newcomer, who has not vouched.
    goes(&mut world, &anna, &ben);
    goes(&mut world, &anna, &cleo);
    assert_eq!(vouched(&world, &anna, head, &words), Vouched::WasEnough);
    assert_eq!(vouched(&world, &cleo, head, &of_cleo), Vouched::WasEnough, "by an author who is gone too");
    let since = comes(&mut world, &anna, &dora, Role::Writer);
    assert_eq!(vouched(&world, &anna, head, &words), Vouched::WasEnough);
    assert_eq!(vouched(&world, &anna, head, &words[..1]), Vouched::Lacking { have: 0, need: 1 });
    // The newcomer is the one that is asked.
    assert_eq!(vouched(&world, &anna, head, &[(&dora, since)]), Vouched::Enough);
}

#[test]
fn who_comes_later_asks_for_more_but_does_not_undo_what_was_enough() {
    let [anna, ben, cleo] = [1, 2, 3].map(Person::new);
    let mut world = World::founded_by(&anna);
    let with_ben = comes(&mut world, &anna, &ben, Role::Writer);
    assert_eq!(vouched(&world, &anna, with_ben, &[(&ben, with_ben)]), Vouched::Enough);
    let with_cleo = comes(&mut world, &anna, &cleo, Role::Writer);
    assert_eq!(vouched(&world, &anna, with_ben, &[(&ben, with_ben)]), Vouched::WasEnough);
    assert_eq!(vouched(&world, &anna, with_ben, &[(&ben, with_cleo)]), Vouched::Lacking { have: 1, need: 2 });
}

#[test]
fn two_who_were_removed_date_words_back_and_it_never_was_enough() {
    let [anna, ben, mona, nina] = [1, 2, 3, 4].map(Person::new);
    let mut world = World::founded_by(&anna);
    let with_mona = comes(&mut world, &anna, &mona, Role::Writer);
    let with_nina = comes(&mut world, &anna, &nina, Role::Writer);
    comes(&mut world, &anna, &ben, Role::Writer);
    goes(&mut world, &anna, &mona);
    goes(&mut world, &anna, &nina);
    // Mona names a view in which she had one other beside her, Nina one in which she was there at all.
    for (author, head) in [(&mona, with_mona), (&mona, with_nina), (&nina, with_nina)] {
        let said = vouched(&world, author, head, &[(&mona, with_nina), (&nina, with_nina), (&nina, with_mona)]);
        assert_eq!(said, Vouched::Never, "one word of another, where two were asked for");
    }
    // With somebody who is here they are enough to be told apart, never to decide.
    let said = vouched(&world, &ben, with_nina, &[(&mona, with_nina), (&nina, with_nina)]);
    assert_eq!(said, Vouched::Never, "he was nobody yet in the view that he names");
    let said = vouched(&world, &anna, with_nina, &[(&mona, with_nina), (&nina, with_nina)]);
    assert_eq!(said, Vouched::WasEnough);
}

#[test]
fn who_is_alone_needs_another_of_their_own_devices_if_there_is_one() {
    let anna = Person::new(1);
    let mut world = World::founded_by(&anna);
    let alone = world.heads()[0];
    let log = anna.log_with_second_device();
    let head = said(&mut world, &anna, devices(&log, None));
    let other = match log.records[1].act() {
        IdentityAct::Add { keys, .. } => keys.id(),
        IdentityAct::Revoke(_) => panic!("a device is added"),
    };
    let judge = |words: &[(DeviceId, RecordId)]| world.members.vouched((&anna.keys.id(), &alone), words);
    assert_eq!(judge(&[]), Vouched::Lacking { have: 0, need: 1 });
    assert_eq!(judge(&[(anna.keys.id(), head)]), Vouched::Lacking { have: 0, need: 1 });
    assert_eq!(judge(&[(other, head)]), Vouched::Enough);
}
