//! Stories of relays that take only whom they were told to.

use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;
use tombolo::document::Crdt;
use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::record::Role;
use tombolo::{DebtReason, Milestone, Replica};
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

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_is_enough_to_join_where_only_founders_hold_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, _stop) = relay_with_token(&folder.path().join("relay"), 0).await;
    let address = format!("ws://{}", relay.address);
    let alice = Replica::open(folder.path().join("alice")).await.unwrap();
    let notes = alice.create_workspace("Field notes").await.unwrap();
    alice.dial_with(&address, false, Some("low-tide")).await.unwrap();
    soon("alice is in step", notes.settled()).await.unwrap();
    let invite = notes.invite(Role::Writer).create().await.unwrap().to_string();
    soon("the invite is at the relay", notes.settled()).await.unwrap();

    let bob = Replica::open(folder.path().join("bob")).await.unwrap();
    let private = bob.create_workspace("His own").await.unwrap();
    let diary = private.create_document(Crdt::Yrs).await.unwrap();
    diary.edit(|edit| edit.put("day", 1)).await.unwrap();
    let theirs = bob.join(&invite).await.unwrap();
    soon("bob is a member", theirs.ready()).await.unwrap();
    let note = theirs.create_document(Crdt::Automerge).await.unwrap();
    note.edit(|edit| edit.put("tide", "low")).await.unwrap();
    soon("bob's note is at the relay", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    // His own workspace stays with him: to bring it takes the token.
    let debt = private.sync_debt().await.unwrap();
    assert!(debt.documents.iter().all(|document| document.reason == DebtReason::NeedsToken), "{debt:?}");
    assert!(!debt.documents.is_empty());
    bob.dial_with(&address, false, Some("low-tide")).await.unwrap();
    bob.pause().await.unwrap();
    bob.resume().await.unwrap();
    soon("with the token it is taken", private.settled()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_neither_token_nor_invite_is_told_so_by_the_relay_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut config = Config::on_loopback(&folder.path().join("relay")).unwrap();
    config.admission = Admission::Token(vec![Token::new("low-tide")]);
    config.patience.handshake = Duration::from_millis(300);
    let relay = tombolo_relay::serve(config, async { drop(stopped.await) }).await.unwrap();
    let mallory = Replica::open(folder.path().join("mallory")).await.unwrap();
    let mut events = mallory.events();
    mallory.dial(&format!("ws://{}", relay.address)).await.unwrap();
    let turned_away = async {
        loop {
            if let Some(Event::Relay { state: RelayState::Offline { retry_in, reason, proven }, .. }) =
                events.next().await
            {
                return (retry_in, reason, proven);
            }
        }
    };
    let (retry_in, reason, proven) = soon("mallory is turned away", turned_away).await;
    assert_eq!((reason, proven), (Some(OfflineReason::Ended(CloseCode::NotAdmitted)), true));
    assert!(retry_in > Some(Duration::from_secs(9 * 60)), "it asks again now and then: {retry_in:?}");
    drop(stop);
}
