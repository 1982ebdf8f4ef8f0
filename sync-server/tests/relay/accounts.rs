//! The access log: what it tells, and that nobody changes it afterwards without being noticed.

use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Open;
use tombolo_protocol::ids::{DeviceId, RelayId};
use tombolo_protocol::keys::SignKey;
use tombolo_relay::access::{AccessEvent, AccessFault, FILE_BYTES_MAX, Head, Journal, verify};
use tombolo_relay::fanout::SessionId;

use super::client::Client;
use super::people::{Person, found, workspace};
use super::process::{RelayProcess, command};

fn key() -> SignKey {
    SignKey::from_seed(&[5; 32])
}

fn relay() -> RelayId {
    RelayId::from_bytes(key().public())
}

fn left(nth: u64) -> (i64, AccessEvent) {
    let device = DeviceId::from_bytes([nth as u8; 32]);
    (nth as i64, AccessEvent::Left { session: SessionId(nth), device, code: Some(CloseCode::Silent) })
}

/// A log of three batches: the start, two events, one event.
fn journal(folder: &Path) -> Journal {
    let mut journal = Journal::open(folder, key(), 64, 7).unwrap();
    journal.write(vec![left(1), left(2)]).unwrap();
    journal.write(vec![left(3)]).unwrap();
    journal
}

fn written() -> (TempDir, PathBuf, String) {
    let folder = tempdir().unwrap();
    drop(journal(folder.path()));
    let file = folder.path().join("00000000000000000001.log");
    let text = std::fs::read_to_string(&file).unwrap();
    (folder, file, text)
}

fn head_of(folder: &Path) -> Head {
    verify(folder, &relay(), None, |_| {}).unwrap().head
}

fn fault_of(folder: &Path) -> AccessFault {
    verify(folder, &relay(), None, |_| {}).unwrap_err()
}

#[test]
fn a_log_verifies_and_goes_on_after_a_restart() {
    let (folder, _, text) = written();
    assert_eq!(text.lines().count(), 5);
    let mut shown = Vec::new();
    let verified = verify(folder.path(), &relay(), None, |record| shown.push(record.to_owned())).unwrap();
    assert_eq!((verified.first, verified.head.nth, verified.unsigned), (1, 5, 0));
    assert!(shown[2].starts_with("{\"nth\":3,\"time_ms\":1,\"event\":\"left\",\"session\":1,"), "{}", shown[2]);
    let before = verified.head;
    journal(folder.path());
    let after = verify(folder.path(), &relay(), Some(before), |_| {}).unwrap();
    assert_eq!(after.head.nth, 9);
}

#[test]
fn every_changed_byte_of_a_record_is_noticed() {
    let (folder, file, text) = written();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let outcome = verify(folder.path(), &relay(), None, |_| {});
        // At the very end a changed line end looks like a batch that is being written.
        let torn = at + 1 == text.len() && outcome.as_ref().is_ok_and(|verified| verified.unsigned > 0);
        assert!(outcome.is_err() || torn, "byte {at}");
    }
}

#[test]
fn a_record_that_is_taken_out_moved_or_signed_by_another_is_noticed() {
    let (folder, file, text) = written();
    let lines: Vec<&str> = text.lines().collect();
    for out in 0..lines.len() - 1 {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, line)| *line).collect();
        std::fs::write(&file, rest.join("\n") + "\n").unwrap();
        assert!(matches!(fault_of(folder.path()), AccessFault::Missing(_)), "line {out}");
    }
    let moved = [lines[0], lines[1], lines[3], lines[2], lines[4], ""].join("\n");
    std::fs::write(&file, moved).unwrap();
    assert!(matches!(fault_of(folder.path()), AccessFault::Missing(_)));
    std::fs::write(&file, &text).unwrap();
    let other = RelayId::from_bytes(SignKey::from_seed(&[6; 32]).public());
    let fault = verify(folder.path(), &other, None, |_| {}).unwrap_err();
    assert!(matches!(fault, AccessFault::Signature(_)), "{fault}");
}

#[test]
fn an_end_that_was_cut_off_is_noticed_by_who_kept_the_place() {
    let (folder, file, text) = written();
    let kept = head_of(folder.path());
    let shorter: String = text.split_inclusive('\n').take(4).collect();
    std::fs::write(&file, shorter).unwrap();
    // By itself a shorter log is a whole one.
    assert_eq!(head_of(folder.path()).nth, 4);
    let fault = verify(folder.path(), &relay(), Some(kept), |_| {}).unwrap_err();
    assert!(matches!(fault, AccessFault::HeadNotHere), "{fault}");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(fault_of(folder.path()), AccessFault::Empty));
}

