//! Removals and what they strike, as stories: the adversarial cases that are decided by records alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "model/model.rs"]
mod model;
#[path = "world/world.rs"]
mod world;

use model::Model;
use tombolo_protocol::identity::{DeviceKeys, IdentityAct, IdentityDraft, IdentityError, IdentityLog, Signer};
use tombolo_protocol::ids::{ChainKey, DocumentTag, EntryHash, EpochId, Incarnation, LogId, RecordId, Stream, UserId};
use tombolo_protocol::keys::KeyError;
use tombolo_protocol::membership::{Admission, Claim, Membership, RecordOutcome, RecordRefusal};
use tombolo_protocol::receipt::{Receipt, Signed};
use tombolo_protocol::record::{Expiry, Pin, Pins, Record, RecordBody, Rewrap, Role, Rotation, Standing};
use world::{Person, RELAY_SEED, World, devices, key, relay, wrap};

const REFUSED: fn(RecordRefusal) -> RecordOutcome = RecordOutcome::Refused;

fn user(person: &Person) -> UserId {
    person.log.user()
}

fn standing(subject: &Person, role: Option<Role>) -> Standing {
    Standing { subject: user(subject), role, expiry: None, proof: None, pins: None, rotation: None }
}

fn body(standing: Standing) -> RecordBody {
    RecordBody::Standing(Box::new(standing))
}

/// A new epoch for all but one, whose devices are to lose the keys.
fn rotation_without(world: &World, on: &[RecordId], gone: &Person) -> Rotation {
    let mut rotation = world.rotation(&world.view_with(on));
    rotation.wraps.retain(|wrap| wrap.recipient != *gone.keys.id().as_bytes());
    rotation
}

fn removal(world: &World, on: &[RecordId], gone: &Person, pins: Option<Pins>) -> RecordBody {
    body(Standing { pins, rotation: Some(rotation_without(world, on, gone)), ..standing(gone, None) })
}

/// Signs on some heads, adds, and returns what became of it.
fn say(world: &mut World, by: &Person, on: &[RecordId], body: RecordBody) -> (RecordId, RecordOutcome) {
    let record = by.say(&world.members, on, body);
    let id = world.add(record);
    (id, world.members.outcome(&id).unwrap())
}

fn admitted(world: &mut World, by: &Person, on: &[RecordId], body: RecordBody) -> RecordId {
    let (id, outcome) = say(world, by, on, body);
    assert_eq!(outcome, RecordOutcome::Admitted);
    id
}

/// Anna owns; the others are given roles and bring their devices.
fn workspace<const N: usize>(roles: [Role; N]) -> (World, Person, [Person; N]) {
    let anna = Person::new(1);
    let mut world = World::founded_by(&anna);
    let people = std::array::from_fn(|n| Person::new(n as u8 + 2));
    for (person, role) in people.iter().zip(roles) {
        let heads = world.heads();
        let grant = admitted(&mut world, &anna, &heads, body(standing(person, Some(role))));
        admitted(&mut world, person, &[grant], devices(&person.log, None));
    }
    (world, anna, people)
}

fn chain(of: &Person) -> ChainKey {
    ChainKey {
        document: DocumentTag::from_bytes([1; 16]),
        stream: Stream::CONTENT,
        device: of.keys.id(),
        incarnation: Incarnation(1),
    }
}

fn hash(seq: u64) -> EntryHash {
    EntryHash::from_bytes([seq as u8; 32])
}

fn admission(world: &World, of: &Person, seq: u64, members_head: &RecordId) -> Admission {
    world.members.admission(&Claim { chain: &chain(of), seq, hash: &hash(seq), members_head })
}

fn pinned_at(of: &Person, seq: u64) -> Option<Pins> {
    Some(Pins { documents: None, chains: vec![Pin { chain: chain(of), seq, hash: hash(seq) }] })
}

