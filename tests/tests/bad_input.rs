//! Stories of files, keys, links, addresses and calls that are not what they should be: each gets a typed answer that
//! says what to do, and no file is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tombolo::crypto::{KeyVault, PassphraseVault, VaultError};
use tombolo::document::{Crdt, EditError, PatchAction, ReadError, Value};
use tombolo::{AddressError, DocumentEvent, Error, Replica, StoreError, SystemEntropy};

#[cfg(test)]
mod stores {
    use super::*;

    /// Why a path is no store.
    pub(super) async fn refusal(path: &Path) -> StoreError {
        match Replica::open(path).await {
            Err(Error::Store(error)) => error,
            other => panic!("{} gives {other:?}", path.display()),
        }
    }

    /// A closed store with a workspace.
    pub(super) async fn closed(path: &Path) {
        let replica = Replica::open(path).await.unwrap();
        replica.create_workspace("Field notes").await.unwrap().create_document(Crdt::Yrs).await.unwrap();
        replica.close().await.unwrap();
    }

    pub(super) fn key_of(path: &Path) -> PathBuf {
        PathBuf::from(format!("{}.key", path.display()))
    }

    pub(super) fn vault(path: &Path, passphrase: &str) -> Arc<dyn KeyVault> {
        Arc::new(PassphraseVault::new(path, passphrase, Box::new(SystemEntropy::new())))
    }
}

use stores::{closed, key_of, refusal, vault};

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_not_changed_by_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text"), "Dear diary, this is no store. ".repeat(100)).unwrap();
    fs::write(path("short"), "x").unwrap();
    fs::write(path("torn"), b"SQLite format 3\0and nothing more").unwrap();
    for (name, mode) in [("app", "DELETE"), ("app-wal", "WAL")] {
        let app = rusqlite::Connection::open(path(name)).unwrap();
        app.pragma_update(None, "journal_mode", mode).unwrap();
        app.execute_batch("CREATE TABLE recipe (name TEXT); INSERT INTO recipe VALUES ('Soup')").unwrap();
    }
    for name in ["text", "short", "torn", "app", "app-wal"] {
        let before = fs::read(path(name)).unwrap();
        let refused = refusal(&path(name)).await;
        assert!(
            matches!(&refused, StoreError::NotAStore { path: named } if *named == path(name)),
            "{name}: {refused:?}"
        );
        assert!(refused.to_string().contains("left as it is"), "{refused}");
        assert!(fs::read(path(name)).unwrap() == before, "{name} was changed");
        assert!(!key_of(&path(name)).exists(), "{name} got a key");
    }
    let app = rusqlite::Connection::open(path("app-wal")).unwrap();
    let name: String = app.query_row("SELECT name FROM recipe", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "Soup");
}

#[tokio::test]
async fn a_folder_is_no_store_and_a_file_of_no_bytes_becomes_one() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("folder");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("kept"), "kept").unwrap();
    assert!(matches!(refusal(&inner).await, StoreError::NotAStore { .. }));
    assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    let nowhere = folder.path().join("no/such/folder/store");
    assert!(matches!(refusal(&nowhere).await, StoreError::Io(_)));
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    closed(&empty).await;
    assert_eq!(Replica::open(&empty).await.unwrap().workspaces().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_of_a_newer_layout_is_refused_with_both_numbers_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    closed(&path).await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let before = fs::read(&path).unwrap();
    let refused = refusal(&path).await;
    assert!(matches!(refused, StoreError::TooNew { found: 99, supported } if supported < 99), "{refused:?}");
    assert!(refused.to_string().contains("update the app"), "{refused}");
    assert!(fs::read(&path).unwrap() == before);
}

