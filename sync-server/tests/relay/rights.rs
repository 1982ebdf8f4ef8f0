//! Who may do what, frame by frame; and what becomes of a session whose right ends.

use std::time::{Duration, Instant};

use tempfile::tempdir;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Append, Fetch, Frame, NotFound, NotFoundReason, RefusalReason, RightEnded, Shut};
use tombolo_protocol::ids::{DocumentTag, EpochId, Stream};
use tombolo_protocol::record::{Devices, Levels, Pins, Record, RecordBody, Rewrap, Role, Standing};

use super::client::Client;
use super::people::{Pen, Person, found, invite, item, join, rotation, standing, until, workspace};
use super::process::RelayProcess;
use super::sync::island;
use super::wire::{Clock, Wire, relay_in};

const LATER: EpochId = EpochId::from_bytes([0xe1; 32]);

fn not_found(ground: &[Record], ended: RightEnded) -> Frame {
    let reason = Some(NotFoundReason::from(ended).number());
    Frame::NotFound(NotFound { workspace: workspace(ground).tag(), reason })
}

/// Alice and Bob, with a role, in a relay without sockets.
struct Scene {
    _folder: tempfile::TempDir,
    clock: Clock,
    relay: std::sync::Arc<tombolo_relay::relay::Relay>,
    alice: Person,
    bob: Person,
    at_alice: Wire,
    at_bob: Wire,
    ground: Vec<Record>,
}

impl Scene {
    fn new(role: Role) -> Self {
        Self::with(role, 1)
    }

    fn with(role: Role, uses: u32) -> Self {
        let (folder, clock) = (tempdir().unwrap(), Clock::default());
        let relay = relay_in(folder.path(), &clock, Levels::default());
        let (alice, bob) = (Person::new(1), Person::new(2));
        let (mut at_alice, mut at_bob) = (Wire::new(&relay, &alice), Wire::new(&relay, &bob));
        let mut ground = found(&alice, 1);
        let (offer, key) = invite(&ground, &alice, relay.id(), role, uses, 0);
        ground.push(offer);
        at_alice.seed(&ground);
        ground.push(join(&ground, &bob, ground[2].id(), &key));
        at_bob.seed(&ground);
        assert_eq!(at_bob.names(), ["Opened", "Items", "Head"]);
        at_alice.settle().unwrap();
        at_alice.heard.clear();
        Self { _folder: folder, clock, relay, alice, bob, at_alice, at_bob, ground }
    }

    /// Alice publishes a record on the last one; the relay must take it.
    fn publish(&mut self, body: RecordBody) {
        let record = self.alice.record(&self.ground, body);
        assert_eq!(self.at_alice.append(vec![item(&record)]), []);
        self.ground.push(record);
    }

    fn remove_bob(&mut self) {
        self.publish(standing(&self.bob, None, Some(rotation(LATER, &[&self.alice]))));
    }

    fn pen(&self, who: &Person, stream: Stream) -> Pen {
        Pen::new(who, &self.ground, 1, stream)
    }
}

#[test]
fn each_role_writes_its_streams_and_a_carrier_fetches_what_it_can_not_open() {
    use RefusalReason::RoleDenied;
    let cases = [
        (Role::Carrier, vec![(0, RoleDenied), (1, RoleDenied)]),
        (Role::Reader, vec![(0, RoleDenied), (1, RoleDenied)]),
        (Role::Commenter, vec![(0, RoleDenied)]),
        (Role::Writer, vec![]),
    ];
    for (role, expected) in cases {
        let mut scene = Scene::new(role);
        let items = [Stream::CONTENT, Stream::COMMENTS].map(|stream| scene.pen(&scene.bob, stream).item(b"by Bob"));
        assert_eq!(scene.at_bob.append(items.to_vec()), expected, "{role:?}");
        let mut pen = scene.pen(&scene.alice, Stream::CONTENT);
        let entry = pen.write(b"sealed by Alice");
        let full = tombolo_protocol::item::LogItem::encode_entry(&entry, None);
        assert_eq!(scene.at_alice.append(vec![full]), []);
        let chain = entry.header().chain.id();
        scene.at_bob.settle().unwrap();
        scene.at_bob.heard.clear();
        scene.at_bob.say(Fetch { channel: 1, chain, from_seq: 1, to_seq: 9 });
        let heard = scene.at_bob.take_heard();
        let [Frame::Fetched(fetched)] = heard.as_slice() else { panic!("not fetched: {heard:?}") };
        assert_eq!(fetched.entries, [entry.encode().into()]);
    }
}

