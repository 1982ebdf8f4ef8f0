//! A member, or a relay, who makes records that must not count: beyond the role, with keys for the wrong
//! people, with keys that are none, without the signatures it takes.

use std::time::Duration;

use tombolo::protocol::frame::{Frame, RefusalReason};
use tombolo::protocol::identity::{
    DeviceKeys, Identity, IdentityAct, IdentityDraft, IdentityError, IdentityLog, IdentityRecord, Signer,
};
use tombolo::protocol::ids::{DeviceId, EpochId, RelayId, UserId};
use tombolo::protocol::item::LogItem;
use tombolo::protocol::keys::{KeyError, SignKey};
use tombolo::protocol::membership::{RecordOutcome, RecordRefusal, View};
use tombolo::protocol::receipt::{Attestation, Receipt, Signed};
use tombolo::protocol::record::{
    Devices, Draft, EpochWrap, PreviousEpoch, Record, RecordBody, RecordError, Rewrap, Role, Rotation, Standing,
};
use tombolo::{Error, MembershipAct, SetAsideReason};
use tombolo_tests::lies::{self, Lie};
use tombolo_tests::tamper::Planted;
use tombolo_tests::{Net, Replica};

use crate::support::{RELAY, Scene, act, role, scene, set_role, user};

fn wrap(recipient: [u8; 32]) -> EpochWrap {
    EpochWrap { recipient, encapsulated: [1; 32], sealed: [2; 80] }
}

/// A rotation as the log can judge it: nobody but its readers can tell that no secret is inside.
pub(crate) fn rotation(view: &View, nth: u8) -> Rotation {
    Rotation {
        epoch: EpochId::from_bytes([nth; 32]),
        previous: view.newest_epochs().map(|epoch| PreviousEpoch { epoch, sealed: [3; 48] }).collect(),
        wraps: view.recipients().iter().map(|(id, _)| wrap(*id)).collect(),
    }
}

pub(crate) fn standing(subject: UserId, role: Option<Role>) -> Standing {
    Standing { subject, role, expiry: None, proof: None, pins: None, rotation: None }
}

impl Scene {
    /// The relay refuses what mallory states, and where it colludes every device does.
    pub(crate) fn is_no_record(&mut self, body: RecordBody, by_relay: RefusalReason, by_devices: RecordRefusal) {
        let record = self.rogue.state(&self.net, body);
        let bytes = record.encode();
        assert_eq!(self.append(vec![LogItem::encode_record(&bytes)]), [by_relay]);
        let mut membership = self.net.membership(RELAY);
        assert_eq!(membership.insert(record.clone()), RecordOutcome::Refused(by_devices));
        let before = self.honest.map(|replica| replica.counted(&self.net, SetAsideReason::RecordRefused));
        let members = self.members();
        self.net.plant_record(RELAY, &record);
        self.net.run_until_quiet();
        let after = self.honest.map(|replica| replica.counted(&self.net, SetAsideReason::RecordRefused));
        assert_eq!(before.map(|count| count + 1), after);
        assert_eq!(self.members(), members, "nothing has changed");
        // Nor does it when what was stored is loaded again.
        self.honest.into_iter().for_each(|replica| replica.crash(&mut self.net));
        self.net.run_until_quiet();
        assert_eq!(self.members(), members, "nothing has changed");
    }

    fn members(&mut self) -> Vec<(UserId, Role)> {
        let workspace = self.net.workspace();
        let [alice, bob] = self.honest.map(|replica| {
            let members = self.net.act(replica, |engine, _, _| engine.members(&workspace)).unwrap().unwrap();
            members.into_iter().map(|member| (member.user, member.role)).collect::<Vec<_>>()
        });
        assert_eq!(alice, bob);
        alice
    }
}