#[test]
fn two_removals_side_by_side_leave_no_epoch_until_somebody_heals_it() {
    let (mut world, anna, [ben, cleo, dora, emil]) = workspace([Role::Admin, Role::Admin, Role::Writer, Role::Writer]);
    let heads = world.heads();
    let bodies = (removal(&world, &heads, &dora, None), removal(&world, &heads, &emil, None));
    let one = admitted(&mut world, &ben, &heads, bodies.0);
    let other = admitted(&mut world, &cleo, &heads, bodies.1);
    let view = world.members.view();
    assert_eq!((view.role(&user(&dora)), view.role(&user(&emil))), (None, None));
    assert!(view.needs_healing() && view.epoch().is_none());

    let heads = [one, other];
    let epochs: Vec<EpochId> = view.newest_epochs().collect();
    let mut half = world.rotation(&view);
    half.previous.pop();
    let (_, outcome) = say(&mut world, &anna, &heads, RecordBody::Rotate(half));
    assert_eq!(outcome, REFUSED(RecordRefusal::EpochMismatch));
    let healing = world.rotation(&view);
    let gone = [dora.keys.id(), emil.keys.id()];
    assert!(healing.wraps.iter().all(|wrap| gone.iter().all(|device| wrap.recipient != *device.as_bytes())));
    assert_eq!(healing.previous.iter().map(|previous| previous.epoch).collect::<Vec<_>>(), epochs);
    let epoch = healing.epoch;
    admitted(&mut world, &anna, &heads, RecordBody::Rotate(healing));
    assert_eq!(world.members.view().epoch(), Some(epoch));
}

#[test]
fn two_admins_who_remove_each_other_are_both_out() {
    let (mut world, anna, [ben, cleo]) = workspace([Role::Admin, Role::Admin]);
    let heads = world.heads();
    let bodies = (removal(&world, &heads, &cleo, None), removal(&world, &heads, &ben, None));
    let one = admitted(&mut world, &ben, &heads, bodies.0);
    let other = admitted(&mut world, &cleo, &heads, bodies.1);
    let view = world.members.view();
    assert_eq!(view.members().collect::<Vec<_>>(), [(user(&anna), Role::Owner)]);
    assert!(!view.is_void(&one) && !view.is_void(&other));
}

#[test]
fn an_owner_outranks_an_admin_and_the_last_one_stays() {
    let (mut world, anna, [ben, cleo]) = workspace([Role::Admin, Role::Writer]);
    let heads = world.heads();
    let of_owner = removal(&world, &heads, &anna, None);
    let (_, outcome) = say(&mut world, &ben, &heads, of_owner.clone());
    assert_eq!(outcome, REFUSED(RecordRefusal::RoleDenied));
    let (_, outcome) = say(&mut world, &anna, &heads, of_owner);
    assert_eq!(outcome, REFUSED(RecordRefusal::LastOwner));

    let bodies = (removal(&world, &heads, &ben, None), removal(&world, &heads, &cleo, None));
    let by_owner = admitted(&mut world, &anna, &heads, bodies.0);
    let by_admin = admitted(&mut world, &ben, &heads, bodies.1);
    let view = world.members.view();
    assert!(view.is_void(&by_admin) && !view.is_void(&by_owner));
    assert_eq!((view.role(&user(&ben)), view.role(&user(&cleo))), (None, Some(Role::Writer)));
}

#[test]
fn two_last_owners_who_remove_each_other_both_stay_whatever_comes_later() {
    let (mut world, anna, [ben, cleo]) = workspace([Role::Owner, Role::Writer]);
    let heads = world.heads();
    let bodies = (removal(&world, &heads, &ben, None), removal(&world, &heads, &anna, None));
    let one = admitted(&mut world, &anna, &heads, bodies.0);
    let other = admitted(&mut world, &ben, &heads, bodies.1);
    let owners = |world: &World| world.members.view().members().filter(|(_, role)| *role == Role::Owner).count();
    assert_eq!(owners(&world), 2);
    assert!(world.members.view().is_void(&one) && world.members.view().is_void(&other));
    // With a third owner the removals would have applied: but anna has built on it that they did not.
    let third = body(standing(&cleo, Some(Role::Owner)));
    admitted(&mut world, &anna, &[one, other], third);
    assert_eq!(owners(&world), 3);
    let stale = world.rotation(&world.view_with(&heads));
    admitted(&mut world, &cleo, &heads, RecordBody::Rotate(stale));
    assert_eq!(owners(&world), 3, "an old record that turns up late takes nobody's standing");
}

#[test]
fn a_grant_beside_the_removal_of_its_maker_is_void_and_so_is_what_stands_on_it() {
    let (mut world, anna, [ben]) = workspace([Role::Admin]);
    let zoe = Person::new(9);
    let heads = world.heads();
    let grant = admitted(&mut world, &ben, &heads, body(standing(&zoe, Some(Role::Writer))));
    let brought = admitted(&mut world, &zoe, &[grant], devices(&zoe.log, None));
    let rotate = RecordBody::Rotate(world.rotation(&world.view_with(&[brought])));
    let rotated = admitted(&mut world, &zoe, &[brought], rotate);
    assert_eq!(admission(&world, &zoe, 1, &brought), Admission::Admitted);
    let out = removal(&world, &heads, &ben, None);
    admitted(&mut world, &anna, &heads, out);
    let view = world.members.view();
    assert!(view.is_void(&grant) && view.is_void(&rotated));
    assert_eq!(view.role(&user(&zoe)), None);
    assert_eq!(admission(&world, &zoe, 1, &brought), Admission::BeyondPin { by: grant });
}