#[test]
fn a_role_changed_by_a_record_holds_from_the_next_frame_on() {
    let mut scene = Scene::new(Role::Reader);
    let item = |scene: &Scene| scene.pen(&scene.bob, Stream::CONTENT).item(b"mine");
    let early = item(&scene);
    assert_eq!(scene.at_bob.append(vec![early]), [(0, RefusalReason::RoleDenied)]);
    scene.publish(standing(&scene.bob, Some(Role::Writer), None));
    let late = item(&scene);
    assert_eq!(scene.at_bob.append(vec![late]), []);
    scene.publish(standing(&scene.bob, Some(Role::Reader), None));
    let mut pen = scene.pen(&scene.bob, Stream::COMMENTS);
    assert_eq!(scene.at_bob.append(vec![pen.item(b"hm")]), [(0, RefusalReason::RoleDenied)]);
}

#[tokio::test]
async fn case_17_a_removed_member_is_cut_off_within_a_second_and_gets_nothing_behind_its_removal() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, mut ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;
    let removal = alice.record(&ground, standing(&bob, None, Some(rotation(LATER, &[&alice]))));
    ground.push(removal.clone());
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    pen.header().epoch = LATER;
    let started = Instant::now();
    at_alice.append(channel, 1, vec![item(&removal), pen.item(b"without Bob")]).await;
    assert_eq!(at_alice.received().await.0.positions, [(6, 2)]);
    assert_eq!(at_bob.items().await, [(6, item(&removal))], "the removal is the last that he is shown");
    assert_eq!(at_bob.frame().await, Frame::Shut(Shut { channel, ended: Some(RightEnded::Removed) }));
    assert_eq!(at_bob.closed().await.0, CloseCode::DeviceRevoked);
    let took = started.elapsed();
    println!("from the removal to the dropped session: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!((relay.metric("tombolo_relay_cut_off_total") - 1.0).abs() < 0.5);

    // He may dial, and is told of the workspace that he was in that he is in it no more.
    let mut again = Client::dial(relay.address, &bob).await;
    again.open(workspace(&ground).tag(), None, 0, None).await;
    assert_eq!(again.frame().await, not_found(&ground, RightEnded::Removed));
    again.seed(&ground[..4]).await;
    assert_eq!(again.frame().await, not_found(&ground, RightEnded::Removed));
}