#[test]
fn case_23_an_admin_does_not_remove_an_owner_and_the_last_owner_does_not_go() {
    let mut story = scene(23, Role::Writer);
    let [alice, bob] = story.honest;
    let (owner, mallorys) = (user(&story.net, alice), user(&story.net, story.mallory));
    set_role(&mut story.net, alice, story.mallory, Role::Admin);
    set_role(&mut story.net, alice, bob, Role::Admin);
    let asked = act(&mut story.net, bob, MembershipAct::Remove { user: owner });
    assert!(matches!(asked, Err(Error::Refused(RecordRefusal::RoleDenied))), "{asked:?}");
    let asked = act(&mut story.net, alice, MembershipAct::Remove { user: owner });
    assert!(matches!(asked, Err(Error::Refused(RecordRefusal::LastOwner))), "{asked:?}");
    let removal = RecordBody::Standing(Box::new(standing(owner, None)));
    story.is_no_record(removal, RefusalReason::RoleDenied, RecordRefusal::RoleDenied);
    let demotion = RecordBody::Standing(Box::new(standing(owner, Some(Role::Writer))));
    story.is_no_record(demotion, RefusalReason::RoleDenied, RecordRefusal::RoleDenied);
    let promotion = RecordBody::Standing(Box::new(standing(mallorys, Some(Role::Owner))));
    story.is_no_record(promotion, RefusalReason::RoleDenied, RecordRefusal::RoleDenied);
    assert_eq!(role(&mut story.net, bob, owner), Some(Role::Owner));
    assert_eq!(story.net.refused(RELAY, "role_denied"), 0, "the relay was started again since");
    story.ends();
}

#[test]
fn case_26_no_epoch_is_wrapped_to_an_outsider() {
    let mut story = scene(26, Role::Writer);
    let view = story.net.membership(RELAY).view();
    let to_outsider = Rewrap { epoch: view.epoch().unwrap(), wraps: vec![wrap([0xee; 32])] };
    let refused = RecordRefusal::RewrapToNonMember;
    story.is_no_record(RecordBody::Rewrap(to_outsider), RefusalReason::RewrapToNonMember, refused);
    let mut more = rotation(&view, 0xe1);
    more.wraps.push(wrap([0xee; 32]));
    let refused = RecordRefusal::RecipientSetMismatch;
    story.is_no_record(RecordBody::Rotate(more), RefusalReason::RecipientSetMismatch, refused);
    story.ends();
}

#[test]
fn case_27_no_epoch_leaves_a_member_out() {
    let mut story = scene(27, Role::Writer);
    let view = story.net.membership(RELAY).view();
    for (nth, out) in (0..view.recipients().len()).enumerate() {
        let mut fewer = rotation(&view, nth as u8);
        fewer.wraps.remove(out);
        let refused = RecordRefusal::RecipientSetMismatch;
        story.is_no_record(RecordBody::Rotate(fewer), RefusalReason::RecipientSetMismatch, refused);
    }
    story.ends();
}

/// The eight points of small order, compressed (the low-order list of RFC 7748 §6 on Edwards form).
const SMALL_ORDER: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];
/// Points of low order on Curve25519 (RFC 7748 §6.1).
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn case_34_a_device_whose_signing_key_anybody_can_sign_for_is_none() {
    brings_a_weak_device(34, &SMALL_ORDER, |keys| keys.sign.to_bytes());
}

#[test]
fn case_35_a_device_whose_box_anybody_can_open_is_none() {
    brings_a_weak_device(35, &LOW_ORDER, |keys| keys.box_public);
}

