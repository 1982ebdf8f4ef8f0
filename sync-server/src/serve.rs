//! A relay's life: lock the folder, open the log, bind, serve, drain.
//!
//! Invariant: one relay a folder; what was acknowledged is committed before it ends.

mod folder;
mod system;

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tombolo_protocol::auth::Binding;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::TlsMode;
use tombolo_protocol::ids::RelayId;
use tombolo_protocol::keys::SignKey;

use crate::access::{ACCESS_FOLDER, AccessEvent, AccessLog};
use crate::config::{Config, TlsChoice};
use crate::factors::{FACTORS_FILE, FactorKey, Factors};
use crate::fanout::Closing;
use crate::http::{self, Service};
use crate::log::LogError;
use crate::log::sqlite::SqliteLog;
use crate::login::{self, Login};
use crate::relay::Relay;
use crate::tls::{self, TlsError};
use crate::writer;
use system::System;

/// Drained sessions come back spread over this time.
const RETURN_SPREAD_MS: u32 = 5_000;
/// How often it is asked whether it is time to look for what may go.
const SWEEP_LOOK: Duration = Duration::from_secs(60);
/// How long nobody asks a workspace for anything before it rests, and at most twice as long.
const REST_AFTER: Duration = Duration::from_secs(2);
/// How long sessions may take to end when the relay drains.
const DRAIN_PATIENCE: Duration = Duration::from_secs(8);
/// Connections that wait to be accepted, where the system allows as many: after a restart all devices come at once, and
/// one that finds no place here learns of it only after seconds.
const BACKLOG: u32 = 16_384;
/// Connections at once: a process may open 20,000 files here, and the log needs some.
const CONNECTIONS_MAX: usize = 18_000;

/// Why a relay can not start: always to be mended by the operator.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder can not be used.
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another relay uses the data folder.
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The key file does not hold a key.
    Key {
        /// Which file.
        path: PathBuf,
    },
    /// The address can not be listened on.
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The log can not be opened.
    Log(LogError),
    /// TLS can not be served.
    Tls(TlsError),
    /// The source of randomness failed.
    NoEntropy,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, error } => {
                write!(f, "the data folder {} can not be used: {error}; choose one with --data", path.display())
            }
            Self::Locked { path } => {
                write!(
                    f,
                    "another relay is running on the data folder {}; stop it, or choose another with --data",
                    path.display()
                )
            }
            Self::Key { path } => {
                write!(f, "{} does not hold a relay's key (32 bytes); restore it from a backup", path.display())
            }
            Self::Bind { address, error } => {
                write!(f, "can not listen on {address}: {error}; choose another with --listen or --admin-listen")
            }
            Self::Log(error) => write!(f, "the log can not be opened: {error}"),
            Self::Tls(error) => write!(f, "TLS can not be served: {error}"),
            Self::NoEntropy => f.write_str("the system gives no random bytes"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// A relay that serves.
pub struct Serving {
    /// Where devices dial.
    pub address: SocketAddr,
    /// Where metrics are.
    pub admin_address: SocketAddr,
    /// Who it is.
    pub relay: RelayId,
    task: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// Waits until the relay has drained and ended.
    pub async fn finished(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the relay's task ended badly");
        }
    }
}

/// Starts a relay; it drains and ends when `shutdown` resolves.
///
/// # Errors
/// [`StartError`] if it can not serve.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<Serving, StartError> {
    let lock = folder::lock(&config.data)?;
    let key = folder::load_key(&config.data)?;
    let sealing = FactorKey::derive(&key.to_seed()).ok_or(StartError::NoEntropy)?;
    let log = SqliteLog::open(&config.data.join("log.sqlite"))?;
    let acceptor = acceptor(&config.tls)?;
    let (listener, address) = bind(config.listen)?;
    let (admin, admin_address) = bind(config.admin_listen)?;
    let (log, system) = (Box::new(log), Box::new(System::new()));
    let relay = Relay::new(key, log, system, config.terms, config.admission)?;
    let mut relay = relay.asking(config.minimum).pruning_after(config.snapshot_retention);
    let login = config.login.map(|terms| Arc::new(Login::new(terms)));
    if config.totp || login.is_some() {
        let mut factors = Factors::open(&config.data.join(FACTORS_FILE), sealing)?;
        factors = if config.totp { factors } else { factors.without_codes() };
        factors = login.iter().fold(factors, |factors, login| factors.with_login(Arc::clone(login)));
        relay = relay.checking_factors(factors);
    }
    if config.access_log {
        let folder = config.data.join(ACCESS_FOLDER);
        let signer = SignKey::from_seed(&relay.key().to_seed());
        let access = AccessLog::start(&folder, signer, config.access_log_files, relay.now_ms());
        relay = relay.accounting(access.map_err(|error| StartError::Folder { path: folder, error })?);
    }
    let relay = Arc::new(relay);
    let (alive, all_gone) = mpsc::channel(1);
    let relay_id = relay.id();
    let life =
        Life { service: Service::new(relay, config.patience, alive), listener, admin, acceptor, all_gone, _lock: lock };
    let keeper = login.map(|login| tokio::spawn(login::keep(login)).abort_handle());
    let task = tokio::spawn(async move {
        life.run(shutdown).await;
        keeper.iter().for_each(tokio::task::AbortHandle::abort);
    });
    Ok(Serving { address, admin_address, relay: relay_id, task })
}

