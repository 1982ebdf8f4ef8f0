//! Stories of relays that take only whom they were told to.

use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;
use tombolo::Replica;
use tombolo::protocol::record::Role;
use tombolo_relay::admission::{Admission, Token};
use tombolo_relay::{Config, Serving};

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(Duration::from_secs(20), future).await else {
        unreachable!("not within 20 s: {what}");
    };
    done
}

/// Starts a relay that wants a token, at a free port or the one it had before.
async fn relay_with_token(folder: &Path, port: u16) -> (Serving, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel();
    let Ok(mut config) = Config::on_loopback(folder) else { unreachable!("the settings are built in") };
    config.listen.set_port(port);
    config.admission = Admission::Token(vec![Token::new("low-tide")]);
    let serving = tombolo_relay::serve(config, async { drop(stopped.await) }).await;
    let Ok(serving) = serving else { unreachable!("the relay starts") };
    (serving, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_said_before_an_invite_is_accepted_survives_it_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, stop) = relay_with_token(&folder.path().join("relay"), 0).await;
    let (port, address) = (relay.address.port(), format!("ws://{}", relay.address));
    let alice = Replica::open(folder.path().join("alice")).await.unwrap();
    let notes = alice.create_workspace("Field notes").await.unwrap();
    alice.dial_with(&address, false, Some("low-tide")).await.unwrap();
    soon("alice is in step", notes.settled()).await.unwrap();
    let invite = notes.invite(Role::Writer).create().await.unwrap();
    soon("the invite is at the relay", notes.settled()).await.unwrap();
    stop.send(()).unwrap();
    relay.finished().await;

    let bob = Replica::open(folder.path().join("bob")).await.unwrap();
    bob.dial_with(&address, false, Some("low-tide")).await.unwrap();
    let theirs = bob.join(&invite.to_string()).await.unwrap().id();
    bob.close().await.unwrap();
    let (_relay, _stop) = relay_with_token(&folder.path().join("relay"), port).await;
    let bob = Replica::open(folder.path().join("bob")).await.unwrap();
    soon("bob is a member", bob.workspace(theirs).ready()).await.unwrap();
    assert_eq!(bob.workspace(theirs).name().await.unwrap().as_deref(), Some("Field notes"));
}
