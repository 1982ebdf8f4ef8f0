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

    pub(super) async fn dial(&self, address: &str) -> io::Result<Dialled> {
        let request = address.into_client_request().map_err(io::Error::other)?;
        let uri = request.uri().clone();
        let secure = uri.scheme_str() == Some("wss");
        let named = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
        let name = named.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((name.as_str(), port)).await?;
        tcp.set_nodelay(true)?;
        let loopback = tcp.peer_addr()?.ip().is_loopback();
        if !secure && !loopback {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "plain ws goes to loopback only"));
        }
        let (stream, binding): (Stream, Binding) = if secure {
            let server = ServerName::try_from(name).map_err(io::Error::other)?;
            let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(server, tcp).await?;
            let exported = tls.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]));
            (Box::new(tls), Binding::Exporter(exported.map_err(io::Error::other)?))
        } else {
            (Box::new(tcp), Binding::None)
        };
        let config =
            WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
        let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (socket, _) = upgraded.map_err(io::Error::other)?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        Ok(Dialled { socket, host, binding, loopback })
    }
}
