//! Fetching what a login provider publishes: where its keys are, and the keys.
//!
//! Invariant: one task does it, by the clock and when it is asked to, never more often than each ten
//! seconds; answers are bounded in bytes and time, and plain http goes to loopback only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::JwkSet;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Login;

/// Bytes of one answer: key sets have some kilobytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long keys are taken for what the issuer publishes.
const FRESH: Duration = Duration::from_secs(3600);
/// How soon a fetch that failed is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// The least time between two fetches, whoever asks.
const GAP: Duration = Duration::from_secs(10);

/// Why nothing was fetched.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is not https, nor http on loopback.
    Address,
    /// The provider is not reached, or breaks off.
    Unreached,
    /// Its certificate does not hold.
    Tls,
    /// It took too long.
    Late,
    /// It answers with another status than 200.
    Status(StatusCode),
    /// What it answers is too long, or not what the standard says.
    Malformed,
    /// It speaks for another issuer.
    OtherIssuer,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("the login provider's address must be https (or http on loopback)"),
            Self::Unreached => f.write_str("the login provider is not reached"),
            Self::Tls => f.write_str("the login provider's certificate does not hold"),
            Self::Late => f.write_str("the login provider does not answer in time"),
            Self::Status(status) => write!(f, "the login provider answers {status}"),
            Self::Malformed => f.write_str("the login provider answers something that is no key set"),
            Self::OtherIssuer => f.write_str("the login provider says that it is another issuer; check oidc_issuer"),
        }
    }
}

impl std::error::Error for FetchError {}

/// What a provider says of itself (OpenID Connect Discovery 1.0), as far as it is needed.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Keeps a login provider's keys, for as long as the relay lives.
pub async fn keep(login: Arc<Login>) {
    let tls = TlsConnector::from(Arc::new(client_config()));
    loop {
        let wait = match fetch(&login.terms.issuer, &tls).await {
            Ok(keys) => {
                login.set_keys(keys);
                FRESH
            }
            Err(error) => {
                tracing::warn!(%error, issuer = login.terms.issuer, "the keys of id tokens can not be fetched");
                AGAIN
            }
        };
        tokio::time::sleep(GAP.min(wait)).await;
        // Asked for or not, whatever comes first.
        drop(tokio::time::timeout(wait.saturating_sub(GAP), login.wanted.notified()).await);
    }
}

fn client_config() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

async fn fetch(issuer: &str, tls: &TlsConnector) -> Result<JwkSet, FetchError> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let discovery: Discovery = read(&address, tls).await?;
    if discovery.issuer != issuer {
        return Err(FetchError::OtherIssuer);
    }
    read(&discovery.jwks_uri, tls).await
}

async fn read<T: DeserializeOwned>(address: &str, tls: &TlsConnector) -> Result<T, FetchError> {
    let bytes = tokio::time::timeout(PATIENCE, get(address, tls)).await.map_err(|_| FetchError::Late)??;
    serde_json::from_slice(&bytes).map_err(|_| FetchError::Malformed)
}

async fn get(address: &str, tls: &TlsConnector) -> Result<Bytes, FetchError> {
    let uri: Uri = address.parse().map_err(|_| FetchError::Address)?;
    let host = uri.host().ok_or(FetchError::Address)?.to_owned();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") if loopback => false,
        _ => return Err(FetchError::Address),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((bare, port)).await.map_err(|_| FetchError::Unreached)?;
    if !secure {
        return ask(stream, &uri).await;
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| FetchError::Address)?;
    let stream = tls.connect(name, stream).await.map_err(|_| FetchError::Tls)?;
    ask(stream, &uri).await
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, uri: &Uri) -> Result<Bytes, FetchError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().ok_or(FetchError::Address)?.as_str();
    let request = Request::get(path).header(header::HOST, host).header(header::ACCEPT, "application/json");
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| FetchError::Address)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| FetchError::Unreached)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|_| FetchError::Unreached)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|_| FetchError::Malformed)?.to_bytes())
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}
