//! Logins at a real provider (oidc-provider, in a process of its own) as a second factor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};
use tombolo_protocol::auth::oidc_nonce;
use tombolo_protocol::frame::{
    Frame, LevelGap, RefusalReason, StepUp, StepUpChallenge, StepUpMethod, StepUpProof, StepUpRefusal, SteppedUp,
};
use tombolo_protocol::record::{Levels, Record, Role};
use tombolo_relay::factors::{FactorKey, Factors};
use tombolo_relay::login::{Login, LoginTerms, keep};
use tombolo_relay::relay::Relay;

use super::people::{Person, found, invite, item, workspace};
use super::provider::{Provider, programs};
use super::wire::{Clock, Wire, bare_relay};

/// The same provider with other keys.
fn again(provider: Provider) -> Provider {
    let port = provider.issuer.rsplit(':').next().unwrap().to_owned();
    let folder = provider.folder.clone();
    drop(provider);
    Provider::start(&folder, &port)
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc")
}

struct Scene {
    _folder: TempDir,
    clock: Clock,
    relay: Arc<Relay>,
    at_alice: Wire,
    ground: Vec<Record>,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new(provider: &Provider, audience: &str) -> Self {
        let (folder, clock) = (tempdir().unwrap(), Clock::default());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        clock.advance(i64::try_from(since.as_millis()).unwrap());
        let terms = LoginTerms { issuer: provider.issuer.clone(), audience: audience.to_owned() };
        let login = Arc::new(Login::new(terms));
        let factors = Factors::open(&folder.path().join("factors.sqlite"), FactorKey::derive(&[42; 32]).unwrap());
        let factors = factors.unwrap().without_codes().with_login(Arc::clone(&login));
        let levels = Levels { invite: 3, ..Levels::default() };
        let relay = Arc::new(bare_relay(folder.path(), &clock).asking(levels).checking_factors(factors));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(keep(login));
        let (mut at_alice, ground) = (Wire::new(&relay, &Person::new(1)), found(&Person::new(1), 1));
        at_alice.seed(&ground);
        at_alice.heard.clear();
        Self { _folder: folder, clock, relay, at_alice, ground, _runtime: runtime }
    }

    fn ask(&mut self) -> StepUpChallenge {
        let workspace = workspace(&self.ground).tag();
        self.at_alice.say(StepUp { workspace, method: StepUpMethod::Oidc });
        match self.at_alice.take_heard().remove(0) {
            Frame::StepUpChallenge(challenge) => challenge,
            other => panic!("expected StepUpChallenge, got {other:?}"),
        }
    }

    fn nonce(&mut self) -> String {
        oidc_nonce(&Person::new(1).id(), &self.ask().nonce)
    }

    fn show(&mut self, token: &str) -> SteppedUp {
        self.at_alice.say(StepUpProof { method: StepUpMethod::Oidc, proof: token.to_owned() });
        match self.at_alice.take_heard().remove(0) {
            Frame::SteppedUp(outcome) => outcome,
            other => panic!("expected SteppedUp, got {other:?}"),
        }
    }

