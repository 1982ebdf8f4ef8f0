//! Clocks that are off: devices' by months or decades, one that jumps, and the relay's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tombolo::engine::{OfflineReason, RelayState};
use tombolo::protocol::ids::DeviceId;
use tombolo::protocol::record::Role;
use tombolo::{Error, Replica};

use crate::stage::{ACTOR, Actor, Device, Relay, free_port, parsed, rounds, soon};

/// Whose clock is off, and how.
const SHIFTS: [(&str, &str); 4] =
    [("ahead", "+90d"), ("behind", "-90d"), ("in 1970", "@1970-01-02 00:00:00"), ("in 2040", "@2040-02-03 04:05:06")];
/// Where the clock of a device jumps that is running.
const JUMPS: [&str; 5] = ["+400d", "@1971-01-01 00:00:00", "+0", "@2038-01-19 03:14:06", "-90d"];

/// The clock of one process.
enum Clock<'a> {
    True,
    Off(&'a str),
    /// As a file says, at every look.
    AsFile(&'a Path),
}

/// Prepares a process with a clock of its own: monotonic clocks stay as they are.
fn with_clock(clock: &Clock<'_>, library: &Path) -> Command {
    let mut command = Command::new(ACTOR);
    match clock {
        Clock::True => return command,
        Clock::Off(shift) => command.env("FAKETIME", shift),
        Clock::AsFile(path) => command.env("FAKETIME_TIMESTAMP_FILE", path).env("FAKETIME_NO_CACHE", "1"),
    };
    command.env("LD_PRELOAD", library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    command
}

/// Finds the library that shifts clocks, and sees that it does; without it a story is skipped.
fn library(story: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|folder| folder.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    let shifts = |path: &PathBuf| {
        let date =
            Command::new("date").arg("+%Y").env("LD_PRELOAD", path).env("FAKETIME", "@2040-06-01 00:00:00").output();
        date.is_ok_and(|date| date.stdout.starts_with(b"2040"))
    };
    let found = found.filter(shifts);
    if found.is_none() {
        assert!(std::env::var("TOMBOLO_ROOT_FAULTS").as_deref() != Ok("required"), "{story}: no libfaketime");
        // Past the harness, which would keep it to itself.
        use std::io::Write as _;
        std::io::stderr().write_all(format!("skipped: {story}: there is no libfaketime\n").as_bytes()).unwrap();
    }
    found
}

/// A device in a process of its own: joins, writes numbers with receipts, reads what all have written.
fn member(command: &mut Command, path: &Path, invite: &str, (first, count, expected): (i64, i64, usize)) -> Actor {
    let words = [first.to_string(), count.to_string(), expected.to_string()];
    Actor::start(command.arg("member").arg(path).arg(invite).args(words))
}

fn device_id(hex: &str) -> DeviceId {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    DeviceId::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_whose_clocks_are_off_by_months_or_decades_lose_nothing_and_accuse_nobody() {
    let Some(library) = library("clocks of devices") else { return };
    let (folder, each) = (TempDir::new().unwrap(), rounds(8));
    let relay = Relay::start(Command::new(ACTOR), &folder.path().join("relay"), 0);
    let alice = Device::found(&folder.path().join("alice"), &relay).await;
    let hour = Duration::from_secs(3600);
    let invite = alice.workspace.invite(Role::Writer).unlimited_uses().expires_in(hour).create().await.unwrap();
    let (invite, jumps) = (invite.to_string(), folder.path().join("jumps"));
    std::fs::write(&jumps, "+0").unwrap();
    let expected = (each * (SHIFTS.len() as i64 + 2)) as usize;
    let clocks = SHIFTS.iter().map(|(name, shift)| (*name, Clock::Off(shift)));
    let clocks = clocks.chain([("jumping", Clock::AsFile(&jumps))]);
    let mut devices: Vec<Actor> = clocks
        .zip(1..)
        .map(|((name, clock), nth)| {
            let command = &mut with_clock(&clock, &library);
            member(command, &folder.path().join(name), &invite, (1000 * nth, each, expected))
        })
        .collect();
    for (number, jump) in (0..each).zip(JUMPS.iter().cycle()) {
        std::fs::write(&jumps, jump).unwrap();
        alice.put_with_receipt(number).await;
        // waits: the jumping device works between two jumps.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let all = alice.numbers(expected).await;
    let wanted: Vec<i64> = (0..=SHIFTS.len() as i64 + 1).flat_map(|nth| 1000 * nth..1000 * nth + each).collect();
    assert_eq!(all, wanted);
    for device in &mut devices {
        let id = device_id(&device.says("device"));
        assert_eq!(parsed(&device.says("held")), wanted);
        assert_eq!(device.says("accuses"), "0 alarms, 0 pieces of evidence, 0 set aside");
        soon("it is known how far a device has come whose clock is off", alice.document.seen_by(id)).await.unwrap();
        device.go_on();
    }
    alice.accuses_nobody().await;
    let sessions = relay.metric("tombolo_relay_sessions_total");
    assert!(sessions <= 3.0 * (devices.len() + 1) as f64, "{sessions} sessions: that is a storm");
    println!("{} devices with clocks that are off: {expected} receipts, 0 lost, {sessions} sessions", devices.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_clock_was_decades_ahead_is_heard_when_it_is_right_again() {
    let Some(library) = library("a clock that goes back") else { return };
    let folder = TempDir::new().unwrap();
    let relay = Relay::start(Command::new(ACTOR), &folder.path().join("relay"), 0);
    let alice = Device::found(&folder.path().join("alice"), &relay).await;
    let invite = alice.workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let path = folder.path().join("bob");
    for (nth, clock) in [Clock::Off("@2040-02-03 04:05:06"), Clock::True].iter().enumerate() {
        let first = 1000 * nth as i64;
        alice.put_with_receipt(500 + first).await;
        let expected = 4 * (nth + 1);
        let mut bob = member(&mut with_clock(clock, &library), &path, &invite, (first, 3, expected));
        let id = device_id(&bob.says("device"));
        assert_eq!(parsed(&bob.says("held")).len(), expected);
        assert_eq!(alice.numbers(expected).await.len(), expected);
        soon("it is known how far he has come", alice.document.seen_by(id)).await.unwrap();
        bob.go_on();
        bob.ends();
    }
    alice.accuses_nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_clock_is_off_judges_expiry_by_it_and_loses_nothing() {
    let Some(library) = library("the clock of a relay") else { return };
    let (folder, port) = (TempDir::new().unwrap(), free_port());
    let data = folder.path().join("relay");
    let mut relay = Relay::start(with_clock(&Clock::True, &library), &data, port);
    let alice = Device::found(&folder.path().join("alice"), &relay).await;
    let bob = alice.join(&folder.path().join("bob")).await;
    let bobs = bob.replica.identity().await.unwrap().1;
    let in_an_hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 + 3_600_000;
    alice.workspace.set_role_until(bobs, Role::Writer, in_an_hour).await.unwrap();
    let hour = Duration::from_secs(3600);
    let invite = alice.workspace.invite(Role::Writer).unlimited_uses().expires_in(hour).create().await.unwrap();
    soon("in step", alice.workspace.settled()).await.unwrap();
    let (mut next, mut numbers) = (0, Vec::new());
    for (nth, shift) in ["+90d", "@1970-01-02 00:00:00", "@2040-02-03 04:05:06", "+0"].iter().enumerate() {
        drop(relay);
        relay = Relay::start(with_clock(&Clock::Off(shift), &library), &data, port);
        for device in [&alice, &bob] {
            device.replica.notify_network().await.unwrap();
        }
        alice.put_with_receipt(next).await;
        bob.put(1000 + next).await;
        numbers.extend([next, 1000 + next]);
        next += 1;
        let newcomer = Replica::open(folder.path().join(format!("newcomer {nth}"))).await.unwrap();
        let joined = soon("an answer", newcomer.join(&invite.to_string()).await.unwrap().ready()).await;
        if shift.starts_with('+') && *shift != "+0" || shift.contains("2040") {
            assert!(matches!(joined, Err(Error::JoinRefused(_))), "{shift}: {joined:?}");
            assert!(!bob.workspace.sync_debt().await.unwrap().is_settled(), "{shift}: what he wrote is not taken");
        } else {
            joined.unwrap();
            soon("what he wrote is taken", bob.workspace.settled()).await.unwrap();
        }
    }
    numbers.sort_unstable();
    assert_eq!(alice.numbers(numbers.len()).await, numbers);
    assert_eq!(bob.numbers(numbers.len()).await, numbers);
    for device in [&alice, &bob] {
        assert_eq!(device.workspace.relay_evidence().await.unwrap(), [], "an honest relay is accused");
        let relays = device.replica.relays().await.unwrap();
        let replaced =
            |state: &RelayState| matches!(state, RelayState::Offline { reason: Some(OfflineReason::Ended(_)), .. });
        assert!(!relays.iter().any(|(_, state)| replaced(state)), "{relays:?}");
    }
    println!("a relay whose clock is off: {} entries, 0 lost", numbers.len());
}
