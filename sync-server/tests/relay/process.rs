//! The relay as a process of its own, to be killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

pub(crate) struct RelayProcess {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl RelayProcess {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub(crate) fn start_with(data: &Path, args: &[&str]) -> Self {
        let mut child = command()
            .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data"])
            .arg(data)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // From here on the child is ended whatever happens.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut relay = Self { child, address: nowhere, metrics: nowhere };
        relay.read_announcement(lines.map(Result::unwrap));
        relay
    }

    fn read_announcement(&mut self, mut lines: impl Iterator<Item = String>) {
        let mut line = || lines.next().expect("the relay ended at once");
        let listening = line();
        let address = listening.strip_prefix("listening on ws://").or(listening.strip_prefix("listening on wss://"));
        self.address = address.unwrap().parse().unwrap();
        assert!(line().starts_with("relay "));
        let metrics = line();
        let metrics = metrics.strip_prefix("metrics on http://").unwrap();
        self.metrics = metrics.strip_suffix("/metrics").unwrap().parse().unwrap();
    }

    /// SIGKILL, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits until so many sessions are left.
    pub(crate) async fn wait_for_sessions(&self, count: u32) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while (self.metric("tombolo_relay_sessions") - f64::from(count)).abs() > 0.5 {
            assert!(std::time::Instant::now() < deadline, "the sessions do not end");
            // waits: between two looks at the metrics.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The value of one line of the metrics.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = http_get(self.metrics, "/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo-relay"));
    command.env_clear();
    command
}

/// Status and body of a plain request.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}
