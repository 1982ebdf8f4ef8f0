//! What the relay answers over HTTP: the WebSocket at any path, health, readiness, metrics.
//!
//! Invariant: a connection that says nothing is dropped after ten seconds; readiness is shown by a
//! commit that was made for it.

mod watched;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tombolo_protocol::auth::Binding;
use tower_service::Service as _;

use crate::connection::{Patience, Progress, Socket, drive};
use crate::relay::Relay;
use crate::session::Peer;
use crate::writer::Job;
use watched::Watched;

/// Bytes of a request's head: no request here needs more.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long the readiness check waits for its commit.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a request's head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// What the routes share.
#[derive(Clone)]
pub struct Service {
    /// The relay.
    pub relay: Arc<Relay>,
    /// How long the parts of a session may take.
    pub patience: Patience,
    /// Held by each session; the receiver sees when all are gone.
    pub alive: mpsc::Sender<()>,
}

impl Service {
    /// Puts together what the routes share.
    #[must_use]
    pub fn new(relay: Arc<Relay>, patience: Patience, alive: mpsc::Sender<()>) -> Self {
        Self { relay, patience, alive }
    }
}

/// What is known of one connection.
#[derive(Clone)]
struct Connection {
    binding: Binding,
    progress: Arc<Progress>,
}

/// Returns the routes of the public address.
pub fn public_routes(service: Service) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .fallback(dial)
        .with_state(service)
}

/// Returns the routes of the admin address.
pub fn admin_routes(service: Service) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(service)
}

/// Serves one connection until it ends or becomes a session.
pub async fn serve<S>(stream: S, binding: Binding, routes: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = Arc::<Progress>::default();
    let connection = Connection { binding, progress: Arc::clone(&progress) };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(connection.clone());
        routes.clone().call(request)
    });
    let io = TokioIo::new(Watched::new(stream, progress));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Answers a device that dials; the session begins once the answer is out.
///
/// By hand, and not with axum's own: that hands out no fragments (RFC 6455 §5.4), without which a session keeps room for
/// its largest frame.
async fn dial(
    State(service): State<Service>,
    Extension(connection): Extension<Connection>,
    mut request: Request,
) -> Response {
    let Ok(switch) = create_response_with_body(&request, Body::empty) else {
        let text = "this is a Tombolo relay; dial it with a device, over WebSocket\n";
        return (StatusCode::UPGRADE_REQUIRED, text).into_response();
    };
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let peer = Peer { host: host.unwrap_or_default().to_owned(), binding: connection.binding };
    tokio::spawn(begin(hyper::upgrade::on(&mut request), service, peer, connection.progress));
    switch
}

async fn begin(upgrade: OnUpgrade, service: Service, peer: Peer, progress: Arc<Progress>) {
    let socket = match upgrade.await {
        Ok(upgraded) => Socket::new(upgraded).await,
        Err(error) => return tracing::debug!(%error, "a connection did not become a session"),
    };
    let Service { relay, patience, alive } = service;
    // Boxed: a future keeps room twice for what it is given, as long as a session lives.
    drive(Box::new(socket), relay, peer, progress, (patience, alive)).await;
}

async fn ready(State(service): State<Service>) -> Response {
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    service.relay.queue().push(Job::Probe(answer));
    let wait = tokio::task::spawn_blocking(move || answered.recv_timeout(PROBE_PATIENCE));
    match wait.await {
        Ok(Ok(true)) => (StatusCode::OK, "ready\n").into_response(),
        Ok(Ok(false)) => unavailable("the relay can not write its log\n"),
        _ => unavailable("the relay did not write its log in time\n"),
    }
}

fn unavailable(text: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn metrics(State(service): State<Service>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, service.relay.metrics().to_prometheus()).into_response()
}
