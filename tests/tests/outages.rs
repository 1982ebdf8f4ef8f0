//! Stories of disks that fail under load: the power goes, nothing fits any more, reads, writes and syncs fail now and then.
//!
//! Devices and relays run whole, with their threads and sockets, on a disk of `tombolo-disk`; what was acknowledged is
//! kept in memory, apart from it. `TOMBOLO_ROUNDS` says how many rounds each story takes.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tombolo::crypto::FileVault;
use tombolo::document::{Crdt, Value};
use tombolo::protocol::record::Role;
use tombolo::{Document, Durability, Error, Milestone, Replica, Store, StoreError, SystemEntropy, Workspace};
use tombolo_disk::{Disk, Fault, Lost, Operation};

/// Rounds of each story when nothing else is said.
const ROUNDS: u64 = 8;
/// How long a device whose power may go any moment is waited for.
const RECEIPT_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod actors {
    use super::*;

    pub(super) fn rounds() -> u64 {
        std::env::var("TOMBOLO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
    }

    /// A number that a seed decides.
    pub(super) fn draw(seed: u64, below: u64) -> u64 {
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % below.max(1)
    }

    pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("not in 60 s: {what}"))
    }

    pub(super) async fn put(document: &Document, number: i64) -> Result<(), Error> {
        document.edit(move |edit| edit.put(&number.to_string(), Value::I64(number))).await
    }

    pub(super) async fn numbers(document: &Document) -> Result<Vec<i64>, Error> {
        let keys = document.read(|view| view.keys()).await?;
        let mut numbers: Vec<i64> = keys.iter().map(|key| key.parse().unwrap()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Starts again once everything that ran has let go of its files.
    pub(super) async fn reboot(disk: &Disk) -> Lost {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match disk.reboot() {
                Ok(lost) => return lost,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            // waits: an engine's thread lets go of its store after the last handle.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn assert_sound(path: &Path) {
        let vault = FileVault::new(format!("{}.key", path.display()));
        let store = Store::open(path, &vault, Durability::Power, &mut SystemEntropy::new()).unwrap();
        let report = store.integrity().unwrap();
        assert!(report.is_sound(), "{report:?}");
    }

    /// What disks say, and nothing that only a damaged store says.
    pub(super) fn is_of_the_disk(error: &Error) -> bool {
        let Error::Store(error) = error else { return matches!(error, Error::Closed) };
        matches!(error, StoreError::DiskFull | StoreError::Sqlite(_) | StoreError::Io(_) | StoreError::ReadOnly { .. })
    }

    pub(super) async fn the_document(replica: &Replica) -> Document {
        let workspace = replica.workspace(replica.workspaces().await.unwrap()[0].id);
        replica.document(workspace.documents().await.unwrap()[0].id)
    }

    /// Edits in several tasks until the disk fails; returns what was acknowledged.
    pub(super) async fn edit_until_it_fails(document: &Document, from: i64) -> Vec<i64> {
        let writers: Vec<_> = (0..3)
            .map(|nth| {
                let document = document.clone();
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for number in (from + nth..).step_by(3) {
                        match put(&document, number).await {
                            Ok(()) => acknowledged.push(number),
                            Err(error) => {
                                assert!(is_of_the_disk(&error), "{error:?}");
                                return acknowledged;
                            }
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(soon("the disk fails", writer).await.unwrap());
        }
        acknowledged
    }

    /// Lets a future go as far as it gets at once.
    pub(super) async fn asked<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
    }

    /// A relay of this process on a folder.
    pub(super) struct Relay {
        end: tokio::sync::oneshot::Sender<()>,
        serving: tombolo_relay::Serving,
    }

    impl Relay {
        pub(super) async fn start(folder: &Path, port: u16) -> Self {
            let mut config = tombolo_relay::Config::on_loopback(folder).unwrap();
            config.listen.set_port(port);
            let (end, ended) = tokio::sync::oneshot::channel::<()>();
            let serving = tombolo_relay::serve(config, async { drop(ended.await) }).await.unwrap();
            Self { end, serving }
        }

        pub(super) fn port(&self) -> u16 {
            self.serving.address.port()
        }

        pub(super) async fn stop(self) {
            self.end.send(()).unwrap();
            soon("the relay has ended", self.serving.finished()).await;
        }
    }

    /// Writes until it is told to stop; returns what has a receipt.
    pub(super) async fn write_with_receipts(document: Document, from: i64, stop: Arc<AtomicBool>) -> Vec<i64> {
        let mut receipted = Vec::new();
        for number in (from..).step_by(2) {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            put(&document, number).await.unwrap();
            soon("a receipt", document.wait_for(Milestone::RelayDurable)).await.unwrap();
            receipted.push(number);
        }
        receipted
    }

    /// What a replica that was never here before finds at the relay.
    pub(super) async fn read_by_a_newcomer(workspace: &Workspace, path: &Path, document: &Document) -> Vec<i64> {
        let newcomer = Replica::open(path).await.unwrap();
        let invite = soon("an invite", workspace.invite(Role::Reader).create()).await.unwrap();
        let theirs = newcomer.join(&invite.to_string()).await.unwrap();
        soon("a newcomer is a member", theirs.ready()).await.unwrap();
        soon("a newcomer is in step", theirs.settled()).await.unwrap();
        let held = numbers(&newcomer.document(document.id())).await.unwrap();
        newcomer.close().await.unwrap();
        held
    }
}

use actors::{
    Relay, asked, assert_sound, draw, edit_until_it_fails, is_of_the_disk, numbers, put, read_by_a_newcomer, reboot,
    rounds, soon, the_document, write_with_receipts,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_power_is_cut_while_it_edits_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = (folder.path().join("device"), Disk::mount(folder.path()).unwrap());
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.create_workspace("Outages").await.unwrap();
    workspace.create_document(Crdt::Automerge).await.unwrap();
    replica.close().await.unwrap();
    let (mut acknowledged, mut next, mut cost) = (Vec::new(), 0, 0);
    for round in 0..rounds() {
        let replica = Replica::open(&path).await.unwrap();
        let document = the_document(&replica).await;
        disk.fail(Fault::CutAt { operation: disk.operations() + 30 + draw(round, 700), seed: round });
        let done = edit_until_it_fails(&document, next).await;
        next = done.iter().max().map_or(next, |last| last + 9);
        acknowledged.extend(done);
        // Closing fails, for there is no power.
        drop((replica.close().await, replica, document));
        let lost = reboot(&disk).await;
        cost += lost.dropped + lost.torn;
        assert_sound(&path);
        let replica = Replica::open(&path).await.unwrap();
        let held = numbers(&the_document(&replica).await).await.unwrap();
        let gone: Vec<_> = acknowledged.iter().filter(|number| held.binary_search(number).is_err()).collect();
        assert!(gone.is_empty(), "round {round} lost {gone:?}");
        replica.close().await.unwrap();
    }
    println!(
        "{} power cuts of a device: {} edits acknowledged, 0 lost; {cost} writes were",
        rounds(),
        acknowledged.len()
    );
    assert!(acknowledged.len() as u64 > rounds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_survives_processes_only_loses_edits_to_a_power_cut_and_never_what_has_left_it() {
    let (at, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let relay = Relay::start(&at.path().join("relay"), 0).await;
    let (path, disk) = (folder.path().join("device"), Disk::mount(folder.path()).unwrap());
    let open = || Replica::builder(&path).durability(Durability::Process).open();
    let replica = open().await.unwrap();
    let workspace = replica.create_workspace("Outages").await.unwrap().id();
    let document = replica.workspace(workspace).create_document(Crdt::Automerge).await.unwrap().id();
    replica.dial(&format!("ws://127.0.0.1:{}", relay.port())).await.unwrap();
    soon("in step", replica.workspace(workspace).settled()).await.unwrap();
    replica.close().await.unwrap();
    let (mut receipted, mut next) = (Vec::new(), 0);
    for round in 0..rounds() {
        let replica = open().await.unwrap();
        disk.fail(Fault::CutAt { operation: disk.operations() + 60 + draw(round, 500), seed: round });
        let note = replica.document(document);
        while put(&note, next).await.is_ok() {
            // A receipt that has not come by then is none.
            let receipt = note.wait_for(Milestone::RelayDurable);
            if next % 3 == 0 && matches!(tokio::time::timeout(RECEIPT_MAX, receipt).await, Ok(Ok(()))) {
                receipted.push(next);
            }
            next += 1;
        }
        drop((replica.close().await, replica, note));
        reboot(&disk).await;
        assert_sound(&path);
    }
    let replica = open().await.unwrap();
    soon("in step", replica.workspace(workspace).settled()).await.unwrap();
    assert!(replica.alarms().await.unwrap().is_empty(), "it met entries of its own that it did not know");
    let held = numbers(&replica.document(document)).await.unwrap();
    assert!(receipted.iter().all(|number| held.binary_search(number).is_ok()));
    let workspace = replica.workspace(workspace);
    let cold = read_by_a_newcomer(&workspace, &at.path().join("newcomer"), &replica.document(document)).await;
    assert_eq!(cold, held);
    println!("{} power cuts of a device that syncs what leaves it: {} receipts, 0 lost", rounds(), receipted.len());
    replica.close().await.unwrap();
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_disk_fails_now_and_then_says_so_and_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = (folder.path().join("device"), Disk::mount(folder.path()).unwrap());
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.create_workspace("Outages").await.unwrap();
    workspace.create_document(Crdt::Automerge).await.unwrap();
    let (document, mut acknowledged, mut refused) = (the_document(&replica).await, Vec::new(), 0);
    for round in 0..rounds() {
        let (one_in, seed) = (5 + draw(round, 60), round);
        disk.fail(match round % 4 {
            0 => Fault::ErrorRate { of: Operation::Write, one_in, seed },
            1 => Fault::ErrorRate { of: Operation::Sync, one_in, seed },
            2 => Fault::ErrorRate { of: Operation::Read, one_in, seed },
            _ => Fault::Full { bytes: draw(round, 40_000) },
        });
        for number in (round as i64 * 1000)..(round as i64 * 1000 + 60) {
            match put(&document, number).await {
                Ok(()) => acknowledged.push(number),
                Err(error) => {
                    assert!(is_of_the_disk(&error), "{error:?}");
                    refused += 1;
                }
            }
        }
        disk.mend();
        put(&document, round as i64 * 1000 + 999).await.unwrap();
        acknowledged.push(round as i64 * 1000 + 999);
        let held = numbers(&document).await.unwrap();
        assert!(acknowledged.iter().all(|number| held.binary_search(number).is_ok()), "round {round}");
    }
    println!("{} rounds of a failing disk: {} acknowledged, {refused} refused, 0 lost", rounds(), acknowledged.len());
    disk.power_cut(1);
    drop((replica.close().await, replica, document, workspace));
    reboot(&disk).await;
    assert_sound(&path);
    let replica = Replica::open(&path).await.unwrap();
    let held = numbers(&the_document(&replica).await).await.unwrap();
    assert!(acknowledged.iter().all(|number| held.binary_search(number).is_ok()) && refused > 0);
    replica.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_power_is_cut_or_whose_disk_fails_loses_nothing_that_has_a_receipt() {
    let (folder, at) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = at.path().join("relay");
    std::fs::create_dir(&data).unwrap();
    let disk = Disk::mount(&data).unwrap();
    let mut relay = Relay::start(&data, 0).await;
    let port = relay.port();
    let alice = Replica::open(folder.path().join("alice")).await.unwrap();
    let bob = Replica::open(folder.path().join("bob")).await.unwrap();
    let workspace = alice.create_workspace("Outages").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    alice.dial(&format!("ws://127.0.0.1:{port}")).await.unwrap();
    soon("in step", workspace.settled()).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap();
    let theirs = bob.join(&invite.to_string()).await.unwrap();
    soon("a member", theirs.ready()).await.unwrap();
    soon("bob is in step", theirs.settled()).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [(document.clone(), 0), (bob.document(document.id()), 1)]
        .map(|(document, from)| tokio::spawn(write_with_receipts(document, from, Arc::clone(&stop))));
    let (mut cost, mut cuts) = (0, 0);
    for round in 0..rounds() {
        let (one_in, seed) = (3 + draw(round, 20), round);
        match round % 8 {
            5 => disk.fail(Fault::Full { bytes: draw(round, 9_000) }),
            6 => disk.fail(Fault::ErrorRate { of: Operation::Write, one_in, seed }),
            7 => disk.fail(Fault::ErrorRate { of: Operation::Sync, one_in, seed }),
            _ => disk.fail(Fault::CutAt { operation: disk.operations() + 5 + draw(round, 300), seed }),
        }
        let until = Instant::now() + Duration::from_millis(120 + draw(round, 100));
        while !disk.is_cut() && Instant::now() < until {
            // waits: for the fault to happen under load.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        disk.mend();
        disk.power_cut(round);
        cuts += 1;
        relay.stop().await;
        let lost = reboot(&disk).await;
        cost += lost.dropped + lost.torn;
        relay = Relay::start(&data, port).await;
        alice.notify_network().await.unwrap();
        bob.notify_network().await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let mut receipted = Vec::new();
    for writer in writers {
        receipted.extend(writer.await.unwrap());
    }
    soon("alice is in step", workspace.settled()).await.unwrap();
    soon("bob is in step", theirs.settled()).await.unwrap();
    let cold = read_by_a_newcomer(&workspace, &folder.path().join("newcomer"), &document).await;
    assert!(receipted.iter().all(|number| cold.binary_search(number).is_ok()));
    assert_eq!(numbers(&document).await.unwrap(), cold);
    println!("{cuts} power cuts of a relay: {} receipts, 0 lost; {cost} writes were", receipted.len());
    assert!(receipted.len() as u64 > rounds());
    alice.close().await.unwrap();
    bob.close().await.unwrap();
    relay.stop().await;
}

/// Found by `a_device_that_survives_processes_only…`, which waited for ever now and then.
#[tokio::test]
async fn whoever_waits_for_a_receipt_when_the_disk_fails_is_told_so_and_never_that_it_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path()).unwrap();
    let replica = Replica::open(folder.path().join("device")).await.unwrap();
    let workspace = replica.create_workspace("Outages").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    put(&document, 1).await.unwrap();
    // The engine has heard of the wait; whoever waits is not awake meanwhile.
    let mut waits = std::pin::pin!(document.wait_for(Milestone::RelayDurable));
    assert!(asked(waits.as_mut()).await.is_pending());
    put(&document, 2).await.unwrap();
    disk.fail(Fault::ErrorAfter { of: Operation::Write, others: 0 });
    assert!(is_of_the_disk(&put(&document, 3).await.unwrap_err()));
    put(&document, 4).await.unwrap();
    let mut local = std::pin::pin!(document.wait_for(Milestone::Local));
    // The engine may answer this one before the question returns.
    let at_once = asked(local.as_mut()).await;
    put(&document, 5).await.unwrap();
    let told = soon("an answer", waits).await;
    assert!(matches!(&told, Err(error) if is_of_the_disk(error)), "no relay was ever reached: {told:?}");
    let local = if let Poll::Ready(answer) = at_once { answer } else { soon("an answer", local).await };
    local.expect("what is local is local");
    replica.close().await.unwrap();
}
