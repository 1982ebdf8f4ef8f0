//! Sessions that are tied to their TLS connection.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::tempdir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tombolo_protocol::auth::{Binding, EXPORTER_LABEL};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Auth, TlsMode};

use super::client::Client;
use super::people::Person;
use super::process::{RelayProcess, command};

async fn dial_tls(relay: &RelayProcess, certificate: &CertificateDer<'static>) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(relay.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

fn exporter(stream: &TlsStream<TcpStream>) -> Binding {
    let (_, connection) = stream.get_ref();
    Binding::Exporter(connection.export_keying_material([0; 32], EXPORTER_LABEL, None).unwrap())
}

#[tokio::test]
async fn a_proof_is_tied_to_the_tls_connection_that_it_was_made_in() {
    let folder = tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let args = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let relay = RelayProcess::start_with(&folder.path().join("data"), &args);
    let alice = Person::new(1);

    let stream = dial_tls(&relay, made.cert.der()).await;
    let binding = exporter(&stream);
    let mut client = Client::over(Box::new(stream), "localhost", binding).await;
    client.prove(&alice, None).await;

    // Somebody between the two has a connection of their own.
    let stream = dial_tls(&relay, made.cert.der()).await;
    for wrong in [Binding::None, binding] {
        let stream = dial_tls(&relay, made.cert.der()).await;
        let mut client = Client::over(Box::new(stream), "localhost", wrong).await;
        let challenge = client.ask_challenge(&alice, None).await;
        assert_eq!(challenge.tls, TlsMode::Exporter);
        let proof = client.transcript(&challenge).sign_as_device(&alice.keys, &alice.sign_key());
        client.send(Auth { proof }).await;
        assert_eq!(client.closed().await.0, CloseCode::AuthFailed);
    }
    drop(stream);
}

#[test]
fn a_certificate_that_can_not_be_used_is_named() {
    let folder = tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let output = command()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--tls-cert")
        .arg(&empty)
        .arg("--tls-key")
        .arg(&empty)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("empty.pem"), "{said}");
}
