//! Nobody reads a store, a log or a relay's folder without the key.

use std::fs;
use std::path::Path;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use tombolo::Milestone;
use tombolo::Replica;
use tombolo::document::Crdt;
use tombolo::protocol::record::Role;
use tombolo_tests::Log;

use crate::support::{founded, relay, soon, write};

const NEEDLE: &str = "Needle-of-the-reef-7b1f";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_an_app_writes_stands_in_its_files_its_logs_or_at_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::of_process();
    let path = folder.path().join("alice");
    let address = relay(folder.path()).await;
    let (alice, workspace) = founded(&path, &address).await;
    alice.close().await.unwrap();
    let alice = Replica::builder(&path).app_type(NEEDLE).open().await.unwrap();
    let named = alice.create_workspace(NEEDLE).await.unwrap();
    for (workspace, crdt) in [(alice.workspace(workspace.id()), Crdt::Automerge), (named, Crdt::Yrs)] {
        let document = workspace.create_document(crdt).await.unwrap();
        write(&document, NEEDLE).await.unwrap();
        document.edit(|edit| edit.put(NEEDLE, NEEDLE)).await.unwrap();
        assert!(found_below(folder.path()).is_empty(), "{:?}", found_below(folder.path()));
        soon("durable", document.wait_for(Milestone::RelayDurable)).await.unwrap();
        let invite = workspace.invite(Role::Writer).create().await.unwrap();
        assert!(!log.holds(invite.to_string().trim_start_matches("tombolo:1:")), "an invite is logged");
        assert!(!format!("{document:?} {workspace:?} {alice:?}").contains(NEEDLE));
    }
    assert!(found_below(folder.path()).is_empty(), "{:?}", found_below(folder.path()));
    alice.close().await.unwrap();
    assert!(found_below(folder.path()).is_empty(), "{:?}", found_below(folder.path()));
    assert!(log.holds("TRACE") || log.holds("DEBUG"), "the log holds what is finest");
    assert!(encodings(NEEDLE.as_bytes()).iter().all(|form| !log.holds(form)), "the log holds content");
}

#[test]
fn the_searcher_finds_a_needle_in_every_form_in_which_it_stands_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let words = format!("some words {NEEDLE} and some more");
    let utf16 =
        |swap: bool| words.encode_utf16().flat_map(move |u| if swap { u.to_be_bytes() } else { u.to_le_bytes() });
    let mut forms = vec![words.clone().into_bytes(), utf16(false).collect(), utf16(true).collect()];
    forms.push(HEXLOWER.encode(words.as_bytes()).into_bytes());
    forms.push(HEXUPPER.encode(words.as_bytes()).into_bytes());
    for skip in 0..3 {
        forms.push(BASE64_NOPAD.encode(&words.as_bytes()[skip..]).into_bytes());
        forms.push(BASE64URL_NOPAD.encode(&words.as_bytes()[skip..]).into_bytes());
    }
    for (number, form) in forms.iter().enumerate() {
        let file = folder.path().join(number.to_string());
        fs::write(&file, form).unwrap();
        assert_eq!(found_below(folder.path()), [file.display().to_string()], "form {number}");
        fs::remove_file(file).unwrap();
    }
    let file = rusqlite::Connection::open(folder.path().join("plain")).unwrap();
    file.execute_batch("CREATE TABLE note (text TEXT)").unwrap();
    file.execute("INSERT INTO note VALUES (?1)", [NEEDLE]).unwrap();
    assert_eq!(found_below(folder.path()).len(), 1, "a store without sealing");
}

/// The files below a folder in which the needle stands.
fn found_below(folder: &Path) -> Vec<String> {
    let forms = encodings(NEEDLE.as_bytes());
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            found.extend(found_below(&path));
            continue;
        }
        // A file of SQLite's may have gone since the folder was listed.
        let bytes = fs::read(&path).unwrap_or_default();
        if forms.iter().any(|form| holds(&bytes, form)) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn holds(bytes: &[u8], form: &[u8]) -> bool {
    let Some(first) = form.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(form) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// The forms in which bytes may stand in a file; base64 at each of its three alignments, without the characters that
/// depend on the neighbours.
fn encodings(needle: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![needle.to_vec(), HEXLOWER.encode(needle).into_bytes(), HEXUPPER.encode(needle).into_bytes()];
    let text = String::from_utf8_lossy(needle);
    forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    forms.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    for skip in 0..3 {
        let whole = needle.get(skip..).unwrap_or_default();
        let whole = whole.get(..whole.len() / 3 * 3).unwrap_or_default();
        forms.push(BASE64_NOPAD.encode(whole).into_bytes());
        forms.push(BASE64URL_NOPAD.encode(whole).into_bytes());
    }
    forms
}
