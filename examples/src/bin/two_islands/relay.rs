//! The relay as a process of its own: this very program, started again with [`ROLE`].
//!
//! Invariant: the relay does not outlive its parent: it is killed when its handle is dropped, and it
//! ends by itself once the pipe from its parent closes, which even `kill -9` of the parent does.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::failure::{Failure, within};

/// The first argument of a process that is to be the relay.
pub(crate) const ROLE: &str = "--relay";
/// What an address the relay listens on may begin with.
const SCHEME: &str = "ws://";
/// The relay's counters take a few KiB; more is not read.
const METRICS_BYTES_MAX: u64 = 256 << 10;

/// Is the relay, until it is killed or its parent ends.
pub(crate) fn serve(args: impl Iterator<Item = OsString>) -> ExitCode {
    std::thread::spawn(|| {
        // Nothing is ever written into the pipe: it ends when the parent does, one way or another.
        let ended = std::io::stdin().read(&mut [0]);
        std::process::exit(if ended.is_ok() { 0 } else { 1 });
    });
    tombolo_relay::main_with(std::iter::once(OsString::from("tombolo-relay")).chain(args))
}

/// A relay that runs.
pub(crate) struct Relay {
    process: Child,
    /// Kept open, so that the relay always has somebody to talk to.
    _lines: Lines<BufReader<ChildStdout>>,
    address: String,
    metrics: String,
}

/// What a relay has counted.
pub(crate) struct Counted {
    /// Bytes of frames that came in.
    pub(crate) received: u64,
    /// Bytes of frames that went out.
    pub(crate) sent: u64,
    /// Entries and records it keeps.
    pub(crate) items: u64,
}

impl Relay {
    /// Starts a relay on a free port.
    pub(crate) async fn start(folder: &Path) -> Result<Self, Failure> {
        within("start the relay", Self::start_at(folder, "127.0.0.1:0")).await
    }

    /// Starts another relay where one was before.
    pub(crate) async fn start_again(folder: &Path, address: &str) -> Result<Self, Failure> {
        let listen = address.strip_prefix(SCHEME).unwrap_or(address);
        within("start the relay again", Self::start_at(folder, listen)).await
    }

    async fn start_at(folder: &Path, listen: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
        let mut command = Command::new(program);
        command.args([ROLE, "serve", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--log-level", "error"]);
        command.arg("--data").arg(folder);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TOMBOLO_RELAY_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(Failure::io("start the relay"))?;
        let stdout = process.stdout.take().ok_or(Failure::Untrue("the relay has a standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let address = announced(&mut lines, "listening on ").await?;
        let metrics = announced(&mut lines, "metrics on http://").await?;
        let metrics = metrics.trim_end_matches("/metrics").to_owned();
        Ok(Self { process, _lines: lines, address, metrics })
    }

    /// Returns where devices dial.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Does to the relay what `kill -9` does.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        within("kill the relay", self.process.kill()).await
    }

    /// Asks the relay what it has counted.
    pub(crate) async fn counted(&self) -> Result<Counted, Failure> {
        let text = within("read the relay's metrics", self.fetch_metrics()).await?;
        let read = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            line.ok_or(Failure::Untrue("the relay counts what it moves"))
        };
        Ok(Counted {
            received: read("tombolo_relay_received_bytes_total ")?,
            sent: read("tombolo_relay_sent_bytes_total ")?,
            items: read("tombolo_relay_items_appended_total ")?,
        })
    }

    async fn fetch_metrics(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.metrics).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics);
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.take(METRICS_BYTES_MAX).read_to_string(&mut text).await?;
        Ok(text)
    }
}

/// Reads the relay's output up to the line that begins so, and returns the rest of that line.
async fn announced(lines: &mut Lines<BufReader<ChildStdout>>, beginning: &str) -> Result<String, Failure> {
    loop {
        let line = lines.next_line().await.map_err(Failure::io("hear from the relay"))?;
        let line = line.ok_or(Failure::Untrue("the relay says where it listens"))?;
        if let Some(rest) = line.strip_prefix(beginning) {
            return Ok(rest.to_owned());
        }
    }
}
