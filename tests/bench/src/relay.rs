//! A relay in a process of its own, and what it says of itself.
//!
//! Invariant: the process ends with the value that stands for it; its address stays the same when it is
//! started again on the same folder.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::BenchError;
use crate::system;

/// The first argument that makes this program a relay.
pub(crate) const AS_RELAY: &str = "tombolo-relay";

/// A running relay.
pub(crate) struct Relay {
    child: Child,
    folder: PathBuf,
    listen: String,
    admin: String,
    settings: Vec<String>,
}

/// What the relay has counted so far.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    /// Bytes of frames from devices.
    pub(crate) received_bytes: f64,
    /// Bytes of frames to devices.
    pub(crate) sent_bytes: f64,
    /// Bytes of `append` frames' items, as they are stored.
    pub(crate) stored_bytes: f64,
    /// Bytes queued for readers of what others appended.
    pub(crate) fan_out_bytes: f64,
    /// Frames from devices.
    pub(crate) frames_in: f64,
    /// Frames to devices.
    pub(crate) frames_out: f64,
}

impl Relay {
    /// Starts a relay on a folder and a free port of the loopback.
    pub(crate) fn start(folder: &Path) -> Result<Self, BenchError> {
        Self::start_with(folder, &[])
    }

    /// Starts a relay with settings of one's own.
    pub(crate) fn start_with(folder: &Path, settings: &[&str]) -> Result<Self, BenchError> {
        // The workloads are bursts: what one device may send in a minute is not what is measured.
        let unlimited = ["--items-per-second", "1000000", "--bytes-per-second", "1000000000"];
        let settings = unlimited.iter().chain(settings).map(|word| (*word).to_owned()).collect();
        Self::listen(folder, "127.0.0.1:0", settings)
    }

    /// Starts a relay that bounds what one device may send, as it does by default.
    pub(crate) fn start_with_defaults(folder: &Path) -> Result<Self, BenchError> {
        Self::listen(folder, "127.0.0.1:0", Vec::new())
    }

    /// Ends the relay and starts it again, on the same folder and port.
    pub(crate) fn restart(self) -> Result<Self, BenchError> {
        self.kill().start()
    }

    /// Ends the relay as `kill -9` does.
    pub(crate) fn kill(self) -> Killed {
        Killed { folder: self.folder.clone(), listen: self.listen.clone(), settings: self.settings.clone() }
    }

    fn listen(folder: &Path, listen: &str, settings: Vec<String>) -> Result<Self, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(AS_RELAY).arg("serve").arg("--data").arg(folder);
        command.args(["--listen", listen, "--admin-listen", "127.0.0.1:0", "--log-level", "error"]);
        command.args(&settings);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or(BenchError::Answer("the relay's output"))?;
        let mut lines = BufReader::new(out).lines();
        let mut after = |prefix: &str| -> Result<String, BenchError> {
            let line = lines.next().transpose()?.unwrap_or_default();
            line.strip_prefix(prefix).map(ToOwned::to_owned).ok_or(BenchError::Answer("the relay's first lines"))
        };
        let listen = after("listening on ws://")?;
        after("relay ")?;
        let admin = after("metrics on http://")?.trim_end_matches("/metrics").to_owned();
        Ok(Self { child, folder: folder.to_owned(), listen, admin, settings })
    }

    /// Where devices dial.
    pub(crate) fn address(&self) -> String {
        format!("ws://{}", self.listen)
    }

    /// Where devices dial, as an address of a socket.
    pub(crate) fn socket_address(&self) -> Result<SocketAddr, BenchError> {
        self.listen.parse().map_err(|_| BenchError::Answer("the relay's address"))
    }

    /// Memory that is resident now, in KiB.
    pub(crate) fn rss_kib(&self) -> Result<f64, BenchError> {
        system::memory_kib(self.child.id(), "VmRSS")
    }

    /// Seconds on cores so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, BenchError> {
        system::cpu_seconds(self.child.id())
    }

    /// Reads the relay's own counters.
    pub(crate) fn counted(&self) -> Result<Counted, BenchError> {
        let text = self.metrics()?;
        let sum = |name: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Ok(Counted {
            received_bytes: sum("tombolo_relay_received_bytes_total"),
            sent_bytes: sum("tombolo_relay_sent_bytes_total"),
            stored_bytes: sum("tombolo_relay_stored_bytes_total"),
            fan_out_bytes: sum("tombolo_relay_fan_out_bytes_total"),
            frames_in: sum("tombolo_relay_frames_total{direction=\"in\""),
            frames_out: sum("tombolo_relay_frames_total{direction=\"out\""),
        })
    }

    /// Items that it has taken since it started.
    pub(crate) fn items(&self) -> Result<f64, BenchError> {
        let text = self.metrics()?;
        let line = text.lines().find_map(|line| line.strip_prefix("tombolo_relay_items_appended_total "));
        line.and_then(|count| count.parse().ok()).ok_or(BenchError::Answer("the relay's metrics"))
    }

    fn metrics(&self) -> Result<String, BenchError> {
        let mut stream = TcpStream::connect(&self.admin)?;
        let host = &self.admin;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        if text.contains("tombolo_relay_sessions") { Ok(text) } else { Err(BenchError::Answer("the relay's metrics")) }
    }
}

/// A relay that was killed, and can be started again.
pub(crate) struct Killed {
    folder: PathBuf,
    listen: String,
    settings: Vec<String>,
}

impl Killed {
    /// Starts it on the same folder and port.
    pub(crate) fn start(self) -> Result<Relay, BenchError> {
        Relay::listen(&self.folder, &self.listen, self.settings)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself; whoever is waited for has been told to end.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

impl std::ops::Sub for Counted {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            received_bytes: self.received_bytes - before.received_bytes,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            stored_bytes: self.stored_bytes - before.stored_bytes,
            fan_out_bytes: self.fan_out_bytes - before.fan_out_bytes,
            frames_in: self.frames_in - before.frames_in,
            frames_out: self.frames_out - before.frames_out,
        }
    }
}
