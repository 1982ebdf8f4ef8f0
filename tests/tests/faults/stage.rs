//! Processes that a story starts, what they say, and a relay among them.
//!
//! Invariant: each process ends with the value that stands for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tombolo::document::{Crdt, Value};
use tombolo::protocol::record::Role;
use tombolo::{Document, Milestone, Replica, SetAsideReason, Workspace};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// What every process of a story runs.
pub(crate) const ACTOR: &str = env!("CARGO_BIN_EXE_actor");

pub(crate) fn rounds(usual: i64) -> i64 {
    std::env::var("TOMBOLO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in {PATIENCE:?}: {what}"))
}

/// A process, killed when it is dropped, and the lines that it says.
pub(crate) struct Actor {
    child: Child,
    lines: Receiver<String>,
}

impl Actor {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (say, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, lines }
    }

    /// Waits until it says something that begins like this, and returns the rest of the line.
    pub(crate) fn says(&self, beginning: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never {beginning:?}, but {heard:?}"));
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim().to_owned();
            }
            heard.push(line);
        }
    }

    /// Lets it go on: it waits for a line.
    pub(crate) fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until it has ended by itself, and well.
    pub(crate) fn ends(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop((self.child.kill(), self.child.wait()));
    }
}

/// A relay's process.
pub(crate) struct Relay {
    actor: Actor,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl Relay {
    /// Starts a relay by a command that ends with the actor's name.
    pub(crate) fn start(mut command: Command, data: &Path, port: u16) -> Self {
        command.args(["relay", "serve", "--admin-listen", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
        let actor = Actor::start(command.arg("--data").arg(data));
        let address = actor.says("listening on ws://").parse().unwrap();
        let admin = actor.says("metrics on http://");
        Self { actor, address, admin: admin.trim_end_matches("/metrics").parse().unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.actor.child.id()
    }

    /// Returns one of its counters.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = http_get(self.admin, "/metrics").expect("the relay's metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }
}

/// Asks for a page; `None` if nobody answers in two seconds.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

pub(crate) fn is_ready(address: SocketAddr) -> bool {
    http_get(address, "/readyz").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A device of this process: the one whose clock is right and whose files are enough.
pub(crate) struct Device {
    pub(crate) replica: Replica,
    pub(crate) workspace: Workspace,
    pub(crate) document: Document,
}

impl Device {
    /// Founds a workspace with a document, and brings it to a relay.
    pub(crate) async fn found(path: &Path, relay: &Relay) -> Self {
        let replica = Replica::open(path).await.unwrap();
        let workspace = replica.create_workspace("Faults").await.unwrap();
        let document = workspace.create_document(Crdt::Automerge).await.unwrap();
        replica.dial(&relay.url()).await.unwrap();
        soon("the founder is in step", workspace.settled()).await.unwrap();
        Self { replica, workspace, document }
    }

    /// Joins as a new device of a new user.
    pub(crate) async fn join(&self, path: &Path) -> Self {
        let replica = Replica::open(path).await.unwrap();
        let invite = soon("an invite", self.workspace.invite(Role::Writer).create()).await.unwrap();
        let workspace = replica.join(&invite.to_string()).await.unwrap();
        soon("a member", workspace.ready()).await.unwrap();
        soon("a member is in step", workspace.settled()).await.unwrap();
        let document = replica.document(self.document.id());
        Self { replica, workspace, document }
    }

    pub(crate) async fn put(&self, number: i64) {
        self.document.edit(move |edit| edit.put(&number.to_string(), Value::I64(number))).await.unwrap();
    }

    pub(crate) async fn put_with_receipt(&self, number: i64) {
        self.put(number).await;
        soon("a receipt", self.document.wait_for(Milestone::RelayDurable)).await.unwrap();
    }

    /// Waits until it has so many numbers and is in step; returns them.
    pub(crate) async fn numbers(&self, count: usize) -> Vec<i64> {
        let all = async {
            loop {
                let keys = self.document.read(|view| view.keys()).await.unwrap_or_default();
                if keys.len() >= count {
                    return keys;
                }
                // waits: for others' processes.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let keys = soon("all numbers", all).await;
        soon("in step", self.workspace.settled()).await.unwrap();
        let mut numbers: Vec<i64> = keys.iter().map(|key| key.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Asserts that nobody was accused of anything.
    pub(crate) async fn accuses_nobody(&self) {
        assert_eq!(self.replica.alarms().await.unwrap(), []);
        assert_eq!(self.workspace.relay_evidence().await.unwrap(), []);
        assert_eq!(self.workspace.sync_debt().await.unwrap().set_aside, []);
        // To be given something twice is nobody's fault.
        let is_fault = |(reason, count): &(SetAsideReason, u64)| *count > 0 && *reason != SetAsideReason::Duplicate;
        let counted: Vec<_> = self.replica.counters().await.unwrap().iter().filter(is_fault).collect();
        assert_eq!(counted, []);
    }
}

/// What an actor says of the numbers it holds.
pub(crate) fn parsed(numbers: &str) -> Vec<i64> {
    numbers.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().unwrap()).collect()
}
