//! Who is on a failing disk, what they do there, and how it starts again.

use super::*;

pub(super) fn rounds() -> u64 {
    std::env::var("TOMBOLO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

/// A number that a seed decides.
pub(super) fn draw(seed: u64, below: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % below.max(1)
}

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("not in 60 s: {what}"))
}

pub(super) async fn put(document: &Document, number: i64) -> Result<(), Error> {
    document.edit(move |edit| edit.put(&number.to_string(), Value::I64(number))).await
}

pub(super) async fn numbers(document: &Document) -> Result<Vec<i64>, Error> {
    let keys = document.read(|view| view.keys()).await?;
    let mut numbers: Vec<i64> = keys.iter().map(|key| key.parse().unwrap()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Starts again once everything that ran has let go of its files.
pub(super) async fn reboot(disk: &Disk) -> Lost {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match disk.reboot() {
            Ok(lost) => return lost,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        // waits: an engine's thread lets go of its store after the last handle.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(super) fn assert_sound(path: &Path) {
    let vault = FileVault::new(format!("{}.key", path.display()));
    let store = Store::open(path, &vault, Durability::Power, &mut SystemEntropy::new()).unwrap();
    let report = store.integrity().unwrap();
    assert!(report.is_sound(), "{report:?}");
}

/// What disks say, and nothing that only a damaged store says.
pub(super) fn is_of_the_disk(error: &Error) -> bool {
    let Error::Store(error) = error else { return matches!(error, Error::Closed) };
    matches!(error, StoreError::DiskFull | StoreError::Sqlite(_) | StoreError::Io(_) | StoreError::ReadOnly { .. })
}

pub(super) async fn the_document(replica: &Replica) -> Document {
    let workspace = replica.workspace(replica.workspaces().await.unwrap()[0].id);
    replica.document(workspace.documents().await.unwrap()[0].id)
}

/// Edits in several tasks until the disk fails; returns what was acknowledged.
pub(super) async fn edit_until_it_fails(document: &Document, from: i64) -> Vec<i64> {
    let writers: Vec<_> = (0..3)
        .map(|nth| {
            let document = document.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in (from + nth..).step_by(3) {
                    match put(&document, number).await {
                        Ok(()) => acknowledged.push(number),
                        Err(error) => {
                            assert!(is_of_the_disk(&error), "{error:?}");
                            return acknowledged;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(soon("the disk fails", writer).await.unwrap());
    }
    acknowledged
}

/// Lets a future go as far as it gets at once.
pub(super) async fn asked<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// A relay of this process on a folder.
pub(super) struct Relay {
    end: tokio::sync::oneshot::Sender<()>,
    serving: tombolo_relay::Serving,
}

impl Relay {
    pub(super) async fn start(folder: &Path, port: u16) -> Self {
        let mut config = tombolo_relay::Config::on_loopback(folder).unwrap();
        config.listen.set_port(port);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = tombolo_relay::serve(config, async { drop(ended.await) }).await.unwrap();
        Self { end, serving }
    }

    pub(super) fn port(&self) -> u16 {
        self.serving.address.port()
    }

    pub(super) async fn stop(self) {
        self.end.send(()).unwrap();
        soon("the relay has ended", self.serving.finished()).await;
    }
}

/// Writes until it is told to stop; returns what has a receipt.
pub(super) async fn write_with_receipts(document: Document, from: i64, stop: Arc<AtomicBool>) -> Vec<i64> {
    let mut receipted = Vec::new();
    for number in (from..).step_by(2) {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        put(&document, number).await.unwrap();
        soon("a receipt", document.wait_for(Milestone::RelayDurable)).await.unwrap();
        receipted.push(number);
    }
    receipted
}

/// What a replica that was never here before finds at the relay.
pub(super) async fn read_by_a_newcomer(workspace: &Workspace, path: &Path, document: &Document) -> Vec<i64> {
    let newcomer = Replica::open(path).await.unwrap();
    let invite = soon("an invite", workspace.invite(Role::Reader).create()).await.unwrap();
    let theirs = newcomer.join(&invite.to_string()).await.unwrap();
    soon("a newcomer is a member", theirs.ready()).await.unwrap();
    soon("a newcomer is in step", theirs.settled()).await.unwrap();
    let held = numbers(&newcomer.document(document.id())).await.unwrap();
    newcomer.close().await.unwrap();
    held
}
