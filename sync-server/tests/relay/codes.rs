//! Codes by time: enrolled by the first right one, good once, guessed at a few times only.

use std::path::Path;
use std::sync::Arc;

use tempfile::{TempDir, tempdir};
use tombolo_protocol::frame::{Frame, StepUp, StepUpChallenge, StepUpMethod, StepUpProof, StepUpRefusal, SteppedUp};
use tombolo_protocol::ids::WorkspaceTag;
use tombolo_protocol::record::{Levels, Record};
use tombolo_relay::factors::{FactorKey, Factors, WRONG_FREE_MAX};
use tombolo_relay::relay::Relay;
use totp_rs::{Builder, Secret, Totp};

use super::people::{Person, found, workspace};
use super::wire::{Clock, Wire, bare_relay};

/// Some day, in the middle of a step.
const SOME_DAY_MS: i64 = 1_800_000_014_000;
const STEP_MS: i64 = 30_000;

struct Scene {
    folder: TempDir,
    clock: Clock,
    relay: Arc<Relay>,
    at_alice: Wire,
    ground: Vec<Record>,
}

fn relay_with_codes(folder: &Path, clock: &Clock) -> Arc<Relay> {
    let factors = Factors::open(&folder.join("factors.sqlite"), FactorKey::derive(&[42; 32]).unwrap()).unwrap();
    Arc::new(bare_relay(folder, clock).asking(Levels::default()).checking_factors(factors))
}

impl Scene {
    fn new() -> Self {
        let (folder, clock) = (tempdir().unwrap(), Clock::default());
        clock.advance(SOME_DAY_MS);
        let relay = relay_with_codes(folder.path(), &clock);
        let (mut at_alice, ground) = (Wire::new(&relay, &Person::new(1)), found(&Person::new(1), 1));
        at_alice.seed(&ground);
        at_alice.heard.clear();
        Self { folder, clock, relay, at_alice, ground }
    }

    fn tag(&self) -> WorkspaceTag {
        workspace(&self.ground).tag()
    }

    fn ask(&mut self) -> StepUpChallenge {
        let workspace = self.tag();
        self.at_alice.say(StepUp { workspace, method: StepUpMethod::Totp });
        match self.at_alice.take_heard().remove(0) {
            Frame::StepUpChallenge(challenge) => challenge,
            other => panic!("expected StepUpChallenge, got {other:?}"),
        }
    }

    fn prove(&mut self, code: &str) -> SteppedUp {
        self.at_alice.say(StepUpProof { method: StepUpMethod::Totp, proof: code.to_owned() });
        match self.at_alice.take_heard().remove(0) {
            Frame::SteppedUp(outcome) => outcome,
            other => panic!("expected SteppedUp, got {other:?}"),
        }
    }

    fn show(&mut self, code: &str) -> SteppedUp {
        assert_eq!(self.ask().enrolment, None);
        self.prove(code)
    }

    /// Enrols, as an authenticator does that scans the address.
    fn enrol(&mut self) -> Totp {
        let uri = self.ask().enrolment.expect("a user without a secret is shown one");
        let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
        let authenticator = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
        let code = self.code(&authenticator, 0);
        assert_eq!(self.prove(&code).refused, None);
        authenticator
    }

    fn code(&self, authenticator: &Totp, steps: i64) -> String {
        let seconds = (self.clock.now_ms() + steps * STEP_MS) / 1000;
        authenticator.generate(seconds.unsigned_abs()).to_string()
    }
}

#[test]
fn the_first_right_code_enrols_and_what_it_is_worth_falls_with_time() {
    let mut scene = Scene::new();
    // A secret that was shown, and never confirmed, is not kept: the next one is another.
    let (first, second) = (scene.ask().enrolment.unwrap(), scene.ask().enrolment.unwrap());
    assert_ne!(first, second);
    assert_eq!(scene.prove("000000").refused, Some(StepUpRefusal::Wrong));
    let authenticator = scene.enrol();
    scene.clock.advance(STEP_MS);
    let code = scene.code(&authenticator, 0);
    let until_ms = scene.clock.now_ms() + 5 * 60_000;
    assert_eq!(scene.show(&code), SteppedUp { level: 4, until_ms, refused: None });
    scene.clock.advance(5 * 60_000);
    // A word of the device beside it takes nothing away.
    let tag = scene.tag();
    scene.at_alice.say(StepUp { workspace: tag, method: StepUpMethod::UserVerified });
    scene.at_alice.say(StepUpProof { method: StepUpMethod::UserVerified, proof: String::new() });
    let Some(Frame::SteppedUp(later)) = scene.at_alice.take_heard().pop() else { panic!("no answer") };
    assert_eq!((later.level, later.until_ms), (3, until_ms - 5 * 60_000 + 12 * 3_600_000));
    scene.clock.advance(12 * 3_600_000);
    let code = scene.code(&authenticator, 2);
    assert_eq!(scene.show(&code).level, 2, "a code of two steps ahead is none");
}

