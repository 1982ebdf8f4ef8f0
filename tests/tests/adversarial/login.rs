//! An id token is a gate for one device, one challenge and one audience: replicas at a relay with a real login provider
//! in a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tombolo::protocol::auth::oidc_nonce;
use tombolo::protocol::ids::DeviceId;
use tombolo::protocol::record::{Levels, Role};
use tombolo::{Error, Replica, StepUpMethod, StepUpRefusal, Workspace};
use tombolo_relay::login::LoginTerms;

use crate::provider::{Provider, programs};

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(Duration::from_secs(60), future).await else {
        unreachable!("not within 60 s: {what}");
    };
    done
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sync-server/tests/oidc")
}

/// Asks for a challenge, and shows what `token` makes of its nonce; again, while the relay fetches the issuer's keys.
async fn show(at: &Workspace, address: &str, token: impl Fn(&str) -> String) -> Result<(u8, i64), Error> {
    loop {
        let mut asked = soon("asked", at.step_up(address, StepUpMethod::Oidc)).await?;
        let proof = token(&asked.question().nonce);
        let outcome = soon("judged", asked.prove(&proof)).await;
        if !matches!(outcome, Err(Error::StepUp(StepUpRefusal::Unavailable))) {
            return outcome;
        }
        // waits: for the keys.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The token without a signature, as `alg: none` would have it.
fn unsigned(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    format!("{}.{claims}.", data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#))
}

fn assert_denied(outcome: Result<(u8, i64), Error>, why: StepUpRefusal) {
    let Err(Error::StepUp(reason)) = outcome else { unreachable!("expected {why:?}, got {outcome:?}") };
    assert_eq!(reason, why);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_38_an_id_token_for_another_device_challenge_or_audience_opens_no_gate_and_its_own_does() {
    let Some(programs) = programs(&here()) else { return };
    let (provider, folder) = (Provider::start(&programs, "0"), tempfile::tempdir().unwrap());
    let mut config = tombolo_relay::Config::on_loopback(&folder.path().join("relay")).unwrap();
    config.minimum = Levels { invite: 3, ..Levels::default() };
    config.login = Some(LoginTerms { issuer: provider.issuer.clone(), audience: "notes".to_owned() });
    let relay = tombolo_relay::serve(config, std::future::pending()).await.unwrap();
    let address = format!("ws://{}", relay.address);
    let alice = Replica::open(folder.path().join("alice")).await.unwrap();
    let workspace = alice.create_workspace("Field notes").await.unwrap();
    let other = alice.create_workspace("Another").await.unwrap();
    alice.dial(&address).await.unwrap();
    soon("in step", workspace.settled()).await.unwrap();
    workspace.invite(Role::Writer).create().await.unwrap();
    let waits = async || workspace.sync_debt().await.unwrap().records > 0;
    assert!(waits().await, "an invite needs the factor");
    let at = (&workspace, address.as_str());
    let login = |audience: &str, nonce: &str| provider.login(audience, nonce, "alice");
    let stolen = oidc_nonce(&DeviceId::from_bytes([7; 32]), &[7; 32]);
    assert_denied(show(at.0, at.1, |_| login("notes", &stolen)).await, StepUpRefusal::OtherDevice);
    assert_denied(show(at.0, at.1, |nonce| login("other", nonce)).await, StepUpRefusal::Wrong);
    assert_denied(show(at.0, at.1, |nonce| unsigned(&login("notes", nonce))).await, StepUpRefusal::Wrong);
    let earlier =
        soon("asked", workspace.step_up(&address, StepUpMethod::Oidc)).await.unwrap().question().nonce.clone();
    assert_denied(show(at.0, at.1, |_| login("notes", &earlier)).await, StepUpRefusal::OtherDevice);
    assert!(waits().await, "nothing of that is a factor");
    soon("the other workspace goes on", other.settled()).await.unwrap();
    let (level, _) = show(at.0, at.1, |nonce| login("notes", nonce)).await.unwrap();
    assert_eq!(level, 4);
    soon("the invite is durable", workspace.settled()).await.unwrap();
}