fn acceptor(choice: &TlsChoice) -> Result<Option<TlsAcceptor>, StartError> {
    match choice {
        TlsChoice::Files { cert, key } => tls::acceptor(cert, key).map(Some).map_err(StartError::Tls),
        TlsChoice::None | TlsChoice::Proxy => Ok(None),
    }
}

struct Life {
    service: Service,
    listener: TcpListener,
    admin: TcpListener,
    acceptor: Option<TlsAcceptor>,
    all_gone: mpsc::Receiver<()>,
    _lock: File,
}

impl Life {
    async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let relay = Arc::clone(&self.service.relay);
        let writing = Arc::clone(&relay);
        let writer = std::thread::spawn(move || writer::run(&writing));
        let (stop, stopped) = watch::channel(());
        let keepers = [tokio::spawn(sweep(Arc::clone(&relay))), tokio::spawn(rest(Arc::clone(&relay)))];
        let public = http::public_routes(self.service.clone());
        let admin = http::admin_routes(self.service.clone());
        let accept = accept(self.listener, self.acceptor, public, stopped.clone());
        let admin = accept_plain(self.admin, admin, stopped);
        tokio::select! {
            () = shutdown => tracing::info!("draining"),
            () = accept => {}
            () = admin => {}
        }
        keepers.iter().for_each(tokio::task::JoinHandle::abort);
        drop(stop);
        drop(self.service);
        let spread = SystemRandom::new();
        relay.dismiss(|| Closing { code: CloseCode::Draining, retry_after_ms: Some(jitter(&spread)) });
        let mut all_gone = self.all_gone;
        if tokio::time::timeout(DRAIN_PATIENCE, all_gone.recv()).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        relay.queue().close();
        let joined = tokio::task::spawn_blocking(move || writer.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the writer ended badly");
        }
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(access) = relay.access() {
                access.note(relay.now_ms(), AccessEvent::Stopped);
                access.end();
            }
        });
        if ended.await.is_err() {
            tracing::error!("the access log ended badly");
        }
    }
}

/// Looks for what may go, as long as the relay serves.
async fn sweep(relay: Arc<Relay>) {
    loop {
        tokio::time::sleep(SWEEP_LOOK).await;
        let relay = Arc::clone(&relay);
        match tokio::task::spawn_blocking(move || relay.sweep_if_due()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what may go can not be found"),
            Err(error) => tracing::error!(%error, "the look for what may go ended badly"),
        }
    }
}

/// Lets workspaces rest, as long as the relay serves.
async fn rest(relay: Arc<Relay>) {
    loop {
        tokio::time::sleep(REST_AFTER).await;
        let relay = Arc::clone(&relay);
        if let Err(error) = tokio::task::spawn_blocking(move || relay.rest()).await {
            tracing::error!(%error, "letting workspaces rest ended badly");
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    routes: axum::Router,
    stopped: watch::Receiver<()>,
) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Some(stream) = next(&listener).await else {
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("too many connections; one was dropped");
            continue;
        };
        let (routes, acceptor) = (routes.clone(), acceptor.clone());
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let served = async {
                match acceptor {
                    None => http::serve(stream, Binding::None, routes).await,
                    Some(acceptor) => serve_tls(stream, &acceptor, routes).await,
                }
            };
            tokio::select! {
                () = served => {}
                _ = stopped.changed() => {}
            }
            drop(place);
        });
    }
}

async fn serve_tls(stream: TcpStream, acceptor: &TlsAcceptor, routes: axum::Router) {
    let handshake = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else {
        tracing::debug!("a TLS handshake failed");
        return;
    };
    match tls::binding(&stream) {
        Ok(binding) => http::serve(stream, binding, routes).await,
        Err(error) => tracing::debug!(%error, "a TLS connection yields no exporter"),
    }
}

async fn accept_plain(listener: TcpListener, routes: axum::Router, stopped: watch::Receiver<()>) {
    accept(listener, None, routes, stopped).await;
}

async fn next(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection ended before it began");
            }
            Some(stream)
        }
        Err(error) => {
            // Out of files, most likely: give others time to end.
            tracing::warn!(%error, "a connection can not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// Listens, and says where: a port may have been chosen.
fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Bind { address, error };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    // So that the port can be had again at once after a restart; on Windows it is, and this would share it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn jitter(random: &SystemRandom) -> u32 {
    let mut bytes = [0; 4];
    match random.fill(&mut bytes) {
        Ok(()) => u32::from_be_bytes(bytes) % RETURN_SPREAD_MS,
        Err(_) => RETURN_SPREAD_MS,
    }
}

/// Returns how devices are told that their sessions are tied to TLS.
#[must_use]
pub fn tls_mode(choice: &TlsChoice) -> TlsMode {
    match choice {
        TlsChoice::None => TlsMode::Plain,
        TlsChoice::Files { .. } => TlsMode::Exporter,
        TlsChoice::Proxy => TlsMode::Proxy,
    }
}