#[test]
fn a_crash_at_any_byte_of_a_batch_cuts_that_batch_and_the_log_goes_on() {
    let (folder, file, text) = written();
    let signed: usize = text.split_inclusive('\n').take(4).map(str::len).sum();
    for end in signed..text.len() {
        std::fs::write(&file, &text[..end]).unwrap();
        let mut shown = Vec::new();
        drop(Journal::open(folder.path(), key(), 64, 9).unwrap());
        let verified = verify(folder.path(), &relay(), None, |record| shown.push(record.to_owned())).unwrap();
        assert_eq!((verified.head.nth, verified.unsigned), (5, 0), "cut at {end}");
        assert!(shown[4].ends_with(&format!("\"cut_bytes\":{}}}", end - signed)), "{}", shown[4]);
    }
    // The first batch of all: nothing is left but to begin.
    std::fs::write(&file, &text[..40]).unwrap();
    drop(Journal::open(folder.path(), key(), 64, 9).unwrap());
    assert_eq!(head_of(folder.path()).nth, 2);
}

#[test]
fn a_relay_does_not_mend_what_somebody_changed() {
    let (folder, file, text) = written();
    let changed = text.replace("\"session\":1,", "\"session\":8,");
    std::fs::write(&file, &changed).unwrap();
    drop(Journal::open(folder.path(), key(), 64, 9).unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), changed);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(matches!(fault_of(folder.path()), AccessFault::Broken(place) if place.line == 3));
}

#[test]
fn full_files_are_followed_by_others_and_the_oldest_go() {
    let folder = tempdir().unwrap();
    let mut journal = Journal::open(folder.path(), key(), 2, 7).unwrap();
    let mut nth = 0;
    let names = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        names.sort();
        names
    };
    while names().len() < 2 || std::fs::metadata(&names()[1]).unwrap().len() < FILE_BYTES_MAX {
        journal.write((0..10_000).map(|more| left(nth + more)).collect()).unwrap();
        nth += 10_000;
    }
    let [first, second] = <[PathBuf; 2]>::try_from(names()).unwrap();
    let whole = verify(folder.path(), &relay(), None, |_| {}).unwrap();
    assert_eq!(whole.first, 1);
    journal.write(vec![left(nth)]).unwrap();
    drop(journal);
    assert_eq!(names().len(), 2, "two are kept");
    assert!(!first.exists());
    let rest = verify(folder.path(), &relay(), Some(whole.head), |_| {}).unwrap();
    assert!(rest.first > 1);
    // A file in the middle that is gone is another thing than the oldest.
    std::fs::remove_file(second).unwrap();
    let fault = verify(folder.path(), &relay(), Some(whole.head), |_| {}).unwrap_err();
    assert!(matches!(fault, AccessFault::HeadNotHere));
}

#[tokio::test]
async fn a_relay_accounts_for_who_came_what_they_did_and_what_they_were_denied() {
    let folder = tempdir().unwrap();
    let process = RelayProcess::start(folder.path());
    let (alice, eve) = (Person::new(1), Person::new(2));
    let ground = found(&alice, 1);
    let mut at_alice = Client::dial(process.address, &alice).await;
    at_alice.seeded(&ground).await;
    let mut at_eve = Client::dial(process.address, &eve).await;
    at_eve
        .send(Open { workspace: workspace(&ground).tag(), log: None, cursor: 0, receipt: None, documents: None })
        .await;
    assert_eq!(at_eve.frame().await.name(), "NotFound");
    drop(at_eve);
    drop(at_alice);
    process.wait_for_sessions(0).await;
    process.terminate();
    assert!(process.wait().success());

    let told = command().args(["access", "print", "--data"]).arg(folder.path()).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    let about = |event: &str, who: &Person| {
        let wanted = [format!("\"event\":\"{event}\""), format!("\"device\":\"{}\"", who.id())];
        text.lines().filter(|line| wanted.iter().all(|part| line.contains(part))).count()
    };
    assert_eq!((about("came", &alice), about("opened", &alice), about("left", &alice)), (1, 1, 1), "{text}");
    assert_eq!((about("came", &eve), about("opened", &eve), about("denied", &eve)), (1, 0, 1), "{text}");
    assert_eq!(about("recorded", &alice), ground.len(), "{text}");
    assert!(text.contains("\"kind\":\"genesis\"") && text.trim_end().ends_with("\"event\":\"stopped\"}"), "{text}");

    let verified = command().args(["access", "verify", "--data"]).arg(folder.path()).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let said = String::from_utf8(verified.stdout).unwrap();
    let place = said.trim_end().rsplit(' ').next().unwrap();
    let file = folder.path().join("access").join("00000000000000000001.log");
    let changed = std::fs::read_to_string(&file).unwrap().replace("\"not_found\"", "\"not_asked\"");
    std::fs::write(&file, changed).unwrap();
    let again = command().args(["access", "verify", "--since", place, "--data"]).arg(folder.path()).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("was changed"));
}
