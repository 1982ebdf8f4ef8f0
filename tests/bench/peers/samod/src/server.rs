//! samod's server: what runs in the process of its own, and that process seen from the one that started it.
//!
//! Invariant: the process ends with the value that stands for it; its port and folder stay the same when it is started again.

use std::fs::read_to_string;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use samod::storage::TokioFilesystemStorage;
use samod::{AcceptorHandle, ConcurrencyConfig, Repo, ShareConfig, Url};
use tokio::net::TcpStream;

use crate::Outcome;

/// Ticks of processor time a second, as Linux counts them for programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often it is looked whether the server is up, and how long between two looks.
const LOOKS: u32 = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Serves until the process is killed, set up as samod's own command-line server is: documents run on a thread pool, and
/// nobody is told of a document that they did not ask for.
///
/// The stock file storage writes each change as a file of its own and puts them together when there are more than ten.
/// It flushes nothing, and the server says that it has a change without waiting for its file.
pub(crate) async fn serve(port: u16, folder: &Path) -> Outcome {
    let repo = Repo::build_tokio()
        .with_storage(TokioFilesystemStorage::new(folder))
        .with_share_policy(ShareConfig::read_write().with_announce(false))
        .with_concurrency(ConcurrencyConfig::Threadpool(rayon::ThreadPoolBuilder::new().build()?))
        .load()
        .await;
    let acceptor = repo.make_acceptor(address(port)?)?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    Ok(axum::serve(listener, Router::new().route("/", get(accept)).with_state(acceptor)).await?)
}

async fn accept(upgrade: WebSocketUpgrade, State(acceptor): State<AcceptorHandle>) -> Response {
    upgrade.on_upgrade(|socket| async move {
        if let Err(error) = acceptor.accept_axum(socket, None) {
            eprintln!("a connection was not accepted: {error}");
        }
    })
}

fn address(port: u16) -> Outcome<Url> {
    Ok(format!("ws://127.0.0.1:{port}/").parse()?)
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    /// Starts a server on a folder and a free port of the loopback.
    pub(crate) async fn start(folder: &Path) -> Outcome<Self> {
        // A port that is free now may be taken by a connection the next moment.
        match Self::listen(folder, free_port()?).await {
            Ok(server) => Ok(server),
            Err(_) => Self::listen(folder, free_port()?).await,
        }
    }

    async fn listen(folder: &Path, port: u16) -> Outcome<Self> {
        let mut server = Self { child: spawn(folder, port)?, port, folder: folder.to_owned() };
        server.reachable().await?;
        Ok(server)
    }

    async fn reachable(&mut self) -> Outcome {
        for _ in 0..LOOKS {
            if self.child.try_wait()?.is_some() {
                return Err("the server ended as soon as it was started".into());
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return Ok(());
            }
            // waits: for a process to start.
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err("the server did not come up within 30 s".into())
    }

    /// Ends the server as `kill -9` does. It has no farewell that another signal would give it time for.
    pub(crate) fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts a server that was killed again, on the same folder and port.
    pub(crate) async fn start_again(&mut self) -> Outcome {
        self.child = spawn(&self.folder, self.port)?;
        self.reachable().await
    }

    /// Where clients dial.
    pub(crate) fn address(&self) -> Outcome<Url> {
        address(self.port)
    }

    /// Seconds on cores so far.
    pub(crate) fn cpu_seconds(&self) -> Outcome<f64> {
        let stat = read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / TICKS_PER_SECOND)
    }

    /// Memory that is resident now, in KiB.
    pub(crate) fn rss_kib(&self) -> Outcome<f64> {
        let status = read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the server has no memory")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

fn spawn(folder: &Path, port: u16) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--port", &port.to_string(), "--folder"]).arg(folder).current_dir(folder);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