#[tokio::test]
async fn case_41_a_revoked_device_loses_its_session_and_is_not_let_in_again() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let phone = bob.other_device(3);
    let (mut at_alice, mut at_bob, mut ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;
    let devices = |revoked: &[&Person], rotation| {
        let body = Devices { identity: bob.devices(&[&phone], revoked).into(), pins: None, rotation };
        RecordBody::Devices(Box::new(body))
    };
    ground.push(bob.record(&ground, devices(&[], None)));
    at_bob.append(channel, 1, vec![item(&ground[4])]).await;
    at_bob.received().await;
    let mut at_phone = Client::dial(relay.address, &phone).await;
    at_phone.open(workspace(&ground).tag(), None, 0, None).await;
    at_phone.opened().await;
    at_phone.caught_up().await;

    let revocation = bob.record(&ground, devices(&[&phone], Some(rotation(LATER, &[&alice, &bob]))));
    let started = Instant::now();
    at_bob.append(channel, 2, vec![item(&revocation)]).await;
    at_bob.received().await;
    assert_eq!(at_phone.items().await.len(), 1);
    assert_eq!(at_phone.frame().await, Frame::Shut(Shut { channel, ended: Some(RightEnded::Revoked) }));
    assert_eq!(at_phone.closed().await.0, CloseCode::DeviceRevoked);
    println!("from the revocation to the dropped session: {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(1));

    let mut again = Client::connect(relay.address).await;
    let challenge = again.ask_challenge(&phone, None).await;
    let proof = again.transcript(&challenge).sign_as_device(&phone.keys, &phone.sign_key());
    again.send(tombolo_protocol::frame::Auth { proof }).await;
    assert!(matches!(again.frame().await, Frame::Welcome(_)), "so that the device knows who says so");
    assert_eq!(again.closed().await.0, CloseCode::DeviceRevoked);
    // Bob's own device, and Alice's, notice nothing.
    assert_eq!(at_alice.items().await.len(), 1);
    assert_eq!(at_alice.items().await.len(), 1);
    at_bob.append(channel, 3, vec![]).await;
    at_bob.received().await;
}

#[tokio::test]
async fn a_role_that_ends_by_the_clock_ends_the_session_within_a_second() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Writer).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let until = alice.record(&ground, until(&bob, now + 700, at_alice.relay.unwrap()));
    let started = Instant::now();
    at_alice.append(channel, 1, vec![item(&until)]).await;
    at_alice.received().await;
    assert_eq!(at_bob.items().await.len(), 1);
    assert_eq!(at_bob.frame().await, Frame::Shut(Shut { channel, ended: Some(RightEnded::Expired) }));
    assert_eq!(at_bob.closed().await.0, CloseCode::DeviceRevoked);
    let late = started.elapsed().saturating_sub(Duration::from_millis(700));
    println!("from the end of the role to the dropped session: {late:?}");
    assert!(started.elapsed() > Duration::from_millis(600) && late < Duration::from_secs(1));
    let mut again = Client::dial(relay.address, &bob).await;
    again.open(workspace(&ground).tag(), None, 0, None).await;
    assert_eq!(again.frame().await, not_found(&ground, RightEnded::Expired));
}

#[test]
fn case_33_what_comes_after_the_grant_has_ended_is_refused_and_a_longer_grant_lets_it_in() {
    let mut scene = Scene::new(Role::Writer);
    let relay = scene.relay.id();
    scene.publish(until(&scene.bob, scene.clock.now_ms() + 1_000, relay));
    let offline = scene.pen(&scene.bob, Stream::CONTENT).item(b"written on the train");
    scene.clock.advance(1_001);
    scene.at_bob.heard.clear();
    let append = scene.at_bob.next_append(vec![offline.clone()]);
    // Even if no timer rang, and before the session has heard of the record itself.
    assert_eq!(scene.at_bob.try_say(append), Err(CloseCode::DeviceRevoked));
    let heard = scene.at_bob.take_heard();
    assert_eq!(heard.iter().map(Frame::name).collect::<Vec<_>>(), ["Refused", "Items", "Shut"]);
    assert!(matches!(&heard[0], Frame::Refused(refused) if refused.reason == RefusalReason::ExpiredGrant));
    let mut again = Wire::new(&scene.relay, &scene.bob);
    again.open(&scene.ground);
    assert_eq!(again.take_heard(), [not_found(&scene.ground, RightEnded::Expired)]);
    scene.publish(until(&scene.bob, scene.clock.now_ms() + 9_000, relay));
    again.open(&scene.ground);
    assert_eq!(again.names(), ["Opened", "Items", "Head"]);
    assert_eq!(again.append(vec![offline]), []);
}

#[test]
fn a_right_is_the_same_after_its_workspace_rested() {
    let mut scene = Scene::new(Role::Reader);
    let entry = scene.pen(&scene.bob, Stream::CONTENT).item(b"1");
    for _ in 0..2 {
        scene.relay.rest();
    }
    assert_eq!(scene.at_bob.append(vec![entry]), [(0, RefusalReason::RoleDenied)]);
    for _ in 0..2 {
        scene.relay.rest();
    }
    scene.remove_bob();
    assert_eq!(scene.at_bob.settle(), Err(CloseCode::DeviceRevoked));
}

