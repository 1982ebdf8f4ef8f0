//! Relays that end TLS, devices that trust their certificates, and whoever stands between.

#![allow(clippy::unwrap_used, dead_code, reason = "each test target uses its own part")]

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
use tombolo::Replica;
use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo_relay::Serving;
use tombolo_relay::config::{Settings, Source};

pub(crate) type Certificate = CertifiedKey<KeyPair>;

pub(crate) fn certificate(host: &str) -> Certificate {
    rcgen::generate_simple_self_signed([host.to_owned()]).unwrap()
}

pub(crate) async fn relay(folder: &Path, settings: &[(&str, &str)]) -> Serving {
    let mut all = Settings::default();
    let data = folder.join("relay");
    for (key, text) in [("data", data.to_str().unwrap()), ("listen", "127.0.0.1:0")].iter().chain(settings) {
        all.set(key, text, Source::Default);
    }
    tombolo_relay::serve(all.judge().unwrap(), std::future::pending()).await.unwrap()
}

/// A relay that ends TLS itself with this certificate.
pub(crate) async fn tls_relay(folder: &Path, certificate: &Certificate) -> Serving {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    relay(folder, &[("tls_cert", cert.to_str().unwrap()), ("tls_key", key.to_str().unwrap())]).await
}

pub(crate) fn by_name(address: SocketAddr) -> String {
    format!("wss://localhost:{}", address.port())
}

/// A replica that trusts these certificates beside the web's authorities.
pub(crate) async fn replica(folder: &TempDir, name: &str, trusted: &[&Certificate]) -> Replica {
    let mut builder = Replica::builder(folder.path().join(name));
    for certificate in trusted {
        builder = builder.trust_root(certificate.cert.der().to_vec());
    }
    builder.open().await.unwrap()
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(Duration::from_secs(20), future).await else {
        unreachable!("not within 20 s: {what}");
    };
    done
}

/// Dials, and returns why the relay is not reached.
pub(crate) async fn refusal(replica: &Replica, address: &str, allow_proxy: bool) -> OfflineReason {
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
pub(crate) enum Behind {
    /// What he hears goes on in clear.
    Plain(SocketAddr),
    /// What he hears goes on through TLS of his own.
    Tls(SocketAddr, Arc<ClientConfig>),
}

/// Ends TLS with a certificate that the device trusts, and hands on what he hears.
pub(crate) async fn between(certificate: &Certificate, behind: Behind) -> SocketAddr {
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

pub(crate) async fn hand_on(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) {
    // Either end may hang up without a word.
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}

pub(crate) fn trusting(certificate: &Certificate) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