#[test]
fn a_newcomer_left_out_by_a_concurrent_rotation_is_given_the_epoch_later() {
    let (mut world, anna, [ben]) = workspace([Role::Writer]);
    let zoe = Person::new(9);
    let heads = world.heads();
    let rotation = world.rotation(&world.view_with(&heads));
    assert!(rotation.wraps.iter().all(|wrap| wrap.recipient != *zoe.keys.id().as_bytes()));
    let epoch = rotation.epoch;
    admitted(&mut world, &ben, &heads, RecordBody::Rotate(rotation));
    let grant = admitted(&mut world, &anna, &heads, body(standing(&zoe, Some(Role::Writer))));
    admitted(&mut world, &zoe, &[grant], devices(&zoe.log, None));
    assert_eq!(world.members.view().epoch(), Some(epoch));
    let heads = world.heads();
    let to_zoe = Rewrap { epoch, wraps: vec![wrap(zoe.keys.id().as_bytes())] };
    admitted(&mut world, &ben, &heads, RecordBody::Rewrap(to_zoe));
    let heads = world.heads();
    let to_outsider = Rewrap { epoch, wraps: vec![wrap(&[0xee; 32])] };
    let (_, outcome) = say(&mut world, &ben, &heads, RecordBody::Rewrap(to_outsider));
    assert_eq!(outcome, REFUSED(RecordRefusal::RewrapToNonMember));
}

#[test]
fn a_rotation_is_wrapped_to_all_members_and_to_nobody_else() {
    let (mut world, anna, [ben]) = workspace([Role::Writer]);
    let heads = world.heads();
    let mismatch = REFUSED(RecordRefusal::RecipientSetMismatch);
    let mut more = world.rotation(&world.members.view());
    more.wraps.push(wrap(&[0xee; 32]));
    assert_eq!(say(&mut world, &ben, &heads, RecordBody::Rotate(more)).1, mismatch);
    let fewer = rotation_without(&world, &heads, &anna);
    assert_eq!(say(&mut world, &ben, &heads, RecordBody::Rotate(fewer)).1, mismatch);
    let bare = body(standing(&ben, None));
    assert_eq!(say(&mut world, &anna, &heads, bare).1, REFUSED(RecordRefusal::RotationMissing));
    let kept = world.rotation(&world.members.view());
    let kept = body(Standing { rotation: Some(kept), ..standing(&ben, None) });
    assert_eq!(say(&mut world, &anna, &heads, kept).1, mismatch);
}

fn receipt(world: &World, relay_seed: u8, time_ms: i64) -> Option<Signed<Receipt>> {
    let receipt = Receipt {
        relay: relay(relay_seed),
        workspace: world.members.workspace(),
        log: LogId::from_bytes([1; 16]),
        position: 1,
        head: [0; 32],
        time_ms,
        acknowledged: [0; 32],
    };
    Some(Signed::sign(receipt, &key(relay_seed)))
}

#[test]
fn an_expired_role_is_swept_by_the_clock_of_its_relay_and_no_other() {
    let (mut world, anna, [ben, cleo]) = workspace([Role::Writer, Role::Writer]);
    let heads = world.heads();
    let expiry = Some(Expiry { expires_ms: 1000, relay: relay(RELAY_SEED) });
    let short = body(Standing { expiry, ..standing(&cleo, Some(Role::Writer)) });
    let head = admitted(&mut world, &anna, &heads, short);
    let sweep = |world: &World, proof| {
        let rotation = Some(rotation_without(world, &[head], &cleo));
        body(Standing { proof, rotation, pins: pinned_at(&cleo, 2), ..standing(&cleo, None) })
    };
    let unproven = sweep(&world, None);
    assert_eq!(say(&mut world, &ben, &[head], unproven).1, REFUSED(RecordRefusal::RoleDenied));
    for (seed, time) in [(RELAY_SEED, 1000), (RELAY_SEED + 1, 9_000_000_000)] {
        let early = sweep(&world, receipt(&world, seed, time));
        assert_eq!(say(&mut world, &ben, &[head], early).1, REFUSED(RecordRefusal::ExpiryNotProven));
    }
    let swept = sweep(&world, receipt(&world, RELAY_SEED, 1001));
    let swept = admitted(&mut world, &ben, &[head], swept);
    assert_eq!(world.members.view().role(&user(&cleo)), None);
    assert_eq!(admission(&world, &cleo, 2, &head), Admission::Admitted);
    assert_eq!(admission(&world, &cleo, 3, &head), Admission::BeyondPin { by: swept });
}

