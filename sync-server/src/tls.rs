//! TLS that ends at the relay: version 1.3, ring, and the exporter that binds each session.
//!
//! Invariant: a connection that was accepted here yields its exporter, or is dropped.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tombolo_protocol::auth::{Binding, EXPORTER_LABEL};

/// Why TLS can not be served: always to be mended by the operator.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is no PEM of the wanted kind.
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not serve together.
    Refused(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { path, error } => write!(f, "{} can not be used: {error}", path.display()),
            Self::Refused(error) => write!(f, "certificate and key do not serve: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Reads certificate and key.
///
/// # Errors
/// [`TlsError`] if they can not be used.
pub fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::Pem { path, error }
    };
    let chain =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(pem(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Returns what binds a session to this TLS connection.
///
/// # Errors
/// [`rustls::Error`] if the connection yields no exporter.
pub fn binding(stream: &TlsStream<TcpStream>) -> Result<Binding, rustls::Error> {
    let (_, connection) = stream.get_ref();
    let bytes = connection.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]))?;
    Ok(Binding::Exporter(bytes))
}