#[test]
fn a_code_is_taken_once_and_no_earlier_one_after_it_by_any_session_or_after_a_restart() {
    let mut scene = Scene::new();
    let authenticator = scene.enrol();
    let (used, ahead) = (scene.code(&authenticator, 0), scene.code(&authenticator, 1));
    assert_eq!(scene.show(&used).refused, Some(StepUpRefusal::Replayed));
    assert_eq!(scene.show(&ahead).refused, None);
    assert_eq!(scene.show(&used).refused, Some(StepUpRefusal::Replayed));
    scene.at_alice = Wire::new(&scene.relay, &Person::new(1));
    assert_eq!(scene.show(&ahead).refused, Some(StepUpRefusal::Replayed));
    scene.relay = relay_with_codes(scene.folder.path(), &scene.clock);
    scene.at_alice = Wire::new(&scene.relay, &Person::new(1));
    assert_eq!(scene.show(&ahead), SteppedUp { level: 1, until_ms: 0, refused: Some(StepUpRefusal::Replayed) });
    scene.clock.advance(2 * STEP_MS);
    let next = scene.code(&authenticator, 0);
    assert_eq!(scene.show(&next).refused, None);
}

#[test]
fn guesses_are_counted_over_sessions_and_even_the_right_code_waits_after_too_many() {
    let mut scene = Scene::new();
    let authenticator = scene.enrol();
    scene.clock.advance(STEP_MS);
    let right = scene.code(&authenticator, 0);
    let wrong = if right == "123456" { "654321" } else { "123456" };
    for _ in 0..WRONG_FREE_MAX {
        scene.at_alice = Wire::new(&scene.relay, &Person::new(1));
        assert_eq!(scene.show(wrong).refused, Some(StepUpRefusal::Wrong));
    }
    assert_eq!(scene.show(&right).refused, Some(StepUpRefusal::TooMany));
    scene.relay = relay_with_codes(scene.folder.path(), &scene.clock);
    scene.at_alice = Wire::new(&scene.relay, &Person::new(1));
    assert_eq!(scene.show(&right).refused, Some(StepUpRefusal::TooMany));
    scene.clock.advance(2 * STEP_MS);
    let right = scene.code(&authenticator, 0);
    assert_eq!(scene.show(&right).refused, None);
    // And a person's mistakes are forgiven.
    assert_eq!(scene.show(wrong).refused, Some(StepUpRefusal::Wrong));
    assert_eq!(scene.show(wrong).refused, Some(StepUpRefusal::Wrong));
}

#[test]
fn a_challenge_takes_one_proof_and_not_for_long_and_a_forgotten_secret_is_enrolled_anew() {
    let mut scene = Scene::new();
    let authenticator = scene.enrol();
    scene.clock.advance(STEP_MS);
    let code = scene.code(&authenticator, 0);
    assert_eq!(scene.prove(&code).refused, Some(StepUpRefusal::NoChallenge));
    scene.ask();
    scene.clock.advance(3 * 60_000 + 1);
    let code = scene.code(&authenticator, 0);
    assert_eq!(scene.prove(&code).refused, Some(StepUpRefusal::NoChallenge));
    let user = Person::new(1).user();
    let file = scene.folder.path().join("factors.sqlite");
    assert!(Factors::forget_in(&file, &user).unwrap());
    assert!(!Factors::forget_in(&file, &user).unwrap());
    assert!(scene.ask().enrolment.is_some());
    assert_eq!(scene.prove(&code).refused, Some(StepUpRefusal::Wrong), "the old secret is worth nothing");
}

#[test]
fn the_file_of_secrets_is_its_owners_alone_and_holds_none_in_the_clear() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut scene = Scene::new();
    let authenticator = scene.enrol();
    let secret = authenticator.secret().as_bytes().to_vec();
    let (mut files, mut found) = (0, 0);
    for file in std::fs::read_dir(scene.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        found += usize::from(bytes.windows(secret.len()).any(|window| window == secret));
        if name.starts_with("factors") {
            files += 1;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    assert!(files >= 1);
    assert_eq!(found, 0);
}
