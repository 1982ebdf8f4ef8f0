//! Where futures run that need a clock or a socket: a runtime of this library's own, made on first use.
//!
//! Invariant: a future that is dropped by its caller is dropped here at once, and with it the work; a panic in it is
//! an error of the one call. Listeners have one thread of their own, apart from it.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::TomboloError;

/// Threads for sockets and clocks: a replica talks to a few relays, and the engine has a thread of its own.
const WORKERS: usize = 2;

static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
static LISTENERS: OnceLock<Option<Handle>> = OnceLock::new();

/// Runs a future on the library's runtime; dropping the returned future ends it.
pub(crate) async fn run<R: Send + 'static>(
    future: impl Future<Output = Result<R, TomboloError>> + Send + 'static,
) -> Result<R, TomboloError> {
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(WORKERS).thread_name("tombolo-net").enable_all().build().ok()
    });
    // A set aborts what is in it when it is dropped; a bare handle would let it run on.
    let mut set = JoinSet::new();
    set.spawn_on(future, runtime.as_ref().ok_or_else(no_threads)?.handle());
    match set.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(_)) | None => Err(TomboloError::internal("a call has panicked")),
    }
}

/// Runs what takes long without waiting for anything, such as hashing a passphrase.
pub(crate) async fn run_blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, TomboloError> + Send + 'static,
) -> Result<R, TomboloError> {
    let blocking = async { tokio::task::spawn_blocking(work).await };
    run(async { blocking.await.unwrap_or_else(|_| Err(TomboloError::internal("a call has panicked"))) }).await
}

/// Starts a task on the one thread from which all listeners are called.
pub(crate) fn listen(task: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>, TomboloError> {
    let handle = LISTENERS.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("tombolo-listeners".to_owned());
        thread.spawn(move || runtime.block_on(std::future::pending::<()>())).ok()?;
        Some(handle)
    });
    Ok(handle.as_ref().ok_or_else(no_threads)?.spawn(task))
}

fn no_threads() -> TomboloError {
    TomboloError::internal("the system gives no threads")
}