/// Mallory's device vouches for another one, with a key in it that is weak.
fn brings_a_weak_device(seed: u64, weak: &[&str], of: impl Fn(&DeviceKeys) -> [u8; 32]) {
    let mut story = scene(seed, Role::Writer);
    let new = story.net.device("second").secrets(&story.net);
    let log = story.log_with(&new.public(), Some(new.sign_key()));
    let body = RecordBody::Devices(Box::new(Devices { identity: log.into(), pins: None, rotation: None }));
    let bytes = story.rogue.state(&story.net, body).encode();
    let at = bytes.windows(32).position(|window| window == of(&new.public())).unwrap();
    let mut items = Vec::new();
    for point in weak {
        let mut altered = bytes.clone();
        altered[at..at + 32].copy_from_slice(&data_encoding::HEXLOWER.decode(point.as_bytes()).unwrap());
        let read = Record::decode(&altered);
        let refused = matches!(
            read,
            Err(RecordError::Identity(IdentityError::Key(KeyError::WeakKey)) | RecordError::Key(KeyError::WeakKey))
        );
        assert!(refused, "{point}: {read:?}");
        items.push(LogItem::encode_record(&altered));
    }
    let said = story.append(items.clone());
    assert_eq!(said, vec![RefusalReason::Malformed; weak.len()]);
    assert_eq!(story.net.refused(RELAY, "malformed"), weak.len() as u64);
    // Where the relay hands it on all the same, a device ends the session and takes nothing of it.
    let [alice, bob] = story.honest;
    let mut handed = items.into_iter().cycle();
    story.net.lie(
        RELAY,
        lies::rewrite(move |frame| match frame {
            Frame::Items(mut run) => {
                run.items = handed.next().into_iter().map(Into::into).collect();
                vec![run.into()]
            }
            frame => vec![frame],
        }),
    );
    alice.edit(&mut story.net, "bait");
    story.net.run_for(std::time::Duration::from_secs(120));
    assert!(bob.counted(&story.net, SetAsideReason::WeakKey) > 0);
    assert_eq!(bob.counted(&story.net, SetAsideReason::Malformed), 0);
    story.net.honest(RELAY);
    story.ends();
    let devices = bob.devices_of_members(&mut story.net);
    assert_eq!(devices.len(), 3);
}

impl Scene {
    /// Mallory's identity log, with another device that it says is hers.
    fn log_with(&self, keys: &DeviceKeys, counter_signer: Option<&SignKey>) -> IdentityLog {
        let view = self.net.membership(RELAY).view();
        let mut log = view.identity(&user(&self.net, self.mallory)).unwrap().clone();
        let secrets = self.rogue.secrets();
        let identity = Identity::evaluate(&log).unwrap();
        let record = match counter_signer {
            Some(new) => IdentityRecord::next(&identity, (secrets.id(), secrets.sign_key()), *keys, 1, new),
            None => {
                let parents: Vec<_> = log.records.iter().map(IdentityRecord::id).collect();
                let act = IdentityAct::Add { keys: *keys, platform: 1 };
                let draft = IdentityDraft::new(identity.user, &parents, act, Signer::Device(secrets.id()));
                let (signature, counter) = (draft.sign(secrets.sign_key()), draft.counter_sign(secrets.sign_key()));
                draft.complete(signature, Some(counter))
            }
        };
        log.records.push(record);
        log
    }
}

#[test]
fn case_46_nobody_claims_a_device_that_has_not_signed_for_it() {
    let mut story = scene(46, Role::Writer);
    let hers = story.net.device("hers").secrets(&story.net).public();
    let identity = story.log_with(&hers, None);
    let claim = RecordBody::Devices(Box::new(Devices { identity: identity.into(), pins: None, rotation: None }));
    let refused = RecordRefusal::Identity(IdentityError::Key(KeyError::BadSignature));
    story.is_no_record(claim, RefusalReason::RecordRefused, refused);
    let devices = story.honest[0].devices_of_members(&mut story.net);
    assert!(!devices.contains(&hers.id()));
    story.ends();
}

#[test]
fn case_40_what_a_relay_attests_of_a_record_it_made_up_is_worth_nothing() {
    let mut story = scene(40, Role::Writer);
    let [alice, bob] = story.honest;
    let membership = story.net.membership(RELAY);
    let (owner, mallorys) = (alice.ids(&story.net).0, user(&story.net, story.mallory));
    let heads: Vec<_> = membership.heads().iter().copied().collect();
    let draft = Draft {
        workspace: story.net.workspace(),
        generation: membership.next_generation(),
        time_ms: 0,
        author: owner,
        parents: heads,
        body: RecordBody::Standing(Box::new(standing(mallorys, Some(Role::Admin)))),
        secret: Vec::new(),
    };
    let key = story.net.relay_key(RELAY);
    let record = Record::sign(draft, &key).unwrap();
    let word = Attestation {
        relay: RelayId::from_bytes(key.public()),
        workspace: story.net.workspace(),
        subject: record.id(),
        nth: 1,
        time_ms: 1,
        level: 4,
    };
    let word = Signed::sign(word, &key);
    let refused = RecordOutcome::Refused(RecordRefusal::Key(KeyError::BadSignature));
    assert_eq!(story.net.membership(RELAY).insert(record.clone()), refused);
    story.net.plant(RELAY, &[Planted::Record(&record), Planted::Attestation(&word)]);
    story.net.run_until_quiet();
    story.assert_counted(SetAsideReason::RecordRefused, 1);
    for replica in [alice, bob] {
        assert_eq!(role(&mut story.net, replica, mallorys), Some(Role::Writer));
    }
    story.ends();
}

