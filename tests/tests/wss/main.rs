//! Stories of `wss`: a device, a relay that ends TLS itself, and what may stand between them.

#![cfg(test)]

mod between;

use tokio::net::TcpListener;
use tombolo::document::Crdt;
use tombolo::engine::{OfflineReason, RelayState, Unreached};
use tombolo::protocol::record::Role;
use tombolo::{Milestone, PolicyTerms, SetAsideReason};

use crate::between::{Behind, between, by_name, certificate, refusal, relay, replica, soon, tls_relay};

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_meet_through_a_relay_that_ends_tls_itself() {
    let folder = tempfile::tempdir().unwrap();
    let own = certificate("localhost");
    let address = by_name(tls_relay(folder.path(), &own).await.address);
    let (alice, bob) = (replica(&folder, "alice", &[&own]).await, replica(&folder, "bob", &[&own]).await);
    let workspace = alice.create_workspace("Field notes").await.unwrap();
    alice.dial(&address).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap();
    let theirs = bob.join(&invite.to_string()).await.unwrap();
    soon("bob is a member", theirs.ready()).await.unwrap();
    let document = workspace.create_document(Crdt::Yrs).await.unwrap();
    document.edit(|e| e.text("body")?.splice(0, 0, "Low tide at six.")).await.unwrap();
    soon("durable", document.wait_for(Milestone::RelayDurable)).await.unwrap();
    soon("seen", document.seen_by(bob.identity().await.unwrap().0)).await.unwrap();
    let text = bob.document(document.id()).read(|view| view.text("body")).await.unwrap();
    assert_eq!(text.as_deref(), Some("Low tide at six."));
    assert!(workspace.sync_debt().await.unwrap().is_settled());
    // These sessions are bound to their TLS connections, so the owner may ask it of all.
    workspace.set_policy(PolicyTerms { needs_binding: true, ..PolicyTerms::default() }).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
    document.edit(|e| e.text("body")?.splice(0, 0, "Still here. ")).await.unwrap();
    soon("seen", document.seen_by(bob.identity().await.unwrap().0)).await.unwrap();
    assert!(matches!(bob.relays().await.unwrap().as_slice(), [(_, RelayState::Online { .. })]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_or_is_anothers_is_refused_in_a_sentence_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (own, strange) = (certificate("localhost"), certificate("relay.example.org"));
    let address = by_name(tls_relay(folder.path(), &own).await.address);
    let alice = replica(&folder, "alice", &[]).await;
    let untrusted = refusal(&alice, &address, false).await;
    assert_eq!(untrusted, OfflineReason::Unreached(Unreached::UntrustedCertificate));
    assert!(untrusted.to_string().contains("trust it when the replica is opened"), "{untrusted}");
    let away = folder.path().join("away");
    std::fs::create_dir(&away).unwrap();
    let address = by_name(tls_relay(&away, &strange).await.address);
    let bob = replica(&folder, "bob", &[&strange]).await;
    let anothers = refusal(&bob, &address, false).await;
    assert_eq!(anothers, OfflineReason::Unreached(Unreached::OtherHost));
    assert!(anothers.to_string().contains("dial the name that stands in it"), "{anothers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_answers_at_an_address_is_named_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let plain = relay(folder.path(), &[]).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let expected = [
        (format!("ws://{closed}"), Unreached::NoConnection),
        (format!("wss://localhost:{}", closed.port()), Unreached::NoConnection),
        ("wss://no-such-host.invalid".to_owned(), Unreached::UnknownHost),
        (by_name(plain.address), Unreached::NoTls),
        (format!("ws://{}", plain.admin_address), Unreached::NotARelay),
    ];
    for (number, (address, why)) in expected.into_iter().enumerate() {
        let alice = replica(&folder, &format!("alice-{number}"), &[]).await;
        assert_eq!(refusal(&alice, &address, false).await, OfflineReason::Unreached(why), "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_behind_a_proxy_is_used_only_by_devices_that_allow_one() {
    let folder = tempfile::tempdir().unwrap();
    let own = certificate("localhost");
    let relay = relay(folder.path(), &[("tls_mode", "proxy")]).await;
    let address = by_name(between(&own, Behind::Plain(relay.address)).await);
    let alice = replica(&folder, "alice", &[&own]).await;
    let workspace = alice.create_workspace("Field notes").await.unwrap();
    for way in [&address, &format!("ws://{}", relay.address)] {
        let refused = refusal(&alice, way, false).await;
        assert_eq!(refused, OfflineReason::Unreached(Unreached::BehindProxy));
        assert!(refused.to_string().contains("allow a proxy"), "{refused}");
    }
    assert!(alice.counters().await.unwrap().of(SetAsideReason::AuthFailed) >= 2);
    alice.dial_with(&address, true, None).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_hears_in_clear_what_was_sent_through_tls_gets_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let his = certificate("localhost");
    let plain = relay(folder.path(), &[]).await;
    let address = by_name(between(&his, Behind::Plain(plain.address)).await);
    let alice = replica(&folder, "alice", &[&his]).await;
    let refused = refusal(&alice, &address, false).await;
    assert_eq!(refused, OfflineReason::Unreached(Unreached::TlsEndedBetween));
    assert!(refused.to_string().contains("--tls-mode proxy"), "{refused}");
    assert_eq!(alice.counters().await.unwrap().of(SetAsideReason::AuthFailed), 1);
}
