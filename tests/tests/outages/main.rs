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
mod actors;
#[cfg(test)]
mod waiting;

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