    /// Shows a token as an app does: again, while the relay fetches the issuer's keys.
    fn prove(&mut self, token: &str) -> SteppedUp {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let outcome = self.show(token);
            if outcome.refused != Some(StepUpRefusal::Unavailable) || Instant::now() > deadline {
                return outcome;
            }
            // waits: for the keys.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Tries what needs level 3.
    fn act(&mut self) -> Option<LevelGap> {
        let offer = invite(&self.ground, &Person::new(1), self.relay.id(), Role::Reader, 0, 0).0;
        let append = self.at_alice.next_append(vec![item(&offer)]);
        self.at_alice.say(append);
        self.at_alice.take_heard().iter().find_map(|frame| match frame {
            Frame::Refused(refused) if refused.reason == RefusalReason::MfaRequired => refused.levels,
            _ => None,
        })
    }

    fn assert_denied(&mut self, outcome: &SteppedUp, why: StepUpRefusal) {
        assert_eq!((outcome.level, outcome.refused), (1, Some(why)));
        assert_eq!(self.act(), Some(LevelGap { needed: 3, have: 1 }));
    }
}

#[test]
fn case_38_an_id_token_counts_for_its_device_challenge_audience_and_time_alone() {
    let Some(folder) = programs(&here()) else { return };
    let provider = Provider::start(&folder, "0");
    let mut scene = Scene::new(&provider, "notes");
    assert_eq!(scene.act(), Some(LevelGap { needed: 3, have: 1 }));

    // For another device that asked the same, for another challenge, and for none.
    let challenge = scene.ask();
    assert_eq!(
        (challenge.issuer.as_deref(), challenge.audience.as_deref()),
        (Some(provider.issuer.as_str()), Some("notes"))
    );
    let theirs = provider.login("notes", &oidc_nonce(&Person::new(2).id(), &challenge.nonce), "alice");
    let outcome = scene.prove(&theirs);
    scene.assert_denied(&outcome, StepUpRefusal::OtherDevice);
    let (earlier, _now) = (scene.nonce(), scene.nonce());
    let outcome = scene.prove(&provider.login("notes", &earlier, "alice"));
    scene.assert_denied(&outcome, StepUpRefusal::OtherDevice);

    // For another audience, by the same issuer.
    let nonce = scene.nonce();
    let outcome = scene.prove(&provider.login("other", &nonce, "alice"));
    scene.assert_denied(&outcome, StepUpRefusal::Wrong);

    // Without a signature, and with one that is not the issuer's.
    for forge in [unsigned, other_claims, keyed_by_the_public_key] {
        let nonce = scene.nonce();
        let outcome = scene.prove(&forge(&provider.login("notes", &nonce, "alice")));
        scene.assert_denied(&outcome, StepUpRefusal::Wrong);
    }

    // Of a login that is too old: the person logged in, and went for a walk.
    let nonce = scene.nonce();
    let old = provider.login("notes", &nonce, "alice");
    let login = scene.relay.factors().unwrap().login().unwrap();
    let later = scene.clock.now_ms() + 7 * 60_000;
    assert_eq!(login.judge(&old, &nonce, later), Err(StepUpRefusal::Stale));
    let outcome = scene.prove(&old);
    assert_eq!((outcome.level, outcome.refused), (4, None), "in time it counts");
    assert_eq!(scene.act(), None);
}

#[test]
fn a_login_raises_the_level_and_ties_the_user_to_the_account_that_it_was_made_with() {
    let Some(folder) = programs(&here()) else { return };
    let provider = Provider::start(&folder, "0");
    for audience in ["notes", "curves"] {
        let mut scene = Scene::new(&provider, audience);
        let nonce = scene.nonce();
        let token = provider.login(audience, &nonce, "alice");
        let outcome = scene.prove(&token);
        assert_eq!((outcome.level, outcome.refused), (4, None), "{audience}");
        assert_eq!(scene.act(), None);
        // A challenge takes one token.
        assert_eq!(scene.show(&token).refused, Some(StepUpRefusal::NoChallenge));
        // Somebody else's account is none of this user's.
        scene.at_alice = Wire::new(&scene.relay, &Person::new(1));
        let nonce = scene.nonce();
        let outcome = scene.prove(&provider.login(audience, &nonce, "mallory"));
        assert_eq!((outcome.level, outcome.refused), (1, Some(StepUpRefusal::Wrong)));
        // A login of long ago is none.
        let nonce = scene.nonce();
        let old = provider.login(audience, &nonce, "alice");
        let login = scene.relay.factors().unwrap().login().unwrap();
        let later = scene.clock.now_ms() + 10 * 60_000;
        assert_eq!(login.judge(&old, &nonce, later), Err(StepUpRefusal::Stale));
        assert_eq!(login.judge(&old, &nonce, later - 20 * 60_000), Err(StepUpRefusal::Wrong), "nor one to come");
        assert_eq!(login.judge(&old, &nonce, scene.clock.now_ms()).as_deref(), Ok("alice"));
    }
}

#[test]
fn keys_that_the_provider_changed_are_fetched_while_a_person_logs_in() {
    let Some(folder) = programs(&here()) else { return };
    let provider = Provider::start(&folder, "0");
    let mut scene = Scene::new(&provider, "notes");
    let nonce = scene.nonce();
    let before = provider.login("notes", &nonce, "alice");
    assert_eq!(scene.prove(&before).refused, None);
    let provider = again(provider);
    let nonce = scene.nonce();
    let after = provider.login("notes", &nonce, "alice");
    assert_eq!(scene.prove(&after).refused, None);
}

/// The token without a signature, as `alg: none` would have it.
fn unsigned(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    format!("{}.{claims}.", data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#))
}

/// The token of another subject under the old signature.
fn other_claims(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let claims = data_encoding::BASE64URL_NOPAD.decode(parts[1].as_bytes()).unwrap();
    let claims = String::from_utf8(claims).unwrap().replace("\"alice\"", "\"bobby\"");
    format!("{}.{}.{}", parts[0], data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes()), parts[2])
}

/// The token with an HMAC, as if a public key were a shared secret.
fn keyed_by_the_public_key(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let header = data_encoding::BASE64URL_NOPAD.decode(parts[0].as_bytes()).unwrap();
    let header = String::from_utf8(header).unwrap().replace("RS256", "HS256");
    format!("{}.{}.{}", data_encoding::BASE64URL_NOPAD.encode(header.as_bytes()), parts[1], parts[2])
}
