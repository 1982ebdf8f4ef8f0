//! The membership log under every order of arrival: outcomes, views, heads and epochs are functions of
//! what is there, not of when it came.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "world/world.rs"]
mod world;

use proptest::prelude::*;
use tombolo_protocol::ids::RecordId;
use tombolo_protocol::membership::{Membership, RecordOutcome, RecordRefusal};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Record, RecordBody, Role};
use world::{Person, RELAY_SEED, World, devices, key, succession};

/// Something that arrives.
#[derive(Clone, Debug)]
enum Arrival {
    Record(Box<Record>),
    Attestation(Signed<Attestation>),
}

fn arrivals(world: &World) -> Vec<Arrival> {
    let records = world.records.iter().cloned().map(|record| Arrival::Record(Box::new(record)));
    let attestations = world.attestations.iter().cloned().map(Arrival::Attestation);
    records.chain(attestations).collect()
}

fn told(world: &World, arrivals: &[Arrival]) -> Membership {
    let mut members = Membership::new(world.members.workspace());
    for arrival in arrivals {
        match arrival.clone() {
            Arrival::Record(record) => drop(members.insert(*record)),
            Arrival::Attestation(said) => drop(members.attest(said)),
        }
    }
    members
}

fn assert_same(one: &Membership, other: &Membership, records: &[Record]) {
    for record in records {
        let id = record.id();
        assert_eq!(one.outcome(&id), other.outcome(&id), "{:?}", record.body());
        assert_eq!(one.view_at(&id), other.view_at(&id));
    }
    assert_eq!(one.heads(), other.heads());
    assert_eq!(one.view(), other.view());
    let ids = |members: &Membership| members.in_order().iter().map(|r| r.id()).collect::<Vec<_>>();
    assert_eq!(ids(one), ids(other));
}

/// A world in which Ben joined with a single-use invite.
fn with_ben(uses: u32, expires_ms: i64) -> (World, Person, Person, RecordId) {
    let (anna, ben) = (Person::new(1), Person::new(2));
    let mut world = World::founded_by(&anna);
    let invite = world.invite(&world.members.view(), Role::Writer, uses, expires_ms);
    let body = RecordBody::InviteCreate(Box::new(invite));
    let invite = world.add(anna.say(&world.members, &world.heads(), body));
    let join = world.add(world.join(&ben, &world.heads(), invite));
    (world, anna, ben, join)
}

#[test]
fn two_attestations_for_one_join_mean_the_same_in_either_order() {
    let (anna, ben) = (Person::new(1), Person::new(2));
    let mut world = World::founded_by(&anna);
    let body = succession(RELAY_SEED, RELAY_SEED + 1);
    world.add(anna.say(&world.members, &world.heads(), body));
    let invite = world.invite(&world.members.view(), Role::Writer, 3, 1000);
    let body = RecordBody::InviteCreate(Box::new(invite));
    let invite = world.add(anna.say(&world.members, &world.heads(), body));
    let join = world.add(world.join(&ben, &world.heads(), invite));
    let rotation = world.rotation(&world.members.view());
    let late = world.attestation(RELAY_SEED, join, 3, 2000);
    let good = world.attestation(RELAY_SEED + 1, join, 2, 900);
    world.attest(late.clone());
    assert_eq!(world.members.outcome(&join), Some(RecordOutcome::Refused(RecordRefusal::InviteNotValid)));
    world.attest(good.clone());
    assert_eq!(world.members.outcome(&join), Some(RecordOutcome::Admitted));
    assert_eq!(world.members.view().invite(&invite).unwrap().used, 2);
    drop(rotation);
    let mut other = told(&world, &arrivals(&world)[..world.records.len()]);
    assert!(other.attest(good) && other.attest(late));
    assert_same(&world.members, &other, &world.records);
}

#[test]
fn what_stands_on_a_join_counts_as_soon_as_the_join_does() {
    let (mut world, _, ben, join) = with_ben(1, 1000);
    let attestation = world.attestation(RELAY_SEED, join, 1, 10);
    let late = world.attestation(RELAY_SEED, join, 1, 5000);
    let mut bystander = world.members.clone();
    world.attest(attestation.clone());
    let rotation = world.rotation(&world.members.view());
    let rotate = ben.say(&world.members, &world.heads(), RecordBody::Rotate(rotation));
    assert_eq!(bystander.insert(rotate.clone()), RecordOutcome::AwaitsParents);
    bystander.attest(late);
    let refused = RecordOutcome::Refused(RecordRefusal::RefusedParent);
    assert_eq!(bystander.outcome(&rotate.id()), Some(refused));
    bystander.attest(attestation);
    assert_eq!(bystander.outcome(&rotate.id()), Some(RecordOutcome::Admitted));
    assert_eq!(bystander.head(), Some(rotate.id()));
    world.add(rotate);
    assert_same(&world.members, &bystander, &world.records);
}

