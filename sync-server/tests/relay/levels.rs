//! Acts that need more than a device's key: refused, and taken after the session has shown more.

use std::sync::Arc;

use tempfile::{TempDir, tempdir};
use tombolo_protocol::auth::Binding;
use tombolo_protocol::frame::{
    Frame, LevelGap, MfaRequired, NotFoundReason, Open, RefusalReason, StepUp, StepUpMethod, StepUpProof,
    StepUpRefusal, SteppedUp,
};
use tombolo_protocol::ids::{RelayId, Stream};
use tombolo_protocol::item::LogItem;
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Levels, Policy, Record, RecordBody, Role};
use tombolo_relay::relay::Relay;

use super::people::{Pen, Person, found, invite, item, workspace};
use super::wire::{Clock, Wire, relay_in};

const GAP: LevelGap = LevelGap { needed: 2, have: 1 };

struct Scene {
    _folder: TempDir,
    relay: Arc<Relay>,
    alice: Person,
    at_alice: Wire,
    ground: Vec<Record>,
}

impl Scene {
    fn new(minimum: Levels) -> Self {
        let folder = tempdir().unwrap();
        let relay = relay_in(folder.path(), &Clock::default(), minimum);
        let alice = Person::new(1);
        let (mut at_alice, ground) = (Wire::new(&relay, &alice), found(&alice, 1));
        at_alice.seed(&ground);
        at_alice.heard.clear();
        Self { _folder: folder, relay, alice, at_alice, ground }
    }

    fn publish(&mut self, body: RecordBody) {
        let record = self.alice.record(&self.ground, body);
        assert_eq!(self.at_alice.append(vec![item(&record)]), []);
        self.ground.push(record);
    }

    fn ask(&mut self, levels: Levels, relays: Vec<RelayId>) {
        self.publish(RecordBody::Policy(Policy { levels, relays, needs_binding: false, recovery: None }));
    }

    fn step_up(&mut self, method: StepUpMethod, proof: &str) -> Frame {
        let workspace = workspace(&self.ground).tag();
        self.at_alice.say(StepUp { workspace, method });
        assert_eq!(self.at_alice.names(), ["StepUpChallenge"]);
        self.at_alice.say(StepUpProof { method, proof: proof.to_owned() });
        self.at_alice.take_heard().remove(0)
    }

    fn verify_user(&mut self) {
        let verified = self.step_up(StepUpMethod::UserVerified, "");
        assert_eq!(verified, SteppedUp { level: 2, until_ms: 0, refused: None }.into());
    }

    fn refused_gap(&mut self, items: Vec<Vec<u8>>) -> Option<LevelGap> {
        let append = self.at_alice.next_append(items);
        self.at_alice.say(append);
        self.at_alice.take_heard().iter().find_map(|frame| match frame {
            Frame::Refused(refused) if refused.reason == RefusalReason::MfaRequired => refused.levels,
            _ => None,
        })
    }

    fn offer(&self) -> Record {
        invite(&self.ground, &self.alice, self.relay.id(), Role::Reader, 0, 0).0
    }
}

#[test]
fn a_workspace_whose_policy_wants_bound_sessions_opens_to_no_other() {
    let mut scene = Scene::new(Levels::default());
    let policy = Policy { needs_binding: true, ..Policy::default() };
    scene.publish(RecordBody::Policy(policy));
    let open = Open { workspace: workspace(&scene.ground).tag(), log: None, cursor: 0, receipt: None, documents: None };
    let mut plain = Wire::new(&scene.relay, &scene.alice);
    plain.say(open.clone());
    let told = plain.take_heard();
    assert!(
        matches!(told.as_slice(), [Frame::NotFound(absent)] if absent.reason() == Some(NotFoundReason::NeedsBinding)),
        "{told:?}"
    );
    let mut bound = Wire::dial_over(&scene.relay, &scene.alice, Binding::Exporter([7; 32])).unwrap();
    bound.say(open.clone());
    assert_eq!(bound.names().first(), Some(&"Opened"));
    // A stranger learns nothing of it, bound or not.
    let mut stranger = Wire::new(&scene.relay, &Person::new(2));
    stranger.say(open);
    let told = stranger.take_heard();
    assert!(matches!(told.as_slice(), [Frame::NotFound(absent)] if absent.reason().is_none()), "{told:?}");
}

