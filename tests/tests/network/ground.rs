//! Two namespaces with a bad link between them: devices in one, a relay's process in the other.
//!
//! A story runs in a process of its own, this very program started again in a namespace that has no network; so the
//! machine's own network is neither used nor changed, and what the story made ends with it.
//!
//! Invariant: without root, TUN devices or the tools that set them up, a story says so and is skipped; where
//! `TOMBOLO_ROOT_FAULTS` is `required`, it fails.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio_tun::Tun;
use tombolo::document::{Crdt, Value};
use tombolo::engine::RelayState;
use tombolo::protocol::record::Role;
use tombolo::{Document, Error, Milestone, Replica, Workspace};

use crate::link::Link;

/// Where the relay is.
const RELAY: &str = "10.77.0.2";
const DEVICES: &str = "10.77.0.1";
const PORT: u16 = 7440;
/// Says in which story a process is.
const STORY: &str = "TOMBOLO_STORY";
const SEED: u64 = 20_261_121;
/// Longest wait for anything that the link lets happen at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a story in a namespace of its own, or says why it can not.
pub(crate) fn alone(name: &str, story: impl AsyncFnOnce(Ground)) {
    if std::env::var(STORY).as_deref() == Ok(name) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(async { story(Ground::prepare().await).await });
    }
    if let Some(missing) = missing() {
        assert!(std::env::var("TOMBOLO_ROOT_FAULTS").as_deref() != Ok("required"), "{name}: {missing}");
        // Past the harness, which would keep it to itself.
        let said = format!("skipped: {name}: {missing}\n");
        return std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe().unwrap()).args([name, "--exact", "--nocapture"]);
    let ended = command.env(STORY, name).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    println!("{said}");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("1 passed"), "no story has this name");
}

/// Says what this machine lacks.
fn missing() -> Option<&'static str> {
    let works = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        let command = command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !works(&["unshare", "--net", "nsenter", "--version"]) {
        return Some("no network namespace can be made, this needs root, unshare and nsenter");
    }
    let tun = ["unshare", "--net", "ip", "tuntap", "add", "dev", "probe", "mode", "tun"];
    (!works(&tun)).then_some("no link can be made in a network namespace, this needs root, /dev/net/tun and iproute2")
}

/// How often a story does what it repeats.
pub(crate) fn rounds(usual: u32) -> u32 {
    std::env::var("TOMBOLO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in {PATIENCE:?}: {what}"))
}

/// What a story stands on.
pub(crate) struct Ground {
    pub(crate) link: Link,
    pub(crate) folder: TempDir,
    certificate: Vec<u8>,
    _relay: Process,
    _namespace: Process,
}

/// A child that is killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop((self.0.kill(), self.0.wait()));
    }
}