#[test]
fn a_device_comes_in_with_its_own_signature_only() {
    let (mut world, _, [ben]) = workspace([Role::Writer]);
    let weak = [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }];
    assert_eq!(DeviceKeys::parse(&weak[1], &[9; 32]), Err(KeyError::WeakKey));
    assert_eq!(DeviceKeys::parse(&key(77).public(), &weak[0]), Err(KeyError::WeakKey));
    let keys = DeviceKeys::parse(&key(77).public(), &[77; 32]).unwrap();
    let draft = IdentityDraft::new(
        user(&ben),
        &[ben.log.records[0].id()],
        IdentityAct::Add { keys, platform: 1 },
        Signer::Device(ben.keys.id()),
    );
    let signature = draft.sign(&ben.device);
    let claimed = draft.clone().complete(signature, Some(draft.counter_sign(&ben.device)));
    let log = IdentityLog { records: vec![ben.log.records[0].clone(), claimed], root: ben.log.root };
    let heads = world.heads();
    let outcome = say(&mut world, &ben, &heads, devices(&log, None)).1;
    let forged = RecordRefusal::Identity(IdentityError::Key(KeyError::BadSignature));
    assert_eq!(outcome, REFUSED(forged));
}

#[test]
fn work_up_to_a_pin_stays_and_work_beyond_it_goes_wherever_it_is_dated() {
    let (mut world, anna, [ben]) = workspace([Role::Writer]);
    let old = world.heads()[0];
    for seq in 1..=5 {
        assert_eq!(admission(&world, &ben, seq, &old), Admission::Admitted);
    }
    let out = removal(&world, &[old], &ben, pinned_at(&ben, 4));
    let by = admitted(&mut world, &anna, &[old], out);
    for seq in 1..=4 {
        assert_eq!(admission(&world, &ben, seq, &old), Admission::Admitted);
    }
    assert_eq!(admission(&world, &ben, 5, &old), Admission::BeyondPin { by });
    let other_branch = Claim { chain: &chain(&ben), seq: 4, hash: &hash(44), members_head: &old };
    assert_eq!(world.members.admission(&other_branch), Admission::BeyondPin { by });
    assert_eq!(admission(&world, &ben, 6, &by), Admission::RoleDenied);
    let head = world.heads()[0];
    let head = admitted(&mut world, &anna, &[head], RecordBody::Admit(vec![hash(5)]));
    assert_eq!(admission(&world, &ben, 5, &old), Admission::Admitted);
    admitted(&mut world, &anna, &[head], RecordBody::Exclude(vec![hash(5)]));
    assert_eq!(admission(&world, &ben, 5, &old), Admission::Excluded);
}

#[test]
fn an_entry_beyond_the_pin_is_carried_by_what_another_built_on_it() {
    let (mut world, anna, [ben, cleo]) = workspace([Role::Writer, Role::Writer]);
    let old = world.heads()[0];
    let out = removal(&world, &[old], &ben, pinned_at(&ben, 1));
    admitted(&mut world, &anna, &[old], out);
    let entry = |of: &Person, seq: u64, deps: &[usize]| model::admission::Entry {
        chain: chain(of),
        seq,
        hash: hash(seq),
        members_head: old,
        deps: deps.to_vec(),
    };
    let model = Model::new(&world.records, &[]);
    // Ben's second is beyond; his third, which cleo built on, rests on it; his fourth nobody built on.
    let entries =
        [entry(&ben, 1, &[]), entry(&ben, 2, &[0]), entry(&ben, 3, &[1]), entry(&ben, 4, &[2]), entry(&cleo, 1, &[1])];
    assert_eq!(model.admitted(&entries).into_iter().collect::<Vec<_>>(), [0, 1, 4]);
}

