//! Reaching a relay: TCP, TLS 1.3 by rustls and ring, WebSocket.
//!
//! Invariant: plain connections go to loopback only, decided by the address that was really reached; a
//! TLS connection is handed on with its exporter, which ties the session to it.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tombolo_protocol::auth::{Binding, EXPORTER_LABEL};
use tombolo_protocol::limits::FRAME_BYTES_MAX;

use super::pulse::{Pulse, Watched};
use crate::engine::Unreached;

/// A WebSocket over TCP or TLS.
pub(super) type Socket = WebSocketStream<Stream>;

/// The bytes below a WebSocket.
pub(super) type Stream = Box<dyn Duplex>;

/// Bytes in both directions.
pub(super) trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that stands.
pub(super) struct Dialled {
    pub(super) socket: Socket,
    /// The host as it was dialled, with its port if one was given.
    pub(super) host: String,
    pub(super) binding: Binding,
    pub(super) loopback: bool,
    /// When the other end was last heard.
    pub(super) pulse: Pulse,
}

/// Dials relays.
pub(super) struct Dialler {
    tls: Arc<ClientConfig>,
}

impl Dialler {
    /// Trusts the web's roots, and the given ones (DER) beside them.
    pub(super) fn new(extra_roots: &[Vec<u8>]) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in extra_roots {
            roots.add(CertificateDer::from(root.clone()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }

    /// Reaches a relay.
    ///
    /// # Errors
    /// [`Unreached`] says what is in the way.
    pub(super) async fn dial(&self, address: &str) -> Result<Dialled, Unreached> {
        let request = address.into_client_request().map_err(|error| refused(&error, Unreached::UnknownHost))?;
        let uri = request.uri().clone();
        let secure = uri.scheme_str() == Some("wss");
        let named = uri.host().ok_or(Unreached::UnknownHost)?;
        let name = named.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let (tcp, loopback) = connect(&name, port).await?;
        if !secure && !loopback {
            return Err(Unreached::PlainNotLoopback);
        }
        let pulse = Pulse::new();
        let tcp = Watched::new(tcp, pulse.clone());
        let (stream, binding) =
            if secure { self.secure(name, tcp).await? } else { (Box::new(tcp) as _, Binding::None) };
        let config =
            WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
        let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (socket, _) = upgraded.map_err(|error| refused(&error, Unreached::NotARelay))?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        Ok(Dialled { socket, host, binding, loopback, pulse })
    }

    async fn secure(&self, name: String, tcp: Watched<TcpStream>) -> Result<(Stream, Binding), Unreached> {
        let server = ServerName::try_from(name).map_err(|error| refused(&error, Unreached::UnknownHost))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(server, tcp).await;
        let tls = tls.map_err(|error| refused(&error, judge_tls(&error)))?;
        let exported = tls.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]));
        let exported = exported.map_err(|error| refused(&error, Unreached::NoTls))?;
        Ok((Box::new(tls), Binding::Exporter(exported)))
    }
}

/// Connects to one of a host's addresses; tells whether it is this very machine.
async fn connect(name: &str, port: u16) -> Result<(TcpStream, bool), Unreached> {
    let found = tokio::net::lookup_host((name, port)).await;
    let addresses: Vec<_> = found.map_err(|error| refused(&error, Unreached::UnknownHost))?.collect();
    let none = |error: io::Error| refused(&error, Unreached::NoConnection);
    let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(none)?;
    tcp.set_nodelay(true).map_err(none)?;
    let loopback = tcp.peer_addr().map_err(none)?.ip().is_loopback();
    Ok((tcp, loopback))
}

/// Says what a failed TLS handshake means to a person.
fn judge_tls(error: &io::Error) -> Unreached {
    use rustls::{CertificateError, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(certificate)) = inner else {
        return if inner.is_some() { Unreached::NoTls } else { Unreached::NoConnection };
    };
    match certificate {
        CertificateError::UnknownIssuer => Unreached::UntrustedCertificate,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Unreached::OtherHost,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Unreached::CertificateOutOfDate,
        _ => Unreached::BadCertificate,
    }
}

/// Notes the details for those who look into the log.
fn refused(error: &dyn std::fmt::Display, why: Unreached) -> Unreached {
    tracing::debug!(%error, ?why, "a relay is not reached");
    why
}
