//! Disks that are full, and folders that can not be written.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tombolo::document::{Crdt, Value};
use tombolo::protocol::record::Role;
use tombolo::{Document, Error, Milestone, Replica, StoreError};

use crate::support::{beside, founded, noted, open_file, open_store, relay, soon, text, write};

const DISK_BYTES: usize = 3 << 20;
/// More than half, so that what was written beside it can be moved into the file once it is gone.
const BALLAST_BYTES: usize = 7 << 18;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_on_a_full_disk_is_refused_and_nothing_acknowledged_is_lost() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let path = disk.0.join("store");
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.create_workspace("Logbook").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let mut acknowledged = 0;
    let refused = loop {
        match put(&document, acknowledged).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Store(StoreError::DiskFull)), "{refused:?}");
    assert!(refused.to_string().contains("free some space"), "{refused}");
    assert!(acknowledged > 10, "{acknowledged}");
    for _ in 0..3 {
        assert_eq!(keys(&document).await, acknowledged);
        assert!(matches!(put(&document, acknowledged).await, Err(Error::Store(StoreError::DiskFull))));
    }
    fs::remove_file(&ballast).unwrap();
    put(&document, acknowledged).await.unwrap();
    replica.close().await.unwrap();
    assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
    let replica = Replica::open(&path).await.unwrap();
    assert_eq!(keys(&replica.document(document.id())).await, acknowledged + 1);
    replica.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_on_a_full_disk_folds_nothing_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let path = disk.0.join("store");
    let replica = Replica::open(&path).await.unwrap();
    let note = noted(&replica.create_workspace("Logbook").await.unwrap(), Crdt::Yrs, "end").await;
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let mut acknowledged = 0;
    while write(&note, "x").await.is_ok() {
        acknowledged += 1;
    }
    // Enough that it would fold them, and too few that it had.
    assert!((100..1_000).contains(&acknowledged), "{acknowledged}");
    // Writing back what is there may need room as well.
    let closed = replica.close().await;
    assert!(matches!(closed, Ok(()) | Err(Error::Store(StoreError::DiskFull))), "{closed:?}");
    fs::remove_file(&ballast).unwrap();
    let rows: i64 = open_file(&path).query_row("SELECT count(*) FROM pending", [], |row| row.get(0)).unwrap();
    assert!(rows > acknowledged, "{rows} {acknowledged}");
    let replica = Replica::open(&path).await.unwrap();
    let written = text(&replica.document(note.id())).await.unwrap();
    assert_eq!(written, format!("{}end", "x".repeat(acknowledged as usize)));
    replica.close().await.unwrap();
    assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opens_for_reading_on_a_full_disk_and_writes_again_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let path = disk.0.join("store");
    let elsewhere = tempfile::tempdir().unwrap();
    let address = relay(elsewhere.path()).await;
    let (alice, workspace) = founded(&elsewhere.path().join("alice"), &address).await;
    let bob = Replica::open(&path).await.unwrap();
    let invite = workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let theirs = bob.join(&invite).await.unwrap();
    soon("a member", theirs.ready()).await.unwrap();
    let note = noted(&workspace, Crdt::Automerge, "Calm sea.").await;
    soon("durable", note.wait_for(Milestone::RelayDurable)).await.unwrap();
    // Seen, and never opened: what alice wrote was not looked into yet.
    soon("seen", note.seen_by(bob.identity().await.unwrap().0)).await.unwrap();
    bob.close().await.unwrap();
    let ballast = disk.0.join("ballast");
    let mut full = fs::File::create(&ballast).unwrap();
    while full.write_all(&[1; 512]).is_ok() {}
    for _ in 0..2 {
        let bob = Replica::open(&path).await.unwrap();
        let copy = bob.document(note.id());
        for _ in 0..3 {
            assert_eq!(text(&copy).await.unwrap(), "Calm sea.");
            let (wrote, read) = tokio::join!(write(&copy, "Storm. "), text(&copy));
            assert!(matches!(wrote, Err(Error::Store(StoreError::DiskFull))), "{wrote:?}");
            assert_eq!(read.unwrap(), "Calm sea.");
        }
        let made = bob.create_workspace("No room").await;
        assert!(matches!(made, Err(Error::Store(StoreError::DiskFull))), "{made:?}");
        bob.close().await.unwrap();
    }
    let bob = Replica::open(&path).await.unwrap();
    let copy = bob.document(note.id());
    assert!(matches!(write(&copy, "Storm. ").await, Err(Error::Store(StoreError::DiskFull))));
    drop(full);
    fs::remove_file(&ballast).unwrap();
    write(&copy, "Storm. ").await.unwrap();
    assert_eq!(text(&copy).await.unwrap(), "Storm. Calm sea.");
    bob.notify_network().await.unwrap();
    soon("durable", copy.wait_for(Milestone::RelayDurable)).await.unwrap();
    bob.close().await.unwrap();
    let store = open_store(&path).unwrap();
    assert!(!store.fresh_incarnation() && !store.is_full());
    assert!(store.integrity().unwrap().is_sound());
    alice.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_a_full_disk_is_told_from_the_original_before_it_writes() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let (path, copy) = (disk.0.join("store"), disk.0.join("copy"));
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.create_workspace("Logbook").await.unwrap();
    let note = noted(&workspace, Crdt::Yrs, "Calm sea.").await;
    replica.close().await.unwrap();
    for ending in ["", ".key", ".lock"] {
        fs::copy(beside(&path, ending), beside(&copy, ending)).unwrap();
    }
    let ballast = disk.0.join("ballast");
    let mut full = fs::File::create(&ballast).unwrap();
    while full.write_all(&[1; 512]).is_ok() {}
    let store = open_store(&copy).unwrap();
    assert!(store.is_full() && store.fresh_incarnation());
    drop(store);
    let replica = Replica::open(&copy).await.unwrap();
    assert_eq!(text(&replica.document(note.id())).await.unwrap(), "Calm sea.");
    drop(full);
    fs::remove_file(&ballast).unwrap();
    write(&replica.document(note.id()), "Storm. ").await.unwrap();
    replica.close().await.unwrap();
    assert!(!open_store(&copy).unwrap().fresh_incarnation(), "it has begun a life of its own");
    assert!(!open_store(&path).unwrap().fresh_incarnation());
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_that_share_a_commit_on_a_full_disk_are_each_told_so() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let replica = Replica::open(disk.0.join("store")).await.unwrap();
    let workspace = replica.create_workspace("Logbook").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    let edits: Vec<_> = (0..400)
        .map(|number| {
            let document = document.clone();
            tokio::spawn(async move { put(&document, number).await.map(|()| number) })
        })
        .collect();
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for edit in edits {
        match edit.await.unwrap() {
            Ok(number) => acknowledged.push(number),
            Err(Error::Store(StoreError::DiskFull)) => refused += 1,
            Err(other) => panic!("an edit on a full disk was told: {other:?}"),
        }
    }
    assert!(refused > 0);
    let held = document.read(|view| view.keys()).await.unwrap();
    for number in &acknowledged {
        assert!(held.contains(&number.to_string()), "{number} was acknowledged");
    }
    assert_eq!(held.len(), acknowledged.len(), "what was refused is not shown");
}

