//! Stories of processes that are killed at random moments: a device that edits, and a relay that devices write to.
//!
//! What was acknowledged is logged by this process and never by the one that dies. `TOMBOLO_ROUNDS` says how many rounds
//! each story takes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tombolo::crypto::FileVault;
use tombolo::document::{Crdt, Value};
use tombolo::protocol::record::Role;
use tombolo::{Document, Durability, Error, Milestone, Replica, Store, SystemEntropy, Workspace};

/// Rounds of each story when nothing else is said.
const ROUNDS: usize = 20;
const SEED: u64 = 20_261_121;

#[cfg(test)]
mod actors {
    use super::*;

    pub(super) fn rounds() -> usize {
        std::env::var("TOMBOLO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
    }

    /// A child that is killed when it is dropped.
    pub(super) struct Actor(pub(super) Child);

    impl Actor {
        pub(super) fn start(words: &[&str]) -> Self {
            let mut command = Command::new(env!("CARGO_BIN_EXE_actor"));
            let command = command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            Self(command.spawn().unwrap())
        }

        pub(super) fn kill(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Actor {
        fn drop(&mut self) {
            // It may have ended by itself.
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    /// A small random number generator: the same seed, the same moments.
    pub(super) struct Dice(pub(super) u64);

    impl Dice {
        pub(super) fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// Lets a device edit, kills it, and returns how many edits were acknowledged, and whether one was under way.
    pub(super) fn edit_until_killed(path: &Path, durability: &str, dice: &mut Dice) -> (Vec<i64>, bool) {
        let mut actor = Actor::start(&["edit", path.to_str().unwrap(), durability]);
        let mut lines = BufReader::new(actor.0.stdout.take().unwrap());
        let mut log = String::new();
        while !log.contains("done") {
            assert!(lines.read_line(&mut log).unwrap() > 0, "the device ended before its first edit: {log}");
        }
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            lines.read_to_string(&mut rest).map(|_| rest)
        });
        // waits: the moment of the kill is what the dice choose.
        std::thread::sleep(Duration::from_micros(dice.below(60_000)));
        actor.kill();
        log.push_str(&rest.join().unwrap().unwrap());
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let done = whole.lines().filter_map(|line| line.strip_prefix("done ")?.parse().ok()).collect();
        (done, whole.lines().last().is_some_and(|line| line.starts_with("begin")))
    }

    pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(40), future).await.unwrap_or_else(|_| panic!("not in 40 s: {what}"))
    }

    pub(super) async fn numbers(document: &Document) -> Vec<i64> {
        let mut numbers: Vec<i64> =
            document.read(|view| view.keys()).await.unwrap().iter().map(|key| key.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// What a replica that was never here before finds at the relay.
    pub(super) async fn read_by_a_newcomer(workspace: &Workspace, path: &Path, document: &Document) -> Vec<i64> {
        let newcomer = Replica::open(path).await.unwrap();
        let invite = soon("an invite", workspace.invite(Role::Reader).create()).await.unwrap();
        let theirs = newcomer.join(&invite.to_string()).await.unwrap();
        soon("a newcomer is a member", theirs.ready()).await.unwrap();
        soon("a newcomer is in step", theirs.settled()).await.unwrap();
        let held = numbers(&newcomer.document(document.id())).await;
        newcomer.close().await.unwrap();
        held
    }

    pub(super) fn assert_sound(path: &Path) {
        let vault = FileVault::new(format!("{}.key", path.display()));
        let store = Store::open(path, &vault, Durability::Power, &mut SystemEntropy::new()).unwrap();
        let report = store.integrity().unwrap();
        assert!(report.is_sound(), "{report:?}");
    }

    /// Starts a relay process on a fixed port and waits until it listens.
    pub(super) fn start_relay(data: &Path, port: u16) -> Actor {
        let listen = format!("127.0.0.1:{port}");
        let data = data.to_str().unwrap();
        let words = ["relay", "serve", "--data", data, "--listen", &listen, "--admin-listen", "127.0.0.1:0"];
        let mut actor = Actor::start(&words);
        let mut lines = BufReader::new(actor.0.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "the relay says {line:?}");
        // What else it says is of no interest, but it must be able to say it.
        std::thread::spawn(move || drop(std::io::copy(&mut lines, &mut std::io::sink())));
        actor
    }

    pub(super) fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Writes until it is told to stop, and logs what was acknowledged with a receipt.
    pub(super) async fn write_with_receipts(document: Document, offset: i64, bench: Arc<Bench>) -> Result<(), Error> {
        for number in (offset..).step_by(2) {
            if bench.stopped.load(Ordering::SeqCst) > 0 {
                break;
            }
            document.edit(move |edit| edit.put(&number.to_string(), Value::I64(number))).await?;
            bench.waiting.fetch_add(1, Ordering::SeqCst);
            soon("a receipt", document.wait_for(Milestone::RelayDurable)).await?;
            bench.waiting.fetch_sub(1, Ordering::SeqCst);
            bench.receipted.lock().unwrap().push(number);
        }
        Ok(())
    }

    /// What the story and its writers share.
    #[derive(Default)]
    pub(super) struct Bench {
        pub(super) stopped: AtomicUsize,
        pub(super) waiting: AtomicUsize,
        pub(super) receipted: Mutex<Vec<i64>>,
    }
}

use actors::{
    Bench, Dice, assert_sound, edit_until_killed, free_port, numbers, read_by_a_newcomer, rounds, soon, start_relay,
    write_with_receipts,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_killed_while_it_edits_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device");
    let (mut dice, mut acknowledged, mut inside) = (Dice(SEED), Vec::new(), 0);
    for round in 0..rounds() {
        let durability = if round % 2 == 0 { "power" } else { "process" };
        let (done, open) = edit_until_killed(&path, durability, &mut dice);
        acknowledged.extend(done);
        inside += usize::from(open);
        assert_sound(&path);
        let replica = Replica::open(&path).await.unwrap();
        let workspace = replica.workspace(replica.workspaces().await.unwrap()[0].id);
        let document = replica.document(workspace.documents().await.unwrap()[0].id);
        let held = numbers(&document).await;
        assert_eq!(held, (0..held.len() as i64).collect::<Vec<_>>(), "round {round}: a gap");
        assert!(acknowledged.iter().all(|number| held.binary_search(number).is_ok()), "round {round}, seed {SEED}");
        replica.close().await.unwrap();
    }
    assert!(
        acknowledged.len() >= rounds() && inside * 10 >= rounds() * 3,
        "{inside} of {} kills inside an edit",
        rounds()
    );
    println!("{} kills of a device, {inside} inside an edit: {} acknowledged, 0 lost", rounds(), acknowledged.len());
    let port = free_port();
    let relay = start_relay(&folder.path().join("relay"), port);
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.workspace(replica.workspaces().await.unwrap()[0].id);
    let document = replica.document(workspace.documents().await.unwrap()[0].id);
    replica.dial(&format!("ws://127.0.0.1:{port}")).await.unwrap();
    soon("the killed device is in step", workspace.settled()).await.unwrap();
    let held = numbers(&document).await;
    assert_eq!(read_by_a_newcomer(&workspace, &folder.path().join("newcomer"), &document).await, held);
    replica.close().await.unwrap();
    drop(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_while_devices_write_loses_nothing_that_has_a_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let (data, port) = (folder.path().join("relay"), free_port());
    let mut relay = start_relay(&data, port);
    let alice = Replica::open(folder.path().join("alice")).await.unwrap();
    let bob = Replica::open(folder.path().join("bob")).await.unwrap();
    let workspace = alice.create_workspace("Killed relay").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    alice.dial(&format!("ws://127.0.0.1:{port}")).await.unwrap();
    soon("in step", workspace.settled()).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap();
    let theirs = bob.join(&invite.to_string()).await.unwrap();
    soon("a member", theirs.ready()).await.unwrap();
    soon("bob is in step", theirs.settled()).await.unwrap();
    let bench = Arc::new(Bench::default());
    let writers = [(document.clone(), 0), (bob.document(document.id()), 1)]
        .map(|(document, offset)| tokio::spawn(write_with_receipts(document, offset, Arc::clone(&bench))));
    let (mut dice, mut inside) = (Dice(SEED), 0);
    for _ in 0..rounds() {
        // waits: the moment of the kill is what the dice choose.
        tokio::time::sleep(Duration::from_micros(20_000 + dice.below(150_000))).await;
        inside += usize::from(bench.waiting.load(Ordering::SeqCst) > 0);
        relay.kill();
        relay = start_relay(&data, port);
        alice.notify_network().await.unwrap();
        bob.notify_network().await.unwrap();
    }
    bench.stopped.store(1, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert!(inside * 10 >= rounds() * 3, "{inside} of {} kills with a receipt outstanding", rounds());
    soon("alice is in step", workspace.settled()).await.unwrap();
    soon("bob is in step", theirs.settled()).await.unwrap();
    let cold = read_by_a_newcomer(&workspace, &folder.path().join("newcomer"), &document).await;
    let receipted = bench.receipted.lock().unwrap().clone();
    assert!(receipted.len() > rounds(), "{}", receipted.len());
    assert!(receipted.iter().all(|number| cold.binary_search(number).is_ok()), "seed {SEED}");
    assert_eq!(numbers(&document).await, cold);
    println!("{} kills of a relay, {inside} inside a commit: {} receipts, 0 lost", rounds(), receipted.len());
    assert_eq!(numbers(&bob.document(document.id())).await, cold);
    alice.close().await.unwrap();
    bob.close().await.unwrap();
    for device in ["alice", "bob"] {
        assert_sound(&folder.path().join(device));
    }
}