impl Ground {
    async fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let namespace = Process(far_namespace());
        let net = format!("--net=/proc/{}/ns/net", namespace.0.id());
        let [near, far] = ["near", "far"].map(|name| Tun::builder().name(name).build().unwrap().remove(0));
        run(&["ip", "link", "set", "far", "netns", &namespace.0.id().to_string()]);
        run(&["ip", "link", "set", "lo", "up"]);
        run(&["ip", "addr", "add", &format!("{DEVICES}/24"), "dev", "near"]);
        run(&["ip", "link", "set", "near", "up"]);
        run(&["nsenter", &net, "ip", "link", "set", "lo", "up"]);
        run(&["nsenter", &net, "ip", "addr", "add", &format!("{RELAY}/24"), "dev", "far"]);
        run(&["nsenter", &net, "ip", "link", "set", "far", "up"]);
        let link = Link::between(near, far, SEED);
        let (relay, certificate) = start_relay(&net, folder.path());
        Self { link, folder, certificate, _relay: relay, _namespace: namespace }
    }

    pub(crate) async fn replica(&self, name: &str) -> Replica {
        let builder = Replica::builder(self.folder.path().join(name)).trust_root(self.certificate.clone());
        builder.open().await.unwrap()
    }

    /// Two devices that write one document.
    pub(crate) async fn team(&self) -> Team {
        let (alice, bob) = (self.replica("alice").await, self.replica("bob").await);
        let workspace = alice.create_workspace("Bad weather").await.unwrap();
        let document = workspace.create_document(Crdt::Automerge).await.unwrap();
        alice.dial(&format!("wss://{RELAY}:{PORT}")).await.unwrap();
        soon("alice is in step", workspace.settled()).await.unwrap();
        let invite = workspace.invite(Role::Writer).create().await.unwrap();
        let theirs = bob.join(&invite.to_string()).await.unwrap();
        soon("bob is a member", theirs.ready()).await.unwrap();
        soon("bob is in step", theirs.settled()).await.unwrap();
        let bobs = bob.document(document.id());
        Team {
            alice: Device { replica: alice, workspace, document },
            bob: Device { replica: bob, workspace: theirs, document: bobs },
        }
    }

    /// Waits until all is at rest, and compares: both devices, and one that was never here before.
    pub(crate) async fn all_have(&self, team: &Team, numbers: &[i64]) {
        let mut expected = numbers.to_vec();
        expected.sort_unstable();
        for device in [&team.alice, &team.bob] {
            soon("it holds all", device.holds(&expected)).await;
            soon("it is in step", device.workspace.settled()).await.unwrap();
            assert_eq!(device.numbers().await, expected);
        }
        let newcomer = self.replica("newcomer").await;
        let invite = team.alice.workspace.invite(Role::Reader).create().await.unwrap();
        let workspace = newcomer.join(&invite.to_string()).await.unwrap();
        soon("a newcomer is a member", workspace.ready()).await.unwrap();
        let document = newcomer.document(team.alice.document.id());
        let newcomer = Device { replica: newcomer, workspace, document };
        soon("a newcomer is in step", newcomer.workspace.settled()).await.unwrap();
        assert_eq!(newcomer.numbers().await, expected);
    }
}

/// Two devices.
pub(crate) struct Team {
    pub(crate) alice: Device,
    pub(crate) bob: Device,
}

/// One device and what it works at.
pub(crate) struct Device {
    pub(crate) replica: Replica,
    pub(crate) workspace: Workspace,
    pub(crate) document: Document,
}

impl Device {
    pub(crate) async fn put(&self, number: i64) -> Result<(), Error> {
        self.document.edit(move |edit| edit.put(&number.to_string(), Value::I64(number))).await
    }

    pub(crate) async fn put_with_receipt(&self, number: i64) {
        self.put(number).await.unwrap();
        soon("a receipt", self.document.wait_for(Milestone::RelayDurable)).await.unwrap();
    }

    pub(crate) async fn numbers(&self) -> Vec<i64> {
        let keys = self.document.read(|view| view.keys()).await.unwrap_or_default();
        let mut numbers: Vec<i64> = keys.iter().filter_map(|key| key.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    async fn holds(&self, expected: &[i64]) {
        while self.numbers().await.len() < expected.len() {
            // waits: for what is on the link.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn is_online(&self) -> bool {
        self.replica.relays().await.unwrap().iter().any(|(_, state)| matches!(state, RelayState::Online { .. }))
    }

    pub(crate) async fn says_settled(&self) -> bool {
        self.workspace.sync_debt().await.unwrap().is_settled()
    }
}

/// Starts a process that does nothing in a namespace of its own, and waits until it is there.
fn far_namespace() -> Child {
    let child = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    while namespace(&child.id().to_string()) == namespace("self") {
        // waits: for another process to have done its first step.
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Starts a relay that ends TLS itself; returns it and its certificate.
fn start_relay(net: &str, folder: &Path) -> (Process, Vec<u8>) {
    let certificate = rcgen::generate_simple_self_signed([RELAY.to_owned()]).unwrap();
    let (cert, key, data) = (folder.join("cert.pem"), folder.join("key.pem"), folder.join("relay"));
    std::fs::write(&cert, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let mut command = Command::new("nsenter");
    command.args([net, env!("CARGO_BIN_EXE_actor"), "relay", "serve", "--admission", "open", "--data"]).arg(data);
    command.arg("--listen").arg(format!("{RELAY}:{PORT}")).args(["--admin-listen", "127.0.0.1:0"]);
    command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
    let mut relay = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(relay.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "the relay says {line:?}");
    // What else it says is of no interest, but it must be able to say it.
    std::thread::spawn(move || drop(std::io::copy(&mut lines, &mut std::io::sink())));
    (Process(relay), certificate.cert.der().to_vec())
}

fn run(words: &[&str]) {
    let ended = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(ended.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
}
