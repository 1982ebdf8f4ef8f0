//! Invites, and what is told to those who hold none.

use tempfile::tempdir;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Frame, NotFound, NotFoundReason};
use tombolo_protocol::ids::{RelayId, WorkspaceTag};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Record, Role};
use tombolo_relay::session::GUEST_ENTERS_MAX;

use super::client::Client;
use super::people::{Person, found, invite, join, workspace};
use super::process::RelayProcess;
use super::sync::island;

async fn expect_not_found(client: &mut Client, workspace: WorkspaceTag) {
    assert_eq!(client.frame().await, Frame::NotFound(NotFound { workspace, reason: None }));
}

async fn expect_reason(client: &mut Client, workspace: WorkspaceTag, reason: NotFoundReason) {
    let reason = Some(reason.number());
    assert_eq!(client.frame().await, Frame::NotFound(NotFound { workspace, reason }));
}

/// Alice's workspace with one invite.
async fn with_invite(
    relay: &RelayProcess,
    alice: &Person,
    counting: Option<RelayId>,
    uses: u32,
    expires_ms: i64,
) -> (Client, Vec<Record>, SignKey) {
    let mut at_alice = Client::dial(relay.address, alice).await;
    let mut ground = found(alice, 1);
    let counting = counting.or(at_alice.relay).unwrap();
    let (offer, key) = invite(&ground, alice, counting, Role::Writer, uses, expires_ms);
    ground.push(offer);
    at_alice.seeded(&ground).await;
    (at_alice, ground, key)
}

#[tokio::test]
async fn a_stranger_is_told_the_same_of_a_workspace_that_exists_and_one_that_does_not() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, mallory) = (Person::new(1), Person::new(9));
    let (_alice, ground, key) = with_invite(&relay, &alice, None, 1, 0).await;
    let (there, nowhere) = (workspace(&ground).tag(), WorkspaceTag::from_bytes([8; 16]));
    let offer = ground[2].id();
    let mut stranger = Client::dial(relay.address, &mallory).await;
    for tag in [there, nowhere] {
        stranger.open(tag, None, 0, None).await;
        expect_not_found(&mut stranger, tag).await;
        // An invite that is none, one with a key that is not its, one of another workspace.
        stranger.enter(&mallory, tag, ground[0].id(), &key).await;
        expect_not_found(&mut stranger, tag).await;
        stranger.enter(&mallory, tag, offer, &SignKey::from_seed(&[1; 32])).await;
        expect_not_found(&mut stranger, tag).await;
    }
    stranger.enter(&mallory, nowhere, offer, &key).await;
    expect_not_found(&mut stranger, nowhere).await;
    // Whoever knows the records is no member by it.
    stranger.seed(&ground).await;
    expect_not_found(&mut stranger, there).await;
}

#[tokio::test]
async fn an_invite_for_one_use_admits_one_device_and_says_so_in_an_attestation() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob, carol) = (Person::new(1), Person::new(2), Person::new(3));
    let (mut at_alice, ground, key) = with_invite(&relay, &alice, None, 1, 0).await;
    let offer = ground[2].id();
    let joining = |who: &Person| [ground.clone(), vec![join(&ground, who, offer, &key)]].concat();

    let mut at_bob = Client::dial(relay.address, &bob).await;
    at_bob.seeded(&joining(&bob)).await;
    let shown = at_alice.items().await;
    let [(4, _), (5, attestation)] = shown.as_slice() else {
        panic!("a Join and its attestation were expected, not {shown:?}");
    };
    let attestation = Signed::<Attestation>::decode(&attestation[1..]).unwrap();
    assert_eq!(attestation.verify().unwrap().nth, 1);

    let mut at_carol = Client::dial(relay.address, &carol).await;
    at_carol.enter(&carol, workspace(&ground).tag(), offer, &key).await;
    expect_reason(&mut at_carol, workspace(&ground).tag(), NotFoundReason::UsedUp).await;
    // Whoever can not prove the invite's key hears no more than a stranger.
    at_carol.enter(&carol, workspace(&ground).tag(), offer, &SignKey::from_seed(&[1; 32])).await;
    expect_not_found(&mut at_carol, workspace(&ground).tag()).await;
    at_carol.seed(&joining(&carol)).await;
    expect_not_found(&mut at_carol, workspace(&ground).tag()).await;
    // Bob's Join again changes nothing and is no second use.
    at_bob.seeded(&joining(&bob)).await;
    assert!(at_alice.frame_soon().await.is_none());
}

#[tokio::test]
async fn an_invite_ends_by_the_clock_of_the_relay_that_counts_it_and_no_other_counts() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut at_bob = Client::dial(relay.address, &bob).await;

    let (_alice, ground, key) = with_invite(&relay, &alice, None, 0, 1_000).await;
    let late = [ground.clone(), vec![join(&ground, &bob, ground[2].id(), &key)]].concat();
    at_bob.enter(&bob, workspace(&ground).tag(), ground[2].id(), &key).await;
    expect_reason(&mut at_bob, workspace(&ground).tag(), NotFoundReason::Expired).await;
    at_bob.seed(&late).await;
    expect_not_found(&mut at_bob, workspace(&ground).tag()).await;

    let other = RelayId::from_bytes(SignKey::from_seed(&[4; 32]).public());
    let mut elsewhere = found(&alice, 7);
    let (offer, key) = invite(&elsewhere, &alice, other, Role::Writer, 0, 0);
    elsewhere.push(offer);
    let mut at_alice = Client::dial(relay.address, &alice).await;
    at_alice.seeded(&elsewhere).await;
    let foreign = [elsewhere.clone(), vec![join(&elsewhere, &bob, elsewhere[2].id(), &key)]].concat();
    at_bob.seed(&foreign).await;
    expect_not_found(&mut at_bob, workspace(&elsewhere).tag()).await;
}

