//! Documents beyond the memory bound.

use std::process::Command;

use tombolo::document::Crdt;
use tombolo::{Durability, Replica};

const DOCUMENTS: usize = 1000;

#[test]
fn a_thousand_documents_stay_within_a_small_bound_and_read_the_same_again() {
    let bounded = resident_kib(1 << 20);
    let unbounded = resident_kib(1 << 30);
    assert!(bounded + (8 << 10) < unbounded, "bounded {bounded} KiB, unbounded {unbounded} KiB");
    assert!(bounded < 80 << 10, "{bounded} KiB with a bound of 1 MiB for documents");
}

#[tokio::test]
async fn a_document_that_was_put_away_comes_back_with_the_same_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Replica::builder(folder.path().join("store")).durability(Durability::Process);
    let replica = builder.memory_bytes(1).open().await.unwrap();
    let workspace = replica.create_workspace("Two").await.unwrap();
    let one = workspace.create_document(Crdt::Automerge).await.unwrap();
    one.edit(|edit| edit.text("body")?.push_str(&"tide ".repeat(1000))).await.unwrap();
    let (before, value) = (one.stats().await.unwrap(), one.to_value().await.unwrap());
    let other = workspace.create_document(Crdt::Yrs).await.unwrap();
    other.edit(|edit| edit.put("n", 1)).await.unwrap();
    assert_eq!(one.to_value().await.unwrap(), value);
    let after = one.stats().await.unwrap();
    assert_eq!(after.queued, before.queued);
    assert!(after.memory_bytes <= 2 * before.memory_bytes, "{after:?}, before {before:?}");
    replica.close().await.unwrap();
}

/// The resident memory of a process of its own that wrote and read a thousand documents.
fn resident_kib(memory_bytes: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = Command::new(env!("CARGO_BIN_EXE_actor"));
    let actor = actor.arg("memory").arg(folder.path().join("store"));
    let output = actor.args([memory_bytes.to_string(), DOCUMENTS.to_string()]).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let resident = output.strip_prefix("resident_kib ").unwrap_or_else(|| panic!("{output}"));
    resident.trim().parse().unwrap()
}