#[test]
fn an_attestation_by_a_stranger_is_not_kept_and_exhausts_nothing() {
    let (mut world, _, _, join) = with_ben(5, 0);
    let RecordBody::Join(said) = world.members.record(&join).unwrap().body().clone() else {
        panic!("a join");
    };
    assert!(!world.members.attest(world.attestation(99, join, u32::MAX, 1)));
    assert_eq!(world.members.uses_of(&said.invite), 0);
    world.attest(world.attestation(RELAY_SEED, join, 1, 1));
    assert_eq!(world.members.uses_of(&said.invite), 1);
}

#[test]
fn a_forged_copy_does_not_keep_the_genuine_record_out() {
    let (world, ..) = with_ben(1, 0);
    for hidden in 0..world.records.len() {
        let mut bytes = world.records[hidden].encode();
        let last = bytes.len() - 40;
        bytes[last] ^= 1;
        let forged = Record::decode(&bytes).unwrap();
        assert_eq!(forged.id(), world.records[hidden].id());
        // Behind its parents the copy is refused at once; before them it is a rival that loses.
        for early in [false, true] {
            let mut members = Membership::new(world.members.workspace());
            let mut order = world.records.clone();
            order.insert(hidden, forged.clone());
            if early {
                order.rotate_left(hidden);
            }
            for record in order.iter().chain(&world.records) {
                members.insert(record.clone());
            }
            assert_same(&world.members, &members, &world.records);
        }
    }
}

#[test]
fn a_reader_can_not_start_an_epoch_in_a_devices_record() {
    let (anna, ben) = (Person::new(1), Person::new(2));
    let mut world = World::founded_by(&anna);
    let invite = world.invite(&world.members.view(), Role::Reader, 1, 0);
    let body = RecordBody::InviteCreate(Box::new(invite));
    let invite = world.add(anna.say(&world.members, &world.heads(), body));
    let join = world.add(world.join(&ben, &world.heads(), invite));
    world.attest(world.attestation(RELAY_SEED, join, 1, 1));
    let rotation = world.rotation(&world.members.view());
    let body = devices(&ben.log, Some(rotation));
    let outcome = world.members.insert(ben.say(&world.members, &[join], body));
    assert_eq!(outcome, RecordOutcome::Refused(RecordRefusal::RoleDenied));
}

#[test]
fn an_epoch_does_not_come_back() {
    let anna = Person::new(1);
    let mut world = World::founded_by(&anna);
    let first = world.members.view().epoch().unwrap();
    let rotation = world.rotation(&world.members.view());
    world.add(anna.say(&world.members, &world.heads(), RecordBody::Rotate(rotation)));
    let mut again = world.rotation(&world.members.view());
    again.epoch = first;
    let again = anna.say(&world.members, &world.heads(), RecordBody::Rotate(again));
    let refused = RecordOutcome::Refused(RecordRefusal::EpochMismatch);
    assert_eq!(world.members.insert(again), refused);
}

#[test]
fn a_joiner_can_not_bring_another_users_device() {
    let (mut world, _, _, join) = with_ben(3, 0);
    world.attest(world.attestation(RELAY_SEED, join, 1, 1));
    let RecordBody::Join(said) = world.members.record(&join).unwrap().body().clone() else {
        panic!("a join");
    };
    let mut thief = Person::new(2);
    let root = key(3);
    thief.log.root = tombolo_protocol::keys::VerifyKey::parse(&root.public()).unwrap();
    thief.log.records = vec![tombolo_protocol::identity::IdentityRecord::first(&root, thief.keys, 1, &thief.device)];
    let outcome = world.members.insert(world.join(&thief, &[join], said.invite));
    assert_eq!(outcome, RecordOutcome::Refused(RecordRefusal::RoleDenied));
}

#[test]
fn of_concurrent_rotations_a_superseded_one_never_wins() {
    let anna = Person::new(1);
    let mut world = World::founded_by(&anna);
    let base = world.heads();
    let rotate = |world: &mut World, on: &[RecordId]| {
        let rotation = world.rotation(&world.view_with(on));
        let record = anna.say(&world.members, on, RecordBody::Rotate(rotation));
        world.add(record)
    };
    let (a, b, c) = (rotate(&mut world, &base), rotate(&mut world, &base), rotate(&mut world, &base));
    let (a2, merged) = (rotate(&mut world, &[a]), world.view_with(&[a, b, c]));
    let lowest = [a, b, c].into_iter().min().unwrap();
    assert_eq!(merged.epoch(), world.members.view_at(&lowest).unwrap().epoch());
    let view = world.view_with(&[a, a2, b, c]);
    assert_eq!(view, world.view_with(&[c, b, a2]), "an ancestor adds nothing");
    let lowest = [a2, b, c].into_iter().min().unwrap();
    assert_eq!(view.epoch(), world.members.view_at(&lowest).unwrap().epoch());
}