#[tokio::test]
async fn many_may_join_by_one_invite_and_each_use_is_counted() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let (_alice, mut ground, key) = with_invite(&relay, &alice, None, 0, 0).await;
    let offer = ground[2].id();
    for n in 2..6 {
        let who = Person::new(n);
        let mut client = Client::dial(relay.address, &who).await;
        client.enter(&who, workspace(&ground).tag(), offer, &key).await;
        let shown = client.ground().await;
        assert_eq!(shown.records.len(), ground.len());
        let uses =
            shown.attestations.iter().map(|bytes| Signed::<Attestation>::decode(bytes).unwrap().verify().unwrap().nth);
        assert_eq!(uses.max().unwrap_or(0), u32::from(n) - 2);
        ground.push(join(&ground, &who, offer, &key));
        client.seeded(&ground).await;
    }
}

#[tokio::test]
async fn a_reader_reads_and_is_refused_when_it_writes() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (mut at_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Reader).await;
    use tombolo_protocol::frame::RefusalReason;
    use tombolo_protocol::ids::Stream;
    let mut theirs = super::people::Pen::new(&bob, &ground, 1, Stream::CONTENT);
    at_bob.append(channel, 1, vec![theirs.item(b"mine now")]).await;
    assert_eq!(at_bob.refused().await.reason, RefusalReason::RoleDenied);
    assert!(at_bob.received().await.0.positions.is_empty());
    // What somebody else wrote who may it brings: perhaps nobody else holds it any more.
    let mut mine = super::people::Pen::new(&alice, &ground, 1, Stream::CONTENT);
    let item = mine.item(b"by alice");
    at_bob.append(channel, 2, vec![item.clone()]).await;
    at_bob.received().await;
    assert_eq!(at_alice.items().await, [(6, item.clone())]);
    at_alice.append(channel, 1, vec![item]).await;
    assert_eq!(at_alice.received().await.0.positions, [(6, 1)], "it is there already");
}

#[tokio::test]
async fn where_tokens_admit_the_holder_of_an_invite_joins_without_one_and_brings_nothing_else() {
    let folder = tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "low-tide\n").unwrap();
    let args = ["--admission", "token", "--token-file", tokens.to_str().unwrap()];
    let relay = RelayProcess::start_with(&folder.path().join("data"), &args);
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut at_alice = Client::connect(relay.address).await;
    at_alice.prove(&alice, Some("low-tide")).await;
    let mut ground = found(&alice, 1);
    let (offer, key) = invite(&ground, &alice, at_alice.relay.unwrap(), Role::Writer, 1, 0);
    ground.push(offer);
    at_alice.seeded(&ground).await;
    let (tag, offer) = (workspace(&ground).tag(), ground[2].id());
    let (own, join) = (found(&bob, 7), join(&ground, &bob, offer, &key));
    let joining = [ground.clone(), vec![join]].concat();

    let mut at_bob = Client::connect(relay.address).await;
    at_bob.prove(&bob, None).await;
    // Nothing goes before the proof, and only the invite's workspace behind it.
    at_bob.open(tag, None, 0, None).await;
    expect_reason(&mut at_bob, tag, NotFoundReason::NeedsToken).await;
    at_bob.enter(&bob, tag, offer, &SignKey::from_seed(&[1; 32])).await;
    expect_not_found(&mut at_bob, tag).await;
    at_bob.seed(&own).await;
    expect_reason(&mut at_bob, workspace(&own).tag(), NotFoundReason::NeedsToken).await;
    at_bob.enter(&bob, tag, offer, &key).await;
    assert_eq!(at_bob.ground().await.records.len(), ground.len());
    at_bob.seed(&own).await;
    expect_reason(&mut at_bob, workspace(&own).tag(), NotFoundReason::NeedsToken).await;
    at_bob.seeded(&joining).await;
    at_bob.seed(&own).await;
    expect_reason(&mut at_bob, workspace(&own).tag(), NotFoundReason::NeedsToken).await;
    // A member now: no token and no invite to come back.
    let mut back = Client::dial(relay.address, &bob).await;
    back.open(tag, None, 0, None).await;
    assert!(back.opened().await.resumed);

    let mut eager = Client::dial(relay.address, &Person::new(3)).await;
    for _ in 0..GUEST_ENTERS_MAX {
        eager.enter(&Person::new(3), tag, offer, &SignKey::from_seed(&[1; 32])).await;
        expect_not_found(&mut eager, tag).await;
    }
    eager.enter(&Person::new(3), tag, offer, &SignKey::from_seed(&[1; 32])).await;
    assert_eq!(eager.closed().await.0, CloseCode::RateLimited);
}