#[test]
fn what_is_under_way_when_a_removal_is_judged_is_refused_and_nothing_is_sent_after_it() {
    let mut scene = Scene::new(Role::Writer);
    let (bob, alice) = (scene.pen(&scene.bob, Stream::CONTENT).item(b"1"), &scene.alice);
    let removal = alice.record(&scene.ground, standing(&scene.bob, None, Some(rotation(LATER, &[alice]))));
    let append = scene.at_alice.next_append(vec![item(&removal)]);
    scene.at_alice.whisper(append).unwrap();
    // Judged, and not yet committed: Bob's session does not know.
    let append = scene.at_bob.next_append(vec![bob]);
    scene.at_bob.whisper(append).unwrap();
    assert_eq!(scene.at_bob.refusals(), [(0, RefusalReason::RoleDenied)]);
    let chain = Pen::new(alice, &scene.ground, 1, Stream::CONTENT).header().chain.id();
    assert_eq!(
        scene.at_bob.whisper(Fetch { channel: 1, chain, from_seq: 1, to_seq: 1 }),
        Err(CloseCode::DeviceRevoked)
    );
    assert_eq!(scene.at_bob.take_heard(), [Frame::Shut(Shut { channel: 1, ended: Some(RightEnded::Removed) })]);
    scene.ground.push(removal);
    let mut pen = scene.pen(alice, Stream::CONTENT);
    pen.header().epoch = LATER;
    assert_eq!(scene.at_alice.append(vec![pen.item(b"after")]), []);
    scene.at_bob.settle().unwrap();
    assert_eq!(scene.at_bob.names(), Vec::<&str>::new());
}

#[test]
fn a_member_elsewhere_loses_the_workspace_and_keeps_the_session() {
    let mut scene = Scene::new(Role::Writer);
    let own = found(&scene.bob, 9);
    scene.at_bob.seed(&own);
    scene.at_bob.heard.clear();
    scene.remove_bob();
    scene.at_bob.settle().unwrap();
    let shut = Frame::Shut(Shut { channel: 1, ended: Some(RightEnded::Removed) });
    let heard = scene.at_bob.take_heard();
    assert_eq!(heard.iter().map(Frame::name).collect::<Vec<_>>(), ["Items", "Shut"]);
    assert_eq!(heard.last(), Some(&shut));
    // What he still sends there is passed over; his own workspace serves him.
    assert_eq!(scene.at_bob.append(vec![vec![1, 2, 3]]), []);
    let mut pen = Pen::new(&scene.bob, &own, 1, Stream::CONTENT);
    scene.at_bob.say(Append { channel: 2, batch: 1, items: vec![pen.item(b"mine").into()] });
    assert_eq!(scene.at_bob.names(), ["Received"]);
}

#[test]
fn case_57_a_removed_members_entries_are_carried_by_a_writer_and_case_18_so_are_those_beyond_the_pin() {
    let mut scene = Scene::new(Role::Writer);
    let mut bobs = scene.pen(&scene.bob, Stream::CONTENT);
    let items: Vec<Vec<u8>> = (0..3).map(|_| bobs.item(b"written before, carried after")).collect();
    let pins = Some(Pins { documents: None, chains: Vec::new() });
    let rotation = Some(rotation(LATER, &[&scene.alice]));
    let subject = scene.bob.user();
    let removal = Standing { subject, role: None, expiry: None, proof: None, pins, rotation };
    scene.publish(RecordBody::Standing(Box::new(removal)));
    // His own session is over; another's is taken at its word: the signature, and his role back then.
    assert_eq!(scene.at_bob.settle(), Err(CloseCode::DeviceRevoked));
    assert_eq!(scene.at_alice.append(items), []);
    // A header that names the removal itself is no back-dating: he has no role there.
    bobs.header().members_head = scene.ground.last().unwrap().id();
    bobs.header().epoch = LATER;
    assert_eq!(scene.at_alice.append(vec![bobs.item(b"too late")]), [(0, RefusalReason::UnknownAuthor)]);
}