#[test]
fn a_removal_ends_the_link_that_the_removed_came_by() {
    let (mut world, anna, [ben]) = workspace([Role::Admin]);
    let (zoe, heads) = (Person::new(9), world.heads());
    let link = world.invite(&world.members.view(), Role::Writer, 0, 0);
    let link = admitted(&mut world, &ben, &heads, RecordBody::InviteCreate(Box::new(link)));
    let single = world.invite(&world.members.view(), Role::Writer, 1, 0);
    let single = admitted(&mut world, &anna, &[link], RecordBody::InviteCreate(Box::new(single)));
    let join = world.add(world.join(&zoe, &[single], link));
    world.attest(world.attestation(RELAY_SEED, join, 1, 5));
    let out = removal(&world, &[join], &zoe, None);
    let out = admitted(&mut world, &anna, &[join], out);
    let view = world.members.view();
    assert!(view.invite(&link).unwrap().ended && !view.invite(&single).unwrap().ended);
    let wrapped = |id: &RecordId| view.recipients().iter().any(|(recipient, _)| recipient == id.as_bytes());
    assert!(wrapped(&single) && !wrapped(&link));
    let again = world.add(world.join(&Person::new(10), &[out], link));
    assert_eq!(world.members.outcome(&again), Some(REFUSED(RecordRefusal::InviteNotValid)));
    // A Join that was made beside the removal is void.
    let beside = world.add(world.join(&Person::new(11), &[join], link));
    world.attest(world.attestation(RELAY_SEED, beside, 2, 6));
    assert_eq!(world.members.outcome(&beside), Some(RecordOutcome::Admitted));
    assert!(world.members.view().is_void(&beside));
}

#[test]
fn of_two_who_take_an_invite_for_one_the_counting_relay_names_one() {
    let (mut world, anna, []) = workspace([]);
    let heads = world.heads();
    let invite = world.invite(&world.members.view(), Role::Writer, 1, 0);
    let invite = admitted(&mut world, &anna, &heads, RecordBody::InviteCreate(Box::new(invite)));
    let joins: Vec<Record> = [2, 3].map(|seed| world.join(&Person::new(seed), &[invite], invite)).to_vec();
    let [one, other] = [world.add(joins[0].clone()), world.add(joins[1].clone())];
    assert!(!world.members.attest(world.attestation(RELAY_SEED + 1, other, 1, 5)));
    world.attest(world.attestation(RELAY_SEED, one, 1, 5));
    assert_eq!(world.members.outcome(&one), Some(RecordOutcome::Admitted));
    assert_eq!(world.members.outcome(&other), Some(RecordOutcome::AwaitsAttestation));
    world.attest(world.attestation(RELAY_SEED, other, 2, 6));
    assert_eq!(world.members.outcome(&other), Some(REFUSED(RecordRefusal::InviteNotValid)));
}

/// Records of a workspace: `width` branches side by side, merged at random; a removal now and then.
fn long_history(count: usize, width: usize, removals: bool) -> World {
    let (mut world, anna, [ben, cleo]) = workspace([Role::Admin, Role::Writer]);
    let mut heads = vec![world.heads()[0]; width];
    for n in 0..count {
        let (at, other) = (n % width, (n * 7 + n / 5) % width);
        let mut parents = vec![heads[at]];
        if n % 3 == 0 && heads[other] != heads[at] {
            parents.push(heads[other]);
        }
        let body = if removals && n % 50 == 49 {
            let gone = world.view_with(&parents).role(&user(&cleo)).is_some();
            let removed = removal(&world, &parents, &cleo, None);
            if gone { removed } else { body(standing(&cleo, Some(Role::Writer))) }
        } else {
            RecordBody::Exclude(vec![hash(n as u64 % 200)])
        };
        let by = if n % 2 == 0 { &anna } else { &ben };
        heads[at] = admitted(&mut world, by, &parents, body);
    }
    world
}

#[test]
fn figures_for_long_histories() {
    for (name, width, removals) in [("linear", 1, false), ("4 branches", 4, false), ("4 branches, removals", 4, true)] {
        let world = long_history(if removals { 500 } else { 10_000 }, width, removals);
        let began = wall_time();
        let mut members = Membership::new(world.members.workspace());
        for record in &world.records {
            members.insert_proven(record.clone());
        }
        let took = wall_time() - began;
        let each = took / world.records.len() as u32;
        println!("{name}: {} records {took:?}, {each:?} each", world.records.len());
        assert_eq!(members.view(), world.members.view());
    }
}

#[allow(clippy::disallowed_methods, reason = "a measurement, not the engine")]
fn wall_time() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}
