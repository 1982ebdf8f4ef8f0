//! The list of what relays lack: a few rows however many documents there are, and made anew where the disk has changed it.

use std::path::Path;

use tombolo::document::Crdt;
use tombolo::{Replica, Unsent, Workspace};

use crate::support::{founded, noted, open_file, open_store, relay, soon, text, write};

/// An address where nobody is.
const NOWHERE: &str = "ws://127.0.0.1:9";
const NOTES: u32 = 30;

/// The chains that the relays lack, in the order in which these were dialled.
fn owed(path: &Path) -> Vec<u32> {
    let count = "SELECT (SELECT count(*) FROM owed WHERE owed.relay = relay.relay) FROM relay ORDER BY relay";
    let file = open_file(path);
    let mut statement = file.prepare(count).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A store with notes that one relay has, and another that was never reached has not.
async fn told_to_one_of_two(folder: &Path, path: &Path) -> (Replica, Workspace) {
    let address = relay(folder).await;
    let (replica, workspace) = founded(path, &address).await;
    for _ in 0..NOTES {
        noted(&workspace, Crdt::Yrs, "one").await;
    }
    replica.dial(NOWHERE).await.unwrap();
    soon("settled", workspace.settled()).await.unwrap();
    (replica, workspace)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_relay_has_is_owed_to_the_other_and_what_is_new_to_both_until_one_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (replica, workspace) = told_to_one_of_two(folder.path(), &path).await;
    replica.close().await.unwrap();
    assert_eq!(owed(&path), [0, NOTES]);
    let replica = Replica::builder(&path).offline().open().await.unwrap();
    let workspace = replica.workspace(workspace.id());
    let new = noted(&workspace, Crdt::Yrs, "two").await;
    // Without a relay that is reached the nearest to having it all is named.
    let debt = workspace.sync_debt().await.unwrap();
    assert_eq!(debt.documents.iter().map(|debt| debt.document).collect::<Vec<_>>(), [Some(new.id())]);
    replica.resume().await.unwrap();
    soon("settled", workspace.settled()).await.unwrap();
    assert!(workspace.sync_debt().await.unwrap().is_settled());
    replica.close().await.unwrap();
    assert_eq!(owed(&path), [0, NOTES + 1]);
    assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_the_disk_has_changed_is_made_anew_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (replica, workspace) = told_to_one_of_two(folder.path(), &path).await;
    replica.close().await.unwrap();
    for change in [
        "UPDATE owed SET chain = chain + 1000 WHERE chain = 3",
        "UPDATE owed SET relay = 1 WHERE chain = 4",
        "UPDATE owed SET relay = 70 WHERE chain = 5",
        "UPDATE owed SET workspace = 9 WHERE chain = 6",
    ] {
        let file = open_file(&path);
        file.pragma_update(None, "foreign_keys", false).unwrap();
        assert_eq!(file.execute(change, []).unwrap(), 1, "{change}");
        drop(file);
        assert!(open_store(&path).unwrap().integrity().unwrap().damaged_tables.contains(&"owed"), "{change}");
        let replica = Replica::open(&path).await.unwrap();
        replica.close().await.unwrap();
        assert_eq!(owed(&path), [0, NOTES], "{change}");
        assert!(open_store(&path).unwrap().integrity().unwrap().is_sound(), "{change}");
    }
    let replica = Replica::open(&path).await.unwrap();
    soon("settled", replica.workspace(workspace.id()).settled()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_forgotten_leaves_nothing_that_is_owed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (replica, workspace) = told_to_one_of_two(folder.path(), &path).await;
    let other = replica.create_workspace("Other").await.unwrap();
    let kept = noted(&other, Crdt::Yrs, "kept").await;
    soon("settled", other.settled()).await.unwrap();
    replica.forget_workspace(workspace.id(), Unsent::Discard).await.unwrap();
    write(&kept, "still ").await.unwrap();
    soon("settled", other.settled()).await.unwrap();
    assert_eq!(text(&kept).await.unwrap(), "still kept");
    replica.close().await.unwrap();
    assert_eq!(owed(&path), [0, 1]);
    assert!(open_store(&path).unwrap().integrity().unwrap().is_sound());
}