#[test]
fn case_59_the_link_of_many_uses_that_a_removed_member_kept_is_ended() {
    let mut scene = Scene::with(Role::Writer, 0);
    let (before, offer) = (scene.ground.clone(), scene.ground[2].id());
    let key = tombolo_protocol::keys::SignKey::from_seed(&[0x77; 32]);
    scene.remove_bob();
    let again = scene.bob.other_device(7);
    for who in [&scene.bob, &again, &Person::new(8)] {
        let mut wire = Wire::new(&scene.relay, who);
        let removed = (who.id() == scene.bob.id()).then_some(NotFoundReason::Removed);
        wire.seed(&[before.clone(), vec![join(&before, who, offer, &key)]].concat());
        let heard = wire.take_heard();
        let [Frame::NotFound(absent)] = heard.as_slice() else { panic!("let in: {heard:?}") };
        assert!(absent.reason().is_none() || absent.reason() == removed, "{absent:?}");
    }
}

#[test]
fn a_document_that_was_given_up_takes_nothing_more() {
    let mut scene = Scene::new(Role::Writer);
    let first = scene.pen(&scene.bob, Stream::CONTENT).item(b"before");
    assert_eq!(scene.at_bob.append(vec![first]), []);
    scene.publish(RecordBody::Purge(DocumentTag::from_bytes([1; 16])));
    let mut pen = scene.pen(&scene.bob, Stream::COMMENTS);
    assert_eq!(scene.at_bob.append(vec![pen.item(b"after")]), [(0, RefusalReason::DocumentPurged)]);
    let mut other = Pen::new(&scene.bob, &scene.ground, 2, Stream::CONTENT);
    assert_eq!(scene.at_bob.append(vec![other.item(b"elsewhere")]), []);
}

#[test]
fn each_record_that_does_not_count_is_refused_with_its_reason() {
    let mut scene = Scene::new(Role::Writer);
    let (alice, bob) = (&scene.alice, &scene.bob);
    let mut sweep = Standing {
        subject: bob.user(),
        role: None,
        expiry: None,
        proof: None,
        pins: None,
        rotation: Some(rotation(LATER, &[alice])),
    };
    let wraps = rotation(LATER, &[&Person::new(9)]).wraps;
    let receipt = tombolo_protocol::receipt::Receipt {
        relay: scene.relay.id(),
        workspace: workspace(&scene.ground),
        log: tombolo_protocol::ids::LogId::from_bytes([0; 16]),
        position: 1,
        head: [0; 32],
        time_ms: i64::MAX,
        acknowledged: [0; 32],
    };
    sweep.proof = Some(tombolo_protocol::receipt::Signed::sign(receipt, scene.relay.key()));
    let cases = [
        (alice, standing(alice, Some(Role::Admin), None), RefusalReason::LastOwner),
        (alice, standing(bob, None, None), RefusalReason::RotationMissing),
        (alice, standing(bob, None, Some(rotation(LATER, &[alice, bob]))), RefusalReason::RecipientSetMismatch),
        (alice, RecordBody::Rewrap(Rewrap { epoch: super::people::EPOCH, wraps }), RefusalReason::RewrapToNonMember),
        (alice, RecordBody::Standing(Box::new(sweep)), RefusalReason::ExpiryNotProven),
        (bob, standing(alice, None, Some(rotation(LATER, &[bob]))), RefusalReason::RoleDenied),
        (bob, standing(bob, None, Some(rotation(LATER, &[alice]))), RefusalReason::RecordRefused),
        (&Person::new(9), standing(bob, None, None), RefusalReason::UnknownAuthor),
    ];
    let items: Vec<_> = cases.iter().map(|(by, body, _)| item(&by.record(&scene.ground, body.clone()))).collect();
    let expected: Vec<_> = (0..).zip(cases).map(|(nth, (_, _, reason))| (nth, reason)).collect();
    assert_eq!(scene.at_alice.append(items), expected);
}