#[test]
fn a_record_that_a_policy_wants_attested_is_refused_below_the_level_and_attested_at_it() {
    let mut scene = Scene::new(Levels::default());
    scene.ask(Levels { invite: 2, ..Levels::default() }, vec![scene.relay.id()]);
    let offer = scene.offer();
    assert_eq!(scene.refused_gap(vec![item(&offer)]), Some(GAP));
    scene.verify_user();
    assert_eq!(scene.refused_gap(vec![item(&offer)]), None);
    // The record and the relay's word on it stand in the log, for everybody to check.
    let mut reader = Wire::new(&scene.relay, &scene.alice);
    reader.open(&scene.ground);
    let items = reader.take_heard().into_iter().filter_map(|frame| match frame {
        Frame::Items(items) => Some(items.items),
        _ => None,
    });
    let items: Vec<_> = items.flatten().collect();
    let [.., record, attestation] = items.as_slice() else { panic!("{} items", items.len()) };
    assert_eq!(record.to_vec(), item(&offer));
    let Ok(LogItem::Attestation(bytes)) = LogItem::decode(attestation) else { panic!("no attestation") };
    let signed = Signed::<Attestation>::decode(bytes).unwrap();
    let word = signed.verify().unwrap();
    assert_eq!((word.relay, word.subject, word.nth, word.level), (scene.relay.id(), offer.id(), 0, 2));
}

#[test]
fn case_39_a_relay_that_the_policy_does_not_name_attests_nothing_and_the_record_waits() {
    let mut scene = Scene::new(Levels::default());
    scene.ask(Levels { invite: 2, ..Levels::default() }, vec![RelayId::from_bytes([9; 32])]);
    let offer = scene.offer();
    assert_eq!(scene.at_alice.append(vec![item(&offer)]), []);
    // It is stored, and nothing can stand on it.
    scene.ground.push(offer);
    let above = scene.offer();
    let refused = scene.at_alice.append(vec![item(&above)]);
    assert_eq!(refused, [(0, RefusalReason::UnknownRecord)]);
}

#[test]
fn entries_and_the_opening_itself_can_need_more_than_a_key() {
    let mut scene = Scene::new(Levels::default());
    let levels = Levels { open: 2, append: 2, ..Levels::default() };
    scene.ask(levels, Vec::new());
    let entry = Pen::new(&scene.alice, &scene.ground, 1, Stream::CONTENT).item(b"x");
    assert_eq!(scene.refused_gap(vec![entry.clone()]), Some(GAP));
    scene.at_alice.open(&scene.ground);
    let asked = MfaRequired { workspace: workspace(&scene.ground).tag(), levels: GAP };
    assert_eq!(scene.at_alice.take_heard(), [asked.into()]);
    scene.verify_user();
    assert_eq!(scene.refused_gap(vec![entry]), None);
    scene.at_alice.open(&scene.ground);
    assert_eq!(scene.at_alice.names()[0], "Opened");
    // The level is the session's, and ends with it.
    let mut again = Wire::new(&scene.relay, &scene.alice);
    again.open(&scene.ground);
    assert_eq!(again.names(), ["MfaRequired"]);
}

#[test]
fn a_relay_can_ask_for_more_than_the_policy_and_a_seed_is_no_way_around_it() {
    let mut scene = Scene::new(Levels { invite: 2, ..Levels::default() });
    let offer = scene.offer();
    assert_eq!(scene.refused_gap(vec![item(&offer)]), Some(GAP));
    let with = [scene.ground.clone(), vec![offer.clone()]].concat();
    scene.at_alice.seed(&with);
    assert_eq!(scene.at_alice.names(), ["MfaRequired"]);
    scene.verify_user();
    assert_eq!(scene.refused_gap(vec![item(&offer)]), None);
}

#[test]
fn a_proof_without_a_challenge_and_a_factor_that_is_not_offered_raise_nothing() {
    let mut scene = Scene::new(Levels::default());
    scene.at_alice.say(StepUpProof { method: StepUpMethod::UserVerified, proof: String::new() });
    let nothing = |refused| Frame::from(SteppedUp { level: 1, until_ms: 0, refused: Some(refused) });
    assert_eq!(scene.at_alice.take_heard(), [nothing(StepUpRefusal::NoChallenge)]);
    assert_eq!(scene.step_up(StepUpMethod::Totp, "123456"), nothing(StepUpRefusal::NotOffered));
    let stranger = Person::new(7);
    let mut wire = Wire::new(&scene.relay, &stranger);
    wire.say(StepUp { workspace: workspace(&scene.ground).tag(), method: StepUpMethod::UserVerified });
    assert_eq!(wire.names(), ["NotFound"]);
}