#[test]
fn case_66_no_clock_but_the_relays_ends_a_role() {
    let mut story = scene(66, Role::Writer);
    let [alice, bob] = story.honest;
    let bobs = user(&story.net, bob);
    let in_a_month = story.net.now().wall_ms + 30 * 86_400_000;
    let until = MembershipAct::SetRole { user: bobs, role: Role::Writer, expires_ms: Some(in_a_month) };
    act(&mut story.net, alice, until).unwrap();
    story.net.run_until_quiet();
    // Mallory's clock is three months ahead. The relay's receipts are not.
    let key = story.net.relay_key(RELAY);
    let said = |relay: RelayId, time_ms: i64| Receipt {
        relay,
        workspace: story.net.workspace(),
        log: tombolo::protocol::ids::LogId::from_bytes([1; 16]),
        position: 1,
        head: [0; 32],
        time_ms,
        acknowledged: [0; 32],
    };
    let early = Signed::sign(said(RelayId::from_bytes(key.public()), story.net.now().wall_ms), &key);
    let own = SignKey::from_seed(&[9; 32]);
    let of_another = Signed::sign(said(RelayId::from_bytes(own.public()), in_a_month + 1), &own);
    let forged = Signed::sign(said(RelayId::from_bytes(key.public()), in_a_month + 1), &own);
    let view = story.net.membership(RELAY).view();
    let bobs_device = bob.ids(&story.net).0;
    let unproven = (RefusalReason::ExpiryNotProven, RecordRefusal::ExpiryNotProven);
    let not_the_relays = (RefusalReason::BadSignature, RecordRefusal::Key(KeyError::BadSignature));
    let proofs = [(early, unproven), (of_another, unproven), (forged, not_the_relays)];
    for (nth, (proof, (by_relay, by_devices))) in proofs.into_iter().enumerate() {
        let mut rotation = rotation(&view, nth as u8);
        rotation.wraps.retain(|wrap| wrap.recipient != *bobs_device.as_bytes());
        let sweep = Standing { proof: Some(proof), rotation: Some(rotation), ..standing(bobs, None) };
        let body = RecordBody::Standing(Box::new(sweep));
        story.is_no_record(body, by_relay, by_devices);
    }
    assert_eq!(role(&mut story.net, alice, bobs), Some(Role::Writer));
    story.ends();
}

#[test]
fn a_record_that_was_spoilt_on_the_way_is_found_by_the_next_session() {
    for persists in [false, true] {
        let mut net = Net::seeded(231);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        net.lie(RELAY, spoil_records_for(bob));
        alice.invite(&mut net, Role::Reader);
        alice.edit(&mut net, "behind-it");
        net.run_for(Duration::from_secs(60));
        if persists {
            bob.crash(&mut net);
            net.run_for(Duration::from_secs(60));
        }
        let document = net.documents()[0];
        assert!(!bob.has(&mut net, document, "behind-it"));
        assert!(bob.counted(&net, SetAsideReason::RecordRefused) > 0);
        net.honest(RELAY);
        bob.crash(&mut net);
        net.run_until_quiet();
        assert!(bob.has(&mut net, document, "behind-it"));
        net.assert_converged([alice, bob]);
    }
}

