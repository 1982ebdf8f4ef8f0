//! Stories of replicas at a relay that wants a second factor: asked for, shown, and then all goes on by itself.

use std::time::Duration;

use tombolo::document::Crdt;
use tombolo::engine::Event;
use tombolo::protocol::record::{Levels, Role};
use tombolo::{DebtReason, Error, LevelGap, Milestone, PolicyTerms, Replica, StepUpMethod, StepUpRefusal, Workspace};
use tombolo_relay::Serving;
use totp_rs::{Builder, Secret, Totp};

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(Duration::from_secs(20), future).await else {
        unreachable!("not within 20 s: {what}");
    };
    done
}

struct Scene {
    folder: tempfile::TempDir,
    relay: Serving,
    address: String,
    alice: Replica,
}

impl Scene {
    async fn new(minimum: Levels) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = tombolo_relay::Config::on_loopback(&folder.path().join("relay")).unwrap();
        config.minimum = minimum;
        let relay = tombolo_relay::serve(config, std::future::pending()).await.unwrap();
        let address = format!("ws://{}", relay.address);
        let alice = Replica::open(folder.path().join("alice")).await.unwrap();
        Self { folder, relay, address, alice }
    }

    /// Enrols with the relay, and returns what the authenticator holds from now on, and the code that was shown.
    async fn enrol(&self, workspace: &Workspace) -> (Totp, String) {
        let mut asked = soon("asked", workspace.step_up(&self.address, StepUpMethod::Totp)).await.unwrap();
        assert!(!format!("{asked:?}").contains("otpauth"), "a secret is not printed");
        let uri = asked.question().enrolment.clone().unwrap();
        let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
        let authenticator = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
        let used = code(&authenticator, 0);
        let (level, until_ms) = soon("proven", asked.prove(&used)).await.unwrap();
        assert_eq!(level, 4);
        assert!(until_ms > 0);
        (authenticator, used)
    }
}

/// The code of a step beside the present one.
fn code(authenticator: &Totp, steps: i64) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    authenticator.generate(since.as_secs().checked_add_signed(30 * steps).unwrap()).to_string()
}

