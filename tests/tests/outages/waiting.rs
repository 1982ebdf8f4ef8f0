//! Stories of whoever waits for an answer when the disk fails.

use tombolo::document::View;

use super::*;

/// Found by `a_device_that_survives_processes_only…`, which waited for ever now and then.
#[tokio::test]
async fn whoever_waits_for_a_receipt_when_the_disk_fails_is_told_so_and_never_that_it_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path()).unwrap();
    let replica = Replica::open(folder.path().join("device")).await.unwrap();
    let workspace = replica.create_workspace("Outages").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    put(&document, 1).await.unwrap();
    // The engine has heard of the wait; whoever waits is not awake meanwhile.
    let mut waits = std::pin::pin!(document.wait_for(Milestone::RelayDurable));
    assert!(asked(waits.as_mut()).await.is_pending());
    put(&document, 2).await.unwrap();
    disk.fail(Fault::ErrorAfter { of: Operation::Write, others: 0 });
    assert!(is_of_the_disk(&put(&document, 3).await.unwrap_err()));
    put(&document, 4).await.unwrap();
    let mut local = std::pin::pin!(document.wait_for(Milestone::Local));
    // The engine may answer this one before the question returns.
    let at_once = asked(local.as_mut()).await;
    put(&document, 5).await.unwrap();
    let told = soon("an answer", waits).await;
    assert!(matches!(&told, Err(error) if is_of_the_disk(error)), "no relay was ever reached: {told:?}");
    let local = if let Poll::Ready(answer) = at_once { answer } else { soon("an answer", local).await };
    local.expect("what is local is local");
    replica.close().await.unwrap();
}

/// Keeps the engine of a replica busy until the sender is dropped, so that what is asked meanwhile shares a turn.
async fn busy(document: &Document) -> (std::sync::mpsc::Sender<()>, impl Future<Output = ()> + use<>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begins, begun) = tokio::sync::oneshot::channel();
    let document = document.clone();
    let closure = move |_: &View<'_>| Ok(begins.send(()).is_ok() && wait.recv().is_err());
    let mut read = Box::pin(async move { assert!(document.read(closure).await.unwrap()) });
    assert!(asked(read.as_mut()).await.is_pending());
    soon("the engine reads", begun).await.unwrap();
    (go, read)
}

/// Edits, and lets the disk fail from within the turn of the edit.
async fn put_on_a_disk_that_fails(document: &Document, disk: &Arc<Disk>, of: Operation) -> Result<(), Error> {
    let disk = Arc::clone(disk);
    let edit = document.edit(move |edit| {
        disk.fail(Fault::ErrorAfter { of, others: 0 });
        edit.put("1", Value::I64(1))
    });
    edit.await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_to_watch_when_the_disk_fails_is_told_what_failed() {
    let (at, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let relay = Relay::start(&at.path().join("relay"), 0).await;
    let disk = Arc::new(Disk::mount(folder.path()).unwrap());
    let open = Replica::builder(folder.path().join("device")).durability(Durability::Process).open();
    let replica = open.await.unwrap();
    let workspace = replica.create_workspace("Outages").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    replica.dial(&format!("ws://127.0.0.1:{}", relay.port())).await.unwrap();
    soon("in step", workspace.settled()).await.unwrap();
    let (go, read) = busy(&document).await;
    // The commit of the process goes well, the one that is to reach the platter before anything is sent does not.
    let mut edit = std::pin::pin!(put_on_a_disk_that_fails(&document, &disk, Operation::Sync));
    let mut watch = std::pin::pin!(document.subscribe());
    assert!(asked(edit.as_mut()).await.is_pending());
    assert!(asked(watch.as_mut()).await.is_pending());
    drop(go);
    soon("the engine goes on", read).await;
    soon("an answer", edit).await.expect("the process has it");
    let told = soon("an answer", watch).await.map(drop).unwrap_err();
    assert!(is_of_the_disk(&told) && !matches!(told, Error::Closed), "{told:?}");
    soon("sent once the disk is well", document.wait_for(Milestone::RelayDurable)).await.unwrap();
    replica.close().await.unwrap();
    relay.stop().await;
}

#[tokio::test]
async fn a_replica_is_paused_and_closed_behind_a_turn_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = (folder.path().join("device"), Arc::new(Disk::mount(folder.path()).unwrap()));
    let replica = Replica::open(&path).await.unwrap();
    let workspace = replica.create_workspace("Outages").await.unwrap();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    for closes in [false, true] {
        let (go, read) = busy(&document).await;
        let mut edit = std::pin::pin!(put_on_a_disk_that_fails(&document, &disk, Operation::Write));
        assert!(asked(edit.as_mut()).await.is_pending());
        let mut ends: Pin<Box<dyn Future<Output = Result<(), Error>>>> =
            if closes { Box::pin(replica.close()) } else { Box::pin(replica.pause()) };
        assert!(asked(ends.as_mut()).await.is_pending());
        drop(go);
        soon("the engine goes on", read).await;
        assert!(is_of_the_disk(&soon("an answer", edit).await.unwrap_err()));
        soon("it ends", ends).await.unwrap();
        // Nothing is open: neither waits for the engine to let go, as a copy of the file would not.
        disk.reboot().expect("the store is let go of");
    }
    let again = Replica::open(&path).await.unwrap();
    assert_eq!(numbers(&the_document(&again).await).await.unwrap(), Vec::<i64>::new());
    again.close().await.unwrap();
}
