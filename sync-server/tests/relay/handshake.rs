//! What a peer must do to be heard, and what ends its session.

use tempfile::tempdir;
use tokio_tungstenite::tungstenite::Message;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Auth, Frame, NotFoundReason, Open};
use tombolo_protocol::ids::WorkspaceTag;
use tombolo_protocol::limits::{FRAME_BYTES_MAX, FRAME_BYTES_UNAUTHENTICATED_MAX};

use super::client::Client;
use super::people::{Person, found};
use super::process::RelayProcess;

fn open_frame() -> Open {
    Open { workspace: WorkspaceTag::from_bytes([1; 16]), log: None, cursor: 0, receipt: None, documents: None }
}

#[tokio::test]
async fn nothing_is_answered_before_the_device_has_proven_its_key() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);

    let mut early = Client::connect(relay.address).await;
    early.send(open_frame()).await;
    assert_eq!(early.closed().await.0, CloseCode::Malformed);

    let mut large = Client::connect(relay.address).await;
    let mut hello = Client::hello(&alice, None);
    hello.token = Some("x".repeat(FRAME_BYTES_UNAUTHENTICATED_MAX));
    large.send(hello).await;
    assert_eq!(large.closed().await.0, CloseCode::Malformed);

    let mut twice = Client::connect(relay.address).await;
    twice.ask_challenge(&alice, None).await;
    twice.send(Client::hello(&alice, None)).await;
    assert_eq!(twice.closed().await.0, CloseCode::Malformed);
}

#[tokio::test]
async fn a_proof_is_good_for_one_session_and_one_host() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let mut first = Client::connect(relay.address).await;
    let challenge = first.ask_challenge(&alice, None).await;
    let transcript = first.transcript(&challenge);
    let proof = transcript.sign_as_device(&alice.keys, &alice.sign_key());

    let mut replaying = Client::connect(relay.address).await;
    replaying.ask_challenge(&alice, None).await;
    replaying.send(Auth { proof }).await;
    assert_eq!(replaying.closed().await.0, CloseCode::AuthFailed);

    let mut lured = Client::connect(relay.address).await;
    let challenge = lured.ask_challenge(&alice, None).await;
    let mut transcript = lured.transcript(&challenge);
    transcript.host = "relay.example.org".to_owned();
    let misled = transcript.sign_as_device(&alice.keys, &alice.sign_key());
    lured.send(Auth { proof: misled }).await;
    assert_eq!(lured.closed().await.0, CloseCode::AuthFailed);

    // A second proof in a session that has one is no part of the protocol.
    first.send(Auth { proof }).await;
    assert!(matches!(first.frame().await, Frame::Welcome(_)));
    first.send(Auth { proof }).await;
    assert_eq!(first.closed().await.0, CloseCode::Malformed);
}

#[tokio::test]
async fn another_version_is_told_which_one_is_spoken_here() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let mut client = Client::connect(relay.address).await;
    let mut hello = Client::hello(&Person::new(1), None);
    hello.version = 9;
    client.send(hello).await;
    let (code, close) = client.closed().await;
    assert_eq!((code, close.version), (CloseCode::UnsupportedVersion, Some(1)));
}

#[tokio::test]
async fn what_is_no_frame_ends_the_session_and_no_other() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let mut witness = Client::dial(relay.address, &Person::new(3)).await;

    let mut text = Client::dial(relay.address, &alice).await;
    text.send_raw(Message::text("hello")).await;
    assert_eq!(text.closed().await.0, CloseCode::Malformed);

    for bytes in [vec![], vec![99], vec![10, 0xff], vec![20, 0xbf], [open_frame_bytes(), vec![0]].concat()] {
        let mut client = Client::dial(relay.address, &alice).await;
        client.send_raw(Message::binary(bytes)).await;
        assert_eq!(client.closed().await.0, CloseCode::Malformed);
    }
    let mut truncated = open_frame_bytes();
    while truncated.len() > 1 {
        truncated.pop();
        let mut client = Client::dial(relay.address, &alice).await;
        client.send_raw(Message::binary(truncated.clone())).await;
        assert_eq!(client.closed().await.0, CloseCode::Malformed);
    }
    witness.send(open_frame()).await;
    assert!(matches!(witness.frame().await, Frame::NotFound(_)));
}

fn open_frame_bytes() -> Vec<u8> {
    Frame::from(open_frame()).encode()
}

#[tokio::test]
async fn an_oversized_message_is_refused_before_it_is_taken_in() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let mut client = Client::dial(relay.address, &Person::new(1)).await;
    client.send_and_forget(Message::binary(vec![20; FRAME_BYTES_MAX + 1])).await;
    client.ended().await;
    let mut next = Client::dial(relay.address, &Person::new(1)).await;
    next.send(open_frame()).await;
    assert!(matches!(next.frame().await, Frame::NotFound(_)));
}

#[tokio::test]
async fn a_newer_session_of_a_device_replaces_the_older() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let mut older = Client::dial(relay.address, &alice).await;
    let mut newer = Client::dial(relay.address, &alice).await;
    assert_eq!(older.closed().await.0, CloseCode::Replaced);
    newer.send(open_frame()).await;
    assert!(matches!(newer.frame().await, Frame::NotFound(_)));
}

#[tokio::test]
async fn a_silent_peer_is_dropped_before_and_after_its_proof() {
    let folder = tempdir().unwrap();
    let args = ["--handshake-ms", "200", "--ping-ms", "200"];
    let relay = RelayProcess::start_with(folder.path(), &args);
    let mut silent = Client::connect(relay.address).await;
    assert_eq!(silent.closed().await.0, CloseCode::AuthTimeout);
    // A client that is read from answers pings by itself; this one is not read from for a while.
    let mut deaf = Client::dial(relay.address, &Person::new(1)).await;
    // waits: the relay must hear nothing for twice its ping.
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(deaf.closed().await.0, CloseCode::Silent);
}

#[tokio::test]
async fn where_tokens_admit_a_stranger_needs_one_and_a_member_does_not() {
    let folder = tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "low-tide\nspring-tide\n").unwrap();
    let args = ["--admission", "token", "--token-file", tokens.to_str().unwrap(), "--handshake-ms", "500"];
    let data = folder.path().join("data");
    let relay = RelayProcess::start_with(&data, &args);
    let alice = Person::new(1);

    for shown in [None, Some("neap-tide")] {
        let mut stranger = Client::connect(relay.address).await;
        stranger.prove(&alice, shown).await;
        // It may stay as long as a handshake takes: it might hold an invite.
        assert_eq!(stranger.closed().await.0, CloseCode::NotAdmitted);
        let mut loud = Client::connect(relay.address).await;
        loud.prove(&alice, shown).await;
        loud.send_raw(Message::binary(vec![14; FRAME_BYTES_UNAUTHENTICATED_MAX + 1])).await;
        assert_eq!(loud.closed().await.0, CloseCode::NotAdmitted);
    }
    let mut founder = Client::connect(relay.address).await;
    founder.prove(&alice, Some("spring-tide")).await;
    founder.seeded(&found(&alice, 1)).await;
    // Known now: no token to come back, but one to begin another workspace.
    let mut back = Client::dial(relay.address, &alice).await;
    back.seed(&found(&alice, 2)).await;
    let Frame::NotFound(absent) = back.frame().await else { panic!("a workspace was begun without a token") };
    assert_eq!(absent.reason(), Some(NotFoundReason::NeedsToken));
}
