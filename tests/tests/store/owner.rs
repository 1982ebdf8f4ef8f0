//! One owner at a time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use tombolo::{Error, Replica, StoreError};

use crate::support::{noted, open_store, text};

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