#[tokio::test]
async fn a_store_whose_key_is_missing_or_of_another_store_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("store"), folder.path().join("other"));
    closed(&path).await;
    closed(&other).await;
    let before = fs::read(&path).unwrap();
    fs::rename(key_of(&path), folder.path().join("mine")).unwrap();
    assert!(matches!(refusal(&path).await, StoreError::WrongKey));
    assert!(!key_of(&path).exists(), "no other key was made");
    fs::copy(key_of(&other), key_of(&path)).unwrap();
    assert!(matches!(refusal(&path).await, StoreError::WrongKey));
    fs::write(key_of(&path), "no key").unwrap();
    let refused = refusal(&path).await;
    assert!(
        matches!(&refused, StoreError::Vault(error) if matches!(**error, VaultError::Damaged { .. })),
        "{refused:?}"
    );
    assert!(fs::read(&path).unwrap() == before);
    fs::rename(folder.path().join("mine"), key_of(&path)).unwrap();
    Replica::open(&path).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_wrong_passphrase_is_named_as_such_and_the_right_one_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let (path, key) = (folder.path().join("store"), folder.path().join("vault"));
    let replica = Replica::builder(&path).vault(vault(&key, "correct horse")).open().await.unwrap();
    replica.create_workspace("Secret").await.unwrap();
    replica.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    match Replica::builder(&path).vault(vault(&key, "battery staple")).open().await {
        Err(Error::Store(StoreError::Vault(error))) => assert_eq!(*error, VaultError::WrongPassphrase),
        other => panic!("{other:?}"),
    }
    assert!(fs::read(&path).unwrap() == before);
    let replica = Replica::builder(&path).vault(vault(&key, "correct horse")).open().await.unwrap();
    assert_eq!(replica.workspaces().await.unwrap().len(), 1);
    replica.close().await.unwrap();
}

#[tokio::test]
async fn a_text_that_is_no_invite_and_an_address_that_is_no_relay_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::open(folder.path().join("store")).await.unwrap();
    let long = format!("tombolo:1:{}", "A".repeat(1 << 20));
    for text in ["", "hello", "tombolo:", "tombolo:1:", "tombolo:9:AAAA", "https://example.org/", "\0", long.as_str()] {
        let joined = replica.join(text).await;
        assert!(matches!(joined, Err(Error::Invite(_))), "{text:.20}: {joined:?}");
    }
    let cases = [
        ("", AddressError::NotWebSocket),
        ("http://127.0.0.1:7440", AddressError::NotWebSocket),
        ("ws://", AddressError::NotWebSocket),
        ("ws://relay.example.org", AddressError::PlainNotLoopback),
    ];
    for (address, reason) in cases {
        let dialled = replica.dial(address).await;
        assert!(matches!(&dialled, Err(Error::Address(found)) if *found == reason), "{address}: {dialled:?}");
    }
    let long = format!("wss://{}", "a".repeat(1000));
    assert!(matches!(replica.dial(&long).await, Err(Error::Address(AddressError::TooLong))));
    assert!(replica.workspaces().await.unwrap().is_empty() && replica.relays().await.unwrap().is_empty());
    replica.close().await.unwrap();
}

#[tokio::test]
async fn a_call_that_panics_is_an_error_of_its_own_and_everything_else_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::open(folder.path().join("notes.tombolo")).await.unwrap();
    let workspace = replica.create_workspace("Field notes").await.unwrap();
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let document = workspace.create_document(crdt).await.unwrap();
        document.edit(|e| e.put("title", "kept")).await.unwrap();
        let mut events = document.subscribe().await.unwrap();
        events.next().await.unwrap();
        let edited = document.edit(|e| -> Result<(), EditError> {
            e.put("title", "lost")?;
            panic!("planted")
        });
        assert!(matches!(edited.await, Err(Error::Edit(EditError::Panicked))));
        let read = document.read(|view| -> Result<Option<Value>, ReadError> {
            view.get("title")?;
            panic!("planted")
        });
        assert!(matches!(read.await, Err(Error::Read(ReadError::Panicked))));
        let kept = document.read_with_kept(|_| -> Result<(), ReadError> { panic!("planted") });
        assert!(matches!(kept.await, Err(Error::Read(ReadError::Panicked))));
        assert_eq!(document.read(|view| view.get("title")).await.unwrap(), Some("kept".into()));
        document.edit(|e| e.put("title", "goes on")).await.unwrap();
        let DocumentEvent::Changed { patches, .. } = events.next().await.unwrap() else {
            panic!("what was lost is told to nobody");
        };
        assert!(matches!(&patches[0].action, PatchAction::Put { value } if *value == "goes on".into()));
    }
    replica.close().await.unwrap();
}