#[tokio::test]
async fn a_store_in_a_folder_that_can_not_be_written_is_refused_and_opens_once_it_can() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let path = disk.0.join("store");
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.create_workspace("Logbook").await.unwrap();
    let document = noted(&workspace, Crdt::Yrs, "Calm sea.").await;
    replica.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    disk.remount("ro");
    let refused = Replica::open(&path).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::ReadOnly { .. })), "{refused:?}");
    let refused = Replica::open(disk.0.join("another")).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::ReadOnly { .. })), "{refused:?}");
    disk.remount("rw");
    assert!(fs::read(&path).unwrap() == before);
    let replica = Replica::open(&path).await.unwrap();
    assert_eq!(text(&replica.document(document.id())).await.unwrap(), "Calm sea.");
    replica.close().await.unwrap();
}

/// Puts eight kilobytes that do not compress under a key.
async fn put(document: &Document, number: usize) -> Result<(), Error> {
    let mut state = number as u64 + 1;
    let noise = (0..8 << 10).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let noise = Value::Bytes(noise.collect());
    document.edit(move |edit| edit.put(&number.to_string(), noise)).await
}

async fn keys(document: &Document) -> usize {
    document.read(|view| view.keys()).await.unwrap().len()
}

/// A file system of a few megabytes in memory, until it is dropped.
struct SmallDisk(PathBuf, #[expect(dead_code, reason = "the folder goes with the disk")] tempfile::TempDir);

impl SmallDisk {
    /// Mounts one; only root may, others skip the story, loudly.
    fn mount(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::create_dir(&path).unwrap();
        let size = format!("size={bytes},mode=700");
        if run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tombolo-test"]).arg(&path)) {
            return Some(Self(path, folder));
        }
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        assert!(!(root && std::env::var_os("CI").is_some()), "root in CI must be able to mount a tmpfs");
        std::io::stderr().write_all(b"skipped: no small disk can be mounted, this needs root\n").unwrap();
        None
    }

    fn remount(&self, mode: &str) {
        assert!(run(Command::new("mount").args(["-o", &format!("remount,{mode}")]).arg(&self.0)));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(unmount(&self.0) || std::thread::panicking(), "the small disk can not be unmounted");
    }
}

/// Takes the disk away even while an engine's thread still lets go of it.
fn unmount(path: &Path) -> bool {
    run(Command::new("umount").arg("--lazy").arg(path))
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
