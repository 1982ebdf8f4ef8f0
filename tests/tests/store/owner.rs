//! One owner at a time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use tombolo::{Error, Replica, StoreError};

use crate::support::{beside, noted, open_store, text};

#[tokio::test]
async fn a_store_that_is_open_is_refused_a_second_time_with_words_that_help() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let first = Replica::open(&path).await.unwrap();
    let second = Replica::open(&path).await.unwrap_err();
    assert!(matches!(&second, Error::Store(StoreError::InUse { path: held }) if *held == path), "{second:?}");
    let words = second.to_string();
    assert!(words.contains(path.to_str().unwrap()) && words.contains("another process"), "{words}");
    let workspace = first.create_workspace("still works").await.unwrap();
    assert_eq!(text(&noted(&workspace, tombolo::document::Crdt::Yrs, "yes").await).await.unwrap(), "yes");
    first.close().await.unwrap();
    Replica::open(&path).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_one_dies_even_if_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut other = Command::new(env!("CARGO_BIN_EXE_actor"));
    let mut other = other.arg("hold").arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "open\n");
    let refused = Replica::open(&path).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::InUse { .. })), "{refused:?}");
    other.stdin.as_mut().unwrap().write_all(b"still there?\n").unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    Replica::open(&path).await.unwrap().close().await.unwrap();
}

#[test]
fn a_store_that_was_let_go_is_free_at_once_even_while_processes_are_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (sender, stop) = std::sync::mpsc::channel::<()>();
    let starting = std::thread::spawn(move || {
        while stop.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Empty) {
            Command::new("true").status().unwrap();
        }
    });
    for _ in 0..100 {
        drop(open_store(&path).unwrap());
    }
    drop(sender);
    starting.join().unwrap();
}

/// Found by cutting the power at each operation (seed 458755): the first page was written in part when it failed.
#[test]
fn a_store_whose_first_page_was_torn_by_a_power_cut_is_made_again_and_another_file_beside_a_journal_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let journal = |pages_before: u8| {
        let mut header = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 0, 1, 2, 3, 4];
        header.extend([0, 0, 0, pages_before, 0, 0, 2, 0, 0, 0, 16, 0]);
        header.resize(512, 0);
        header
    };
    let (torn, journal_path) = (vec![0; 4096], beside(&path, "-journal"));
    for (header, is_made) in [(journal(0), true), (journal(1), false), (b"a diary".to_vec(), false)] {
        std::fs::write(&path, &torn).unwrap();
        std::fs::write(&journal_path, header).unwrap();
        match open_store(&path) {
            Ok(store) => assert!(is_made && store.integrity().unwrap().is_sound()),
            Err(StoreError::NotAStore { .. }) => assert!(!is_made && std::fs::read(&path).unwrap() == torn),
            Err(other) => panic!("{other:?}"),
        }
        std::fs::remove_file(&path).unwrap();
        // SQLite deletes the journal of a store that it made again.
        drop(std::fs::remove_file(&journal_path));
    }
}