async fn wanted(events: &mut tombolo::ReplicaEvents) -> LevelGap {
    loop {
        if let Event::StepUpWanted { levels, .. } = soon("wanted", events.next()).await.unwrap() {
            return levels;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_the_relay_refused_goes_out_once_the_code_of_an_authenticator_was_shown() {
    let scene = Scene::new(Levels { membership: 3, ..Levels::default() }).await;
    let alice = &scene.alice;
    let bob = Replica::open(scene.folder.path().join("bob")).await.unwrap();
    let workspace = alice.create_workspace("Field notes").await.unwrap();
    alice.dial(&scene.address).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap();
    let theirs = bob.join(&invite.to_string()).await.unwrap();
    soon("bob is a member", theirs.ready()).await.unwrap();
    let mut events = alice.events();
    let (_, bob_user) = bob.identity().await.unwrap();
    workspace.remove_member(bob_user).await.unwrap();
    assert_eq!(wanted(&mut events).await, LevelGap { needed: 3, have: 1 });
    assert!(workspace.sync_debt().await.unwrap().records > 0, "it stays owed");
    assert!(theirs.sync_debt().await.unwrap().confirmed, "bob is still there");
    scene.enrol(&workspace).await;
    soon("the removal is durable", workspace.settled()).await.unwrap();
    let mut shown = bob.events();
    while theirs.sync_debt().await.unwrap().confirmed {
        soon("bob is out", shown.next()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_wants_a_code_before_it_opens_says_so_and_edits_wait_for_it() {
    let scene = Scene::new(Levels { open: 3, append: 3, ..Levels::default() }).await;
    let workspace = scene.alice.create_workspace("Field notes").await.unwrap();
    let document = workspace.create_document(Crdt::Yrs).await.unwrap();
    document.edit(|e| e.text("body")?.splice(0, 0, "Low tide at six.")).await.unwrap();
    let mut events = scene.alice.events();
    scene.alice.dial(&scene.address).await.unwrap();
    assert_eq!(wanted(&mut events).await, LevelGap { needed: 3, have: 1 });
    let debt = workspace.sync_debt().await.unwrap();
    assert_eq!(debt.documents[0].reason, DebtReason::NeedsSecondFactor(3));
    let (authenticator, used) = scene.enrol(&workspace).await;
    soon("durable", document.wait_for(Milestone::RelayDurable)).await.unwrap();
    // The level is the session's: the next one asks again, and a used code is none.
    scene.alice.pause().await.unwrap();
    scene.alice.resume().await.unwrap();
    assert_eq!(wanted(&mut events).await, LevelGap { needed: 3, have: 1 });
    let mut asked = soon("asked", workspace.step_up(&scene.address, StepUpMethod::Totp)).await.unwrap();
    assert_eq!(asked.question().enrolment, None, "a secret is shown once");
    let used = soon("judged", asked.prove(&used)).await;
    assert!(matches!(used, Err(Error::StepUp(StepUpRefusal::Replayed))), "{used:?}");
    let mut asked = soon("asked", workspace.step_up(&scene.address, StepUpMethod::Totp)).await.unwrap();
    soon("proven", asked.prove(&code(&authenticator, 1))).await.unwrap();
    soon("in step", workspace.settled()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_factor_that_is_not_offered_or_has_no_relay_is_answered_with_why() {
    let scene = Scene::new(Levels::default()).await;
    let workspace = scene.alice.create_workspace("Field notes").await.unwrap();
    let none = workspace.step_up(&scene.address, StepUpMethod::Totp).await;
    assert!(matches!(none, Err(Error::NoRelay)), "{none:?}");
    scene.alice.dial(&scene.address).await.unwrap();
    soon("in step", workspace.settled()).await.unwrap();
    let mut login = soon("asked", workspace.step_up(&scene.address, StepUpMethod::Oidc)).await.unwrap();
    assert_eq!(login.question().issuer, None);
    let refused = soon("judged", login.prove("no.login.here")).await;
    assert!(matches!(refused, Err(Error::StepUp(StepUpRefusal::NotOffered))), "{refused:?}");
    let mut word = soon("asked", workspace.step_up(&scene.address, StepUpMethod::UserVerified)).await.unwrap();
    assert_eq!(soon("judged", word.prove("")).await.unwrap(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_removal_that_a_policy_wants_attested_counts_for_nobody_before_the_level_was_shown() {
    let scene = Scene::new(Levels::default()).await;
    let workspace = scene.alice.create_workspace("Field notes").await.unwrap();
    scene.alice.dial(&scene.address).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
    let mut others = Vec::new();
    for name in ["bob", "carol"] {
        let replica = Replica::open(scene.folder.path().join(name)).await.unwrap();
        let invite = workspace.invite(Role::Writer).create().await.unwrap();
        let theirs = replica.join(&invite.to_string()).await.unwrap();
        soon("a member", theirs.ready()).await.unwrap();
        others.push((replica, theirs));
    }
    let [(bob, _), (_, at_carol)] = others.as_slice() else { unreachable!("two joined") };
    let bob = bob.identity().await.unwrap().1;
    let levels = Levels { membership: 3, ..Levels::default() };
    workspace.set_policy(PolicyTerms { levels, relays: vec![scene.relay.relay], needs_binding: false }).await.unwrap();
    soon("the policy is durable", workspace.settled()).await.unwrap();
    let mut events = scene.alice.events();
    workspace.remove_member(bob).await.unwrap();
    assert_eq!(wanted(&mut events).await, LevelGap { needed: 3, have: 1 });
    for at in [&workspace, at_carol] {
        assert!(at.members().await.unwrap().iter().any(|member| member.user == bob), "it waits for the relay's word");
    }
    scene.enrol(&workspace).await;
    soon("the removal is durable", workspace.settled()).await.unwrap();
    for at in [&workspace, at_carol] {
        soon("bob is out", async {
            while at.members().await.unwrap().iter().any(|member| member.user == bob) {
                // waits: for the relay's next frame.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}