#[test]
fn ten_thousand_records_in_any_order_take_seconds() {
    let anna = Person::new(1);
    let mut world = World::founded_by(&anna);
    let mut spread = [world.heads()[0]; 3];
    for n in 0..10_000_usize {
        let mut parents = vec![spread[n % 3], spread[(n / 7) % 3]];
        parents.sort_unstable();
        parents.dedup();
        let body = succession(1 + (n % 40) as u8, 41 + (n % 37) as u8);
        let record = anna.say(&world.members, &parents, body);
        spread[n % 3] = world.add(record);
    }
    let mut order = world.records.clone();
    let mut state = 7_u64;
    for at in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(at, (state >> 33) as usize % (at + 1));
    }
    let began = cpu_time();
    let mut members = Membership::new(world.members.workspace());
    for record in order {
        members.insert(record);
    }
    println!("10,000 records shuffled: {:?}", cpu_time() - began);
    let began = cpu_time();
    for _ in 0..1000 {
        std::hint::black_box((members.heads().len(), members.view()));
    }
    println!("heads() and view(): {:?} each", (cpu_time() - began) / 1000);
    assert_eq!(members.heads(), world.members.heads());
    assert_eq!(members.view(), world.members.view());
}

#[allow(clippy::disallowed_methods, reason = "a measurement, not the engine")]
fn cpu_time() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

/// One act of a random history.
fn act(world: &mut World, people: &[Person], (who, what, pick): (usize, u8, usize)) {
    let ids: Vec<RecordId> = world.records.iter().map(Record::id).collect();
    let viewable = ids.into_iter().filter(|id| world.members.view_at(id).is_some());
    let mut candidates: Vec<RecordId> = viewable.collect();
    let heads = world.heads();
    let parents = match pick % 4 {
        0 => vec![candidates.swap_remove(pick % candidates.len())],
        1 => vec![heads[pick % heads.len()]],
        _ => heads,
    };
    let view = world.view_with(&parents);
    let person = &people[who % people.len()];
    let body = match what % 6 {
        0 => RecordBody::Rotate(world.rotation(&view)),
        1 => devices(&person.log_with_second_device(), None),
        2 => succession(RELAY_SEED + (pick % 3) as u8, RELAY_SEED + (pick / 3 % 3) as u8),
        3 => {
            let role = [Role::Reader, Role::Writer, Role::Admin][pick % 3];
            let invite = world.invite(&view, role, 1 + (pick % 2) as u32, 100);
            RecordBody::InviteCreate(Box::new(invite))
        }
        _ => {
            let is_invite = |r: &&Record| matches!(r.body(), RecordBody::InviteCreate(_));
            let invites: Vec<RecordId> = world.records.iter().filter(is_invite).map(Record::id).collect();
            if invites.is_empty() {
                return;
            }
            let join = world.join(person, &parents, invites[pick % invites.len()]);
            let join = world.add(join);
            for round in 0..=(pick % 2) {
                let signer = RELAY_SEED + ((pick + round) % 3) as u8;
                let (nth, time) = (1 + (pick % 3) as u32, [50, 150][(pick / 2 + round) % 2]);
                world.attest(world.attestation(signer, join, nth, time));
            }
            return;
        }
    };
    let record = person.say(&world.members, &parents, body);
    world.add(record);
}

fn history() -> impl Strategy<Value = (usize, Vec<(usize, u8, usize)>, u64)> {
    let acts = prop::collection::vec((0_usize..5, 0_u8..6, 0_usize..1000), 1..25);
    (1_usize..=5, acts, any::<u64>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_means_the_same_in_any_order((users, acts, seed) in history()) {
        let people: Vec<Person> = (1..=users as u8).map(Person::new).collect();
        let mut world = World::founded_by(&people[0]);
        for step in acts {
            act(&mut world, &people, step);
        }
        let mut order = arrivals(&world);
        let mut state = seed | 1;
        for _ in 0..2 {
            for at in (1..order.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                order.swap(at, (state >> 33) as usize % (at + 1));
            }
            let shuffled = told(&world, &order);
            let in_order = told(&world, &arrivals(&world));
            assert_same(&world.members, &shuffled, &world.records);
            assert_same(&in_order, &shuffled, &world.records);
        }
    }
}
