//! Stories of `wss`: a device, a relay that ends TLS itself, and what may stand between them.

#![cfg(test)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tombolo::document::Crdt;
use tombolo::engine::{Event, OfflineReason, RelayState, Unreached};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::record::Role;
use tombolo::{Milestone, Replica, SetAsideReason};
use tombolo_relay::Serving;
use tombolo_relay::config::{Settings, Source};

type Certificate = CertifiedKey<KeyPair>;

fn certificate(host: &str) -> Certificate {
    rcgen::generate_simple_self_signed([host.to_owned()]).unwrap()
}

async fn relay(folder: &Path, settings: &[(&str, &str)]) -> Serving {
    let mut all = Settings::default();
    let data = folder.join("relay");
    for (key, text) in [("data", data.to_str().unwrap()), ("listen", "127.0.0.1:0")].iter().chain(settings) {
        all.set(key, text, Source::Default);
    }
    tombolo_relay::serve(all.judge().unwrap(), std::future::pending()).await.unwrap()
}

/// A relay that ends TLS itself with this certificate.
async fn tls_relay(folder: &Path, certificate: &Certificate) -> Serving {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    relay(folder, &[("tls_cert", cert.to_str().unwrap()), ("tls_key", key.to_str().unwrap())]).await
}

fn by_name(address: SocketAddr) -> String {
    format!("wss://localhost:{}", address.port())
}

/// A replica that trusts these certificates beside the web's authorities.
async fn replica(folder: &TempDir, name: &str, trusted: &[&Certificate]) -> Replica {
    let mut builder = Replica::builder(folder.path().join(name));
    for certificate in trusted {
        builder = builder.trust_root(certificate.cert.der().to_vec());
    }
    builder.open().await.unwrap()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(Duration::from_secs(20), future).await else {
        unreachable!("not within 20 s: {what}");
    };
    done
}

/// Dials, and returns why the relay is not reached.
async fn refusal(replica: &Replica, address: &str, allow_proxy: bool) -> OfflineReason {
    let mut events = replica.events();
    replica.dial_with(address, allow_proxy, None).await.unwrap();
    let reason = soon("an answer", async {
        loop {
            match events.next().await.unwrap() {
                Event::Relay { state: RelayState::Offline { reason: Some(reason), .. }, .. } => return reason,
                Event::Relay { state: RelayState::Online { .. }, .. } => unreachable!("{address} was reached"),
                _ => {}
            }
        }
    });
    let reason = reason.await;
    let shown = replica.relays().await.unwrap();
    let shown = shown.iter().any(|(_, state)| match state {
        RelayState::Offline { reason: shown, .. } => *shown == Some(reason),
        // The next attempt is under way already.
        state => *state == RelayState::Dialling,
    });
    assert!(shown, "the status does not say why");
    reason
}

/// Whom somebody between device and relay pretends to serve.
enum Behind {
    /// What he hears goes on in clear.
    Plain(SocketAddr),
    /// What he hears goes on through TLS of his own.
    Tls(SocketAddr, Arc<ClientConfig>),
}

/// Ends TLS with a certificate that the device trusts, and hands on what he hears.
async fn between(certificate: &Certificate, behind: Behind) -> SocketAddr {
    let key = PrivateKeyDer::from_pem_slice(certificate.signing_key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let behind = Arc::new(behind);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), Arc::clone(&behind));
            tokio::spawn(async move {
                let near = acceptor.accept(stream).await.unwrap();
                match &*behind {
                    Behind::Plain(relay) => hand_on(near, TcpStream::connect(relay).await.unwrap()).await,
                    Behind::Tls(relay, config) => {
                        let name = ServerName::try_from("localhost").unwrap();
                        let far = TcpStream::connect(relay).await.unwrap();
                        let far = TlsConnector::from(Arc::clone(config)).connect(name, far).await.unwrap();
                        hand_on(near, far).await;
                    }
                }
            });
        }
    });
    address
}

async fn hand_on(mut near: impl AsyncRead + AsyncWrite + Unpin, mut far: impl AsyncRead + AsyncWrite + Unpin) {
    // Either end may hang up without a word.
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}

fn trusting(certificate: &Certificate) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

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

/// Case 36 of the threat model: TLS is ended on the way with a certificate that the device trusts.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_somebody_between_hands_on_is_worth_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (own, his) = (certificate("localhost"), certificate("localhost"));
    let relay = tls_relay(folder.path(), &own).await;
    let alice = replica(&folder, "alice", &[&own, &his]).await;
    let workspace = alice.create_workspace("Field notes").await.unwrap();
    let address = by_name(between(&his, Behind::Tls(relay.address, trusting(&own))).await);
    assert_eq!(refusal(&alice, &address, false).await, OfflineReason::Ended(CloseCode::AuthFailed));
    // To allow a proxy does not help him: this relay wants the exporter.
    assert_eq!(refusal(&alice, &address, true).await, OfflineReason::Ended(CloseCode::AuthFailed));
    assert!(!workspace.sync_debt().await.unwrap().confirmed);
    alice.dial(&by_name(relay.address)).await.unwrap();
    soon("alice is in step by the straight way", workspace.settled()).await.unwrap();
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