#[test]
fn a_record_forged_onto_a_join_that_waits_for_its_attestation_is_none_after_a_restart() {
    let mut story = scene(232, Role::Writer);
    let [alice, bob] = story.honest;
    let (owner, mallorys) = (alice.ids(&story.net).0, user(&story.net, story.mallory));
    let carol = story.net.device("carol");
    let link = alice.invite(&mut story.net, Role::Writer);
    story.net.lie(RELAY, forge_onto_joins(bob, owner, mallorys));
    carol.take_invite(&mut story.net, link);
    let joined = carol.ids(&story.net).0;
    while !bob.devices_of_members(&mut story.net).contains(&joined) {
        story.net.run_for(Duration::from_millis(1));
    }
    bob.crash(&mut story.net);
    assert_eq!(role(&mut story.net, bob, mallorys), Some(Role::Writer));
    story.net.honest(RELAY);
    story.net.run_until_quiet();
    assert_eq!(role(&mut story.net, bob, mallorys), Some(Role::Writer));
    story.ends();
}

#[test]
fn keys_in_a_record_that_came_before_its_parents_open_what_they_are_for() {
    let mut net = Net::seeded(233);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    bob.kill(&mut net);
    let link = alice.invite(&mut net, Role::Reader);
    act(&mut net, alice, MembershipAct::RevokeInvite { invite: link.invite }).unwrap();
    net.run_until_quiet();
    alice.edit(&mut net, "under the new key");
    net.run_until_quiet();
    net.lie(
        RELAY,
        lies::rewrite(|frame| match frame {
            Frame::Items(mut run) => {
                run.items.reverse();
                vec![run.into()]
            }
            frame => vec![frame],
        }),
    );
    net.start(bob);
    net.run_for(Duration::from_secs(5));
    net.honest(RELAY);
    net.run_for(Duration::from_secs(300));
    let document = net.documents()[0];
    assert!(bob.has(&mut net, document, "under the new key"), "{:?}", bob.debt(&mut net));
    net.assert_converged([alice, bob]);
}

/// Puts behind each Join, on its way to one device, a record that the owner has not made.
fn forge_onto_joins(whose: Replica, owner: DeviceId, subject: UserId) -> Lie {
    Box::new(move |to, bytes, _| {
        let Ok(Frame::Items(mut run)) = Frame::decode(&bytes) else { return vec![bytes] };
        let joins = |item: &LogItem<'_>| match item {
            LogItem::Record(record) => {
                Record::decode(record).ok().filter(|record| matches!(record.body(), RecordBody::Join(_)))
            }
            _ => None,
        };
        let found = run.items.iter().map(|item| LogItem::decode(item).ok().as_ref().and_then(joins));
        let Some((at, join)) = found.enumerate().find_map(|(at, join)| Some((at, join?))).filter(|_| to == whose)
        else {
            return vec![bytes];
        };
        let draft = Draft {
            workspace: join.workspace(),
            generation: join.generation() + 1,
            time_ms: 0,
            author: owner,
            parents: vec![join.id()],
            body: RecordBody::Standing(Box::new(standing(subject, Some(Role::Admin)))),
            secret: Vec::new(),
        };
        let forged = Record::sign(draft, &SignKey::from_seed(&[9; 32])).unwrap();
        run.items.insert(at + 1, LogItem::encode_record(&forged.encode()).into());
        vec![Frame::from(run).encode()]
    })
}

/// Breaks the signature of each record on its way to one device.
fn spoil_records_for(whose: Replica) -> Lie {
    let flip = |bytes: &mut [u8]| bytes.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
    Box::new(move |to, bytes, _| {
        let Ok(mut frame) = Frame::decode(&bytes) else { return vec![bytes] };
        match &mut frame {
            Frame::Items(items) if to == whose => items
                .items
                .iter_mut()
                .filter(|item| matches!(LogItem::decode(item), Ok(LogItem::Record(_))))
                .for_each(|item| flip(item)),
            Frame::Ground(ground) if to == whose => ground.records.iter_mut().for_each(|record| flip(record)),
            _ => {}
        }
        vec![frame.encode()]
    })
}
