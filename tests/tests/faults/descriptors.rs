//! A relay, and a device, that can open no file any more.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tombolo::protocol::record::Role;

use crate::stage::{ACTOR, Actor, Device, Relay, free_port, is_ready, parsed, rounds, soon};

/// Descriptors that a starved process may have: its own, and a dozen sessions.
const DESCRIPTORS: usize = 64;

/// Prepares a process with few descriptors.
fn starved() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\""), ACTOR]);
    command
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_descriptors_serves_who_is_there_and_takes_others_once_there_are_some() {
    let folder = TempDir::new().unwrap();
    let relay = Relay::start(starved(), &folder.path().join("relay"), 0);
    let alice = Device::found(&folder.path().join("alice"), &relay).await;
    let bob = alice.join(&folder.path().join("bob")).await;
    assert!(is_ready(relay.address));
    let (each, mut receipts) = (rounds(10), 0);
    // Connections that say nothing are dropped after ten seconds; these last as long as they are needed.
    let hogs: Vec<TcpStream> = (0..2 * DESCRIPTORS).map_while(|_| TcpStream::connect(relay.address).ok()).collect();
    let full = Instant::now();
    while open_files(relay.pid()) < DESCRIPTORS {
        assert!(full.elapsed() < Duration::from_secs(5), "{} open files", open_files(relay.pid()));
        // waits: for the relay to accept.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = relay.address;
    let ready = tokio::task::spawn_blocking(move || is_ready(asked));
    for number in 0..each {
        alice.put_with_receipt(number).await;
        bob.put_with_receipt(1000 + number).await;
        receipts += 2;
    }
    assert!(!ready.await.unwrap(), "nobody is answered who was not there before");
    drop(hogs);
    let freed = Instant::now();
    while !tokio::task::spawn_blocking(move || is_ready(asked)).await.unwrap() {
        assert!(freed.elapsed() < Duration::from_secs(30), "the relay does not recover");
    }
    let carol = alice.join(&folder.path().join("carol")).await;
    let numbers: Vec<i64> = (0..each).chain(1000..1000 + each).collect();
    for device in [&alice, &bob, &carol] {
        assert_eq!(device.numbers(numbers.len()).await, numbers);
        device.accuses_nobody().await;
    }
    println!("a relay without descriptors: {receipts} receipts meanwhile, 0 lost; ready after {:?}", freed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_descriptors_says_so_and_goes_on_when_there_are_some() {
    let folder = TempDir::new().unwrap();
    let (data, port) = (folder.path().join("relay"), free_port());
    let mut relay = Relay::start(Command::new(ACTOR), &data, port);
    let alice = Device::found(&folder.path().join("alice"), &relay).await;
    let invite = soon("an invite", alice.workspace.invite(Role::Writer).create()).await.unwrap().to_string();
    let each = rounds(10);
    let mut command = starved();
    let command = command.arg("starve").arg(folder.path().join("bob")).args([&invite, &each.to_string()]);
    let mut bob = Actor::start(command);
    // It is a member, and has taken every descriptor there was.
    bob.says("starved");
    assert_eq!(bob.says("open"), "a typed error");
    let done = parsed(&bob.says("done"));
    drop(relay);
    relay = Relay::start(Command::new(ACTOR), &data, port);
    assert_eq!(bob.says("relay"), "offline", "it can not dial");
    bob.go_on();
    let wanted: Vec<i64> = parsed(&bob.says("held"));
    assert!(done.iter().all(|number| wanted.contains(number)), "{done:?}, {wanted:?}");
    assert_eq!(alice.numbers(wanted.len()).await, wanted);
    alice.accuses_nobody().await;
    assert!(is_ready(relay.address));
    println!("a device without descriptors: {} edits meanwhile, 0 lost of {}", done.len(), wanted.len());
}
