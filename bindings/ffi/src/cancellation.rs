//! What ends a wait, for languages whose own cancellation does not reach this library: Swift's does not.
//!
//! Invariant: a wait that is given up ends at once, whatever it waits for, and what it waited for goes on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tombolo::Error;

use crate::error::TomboloError;
use crate::live::Live;

/// Ends the waits that it is handed to. Kotlin and Python need none: there a cancelled call ends by itself.
#[derive(Debug, uniffi::Object)]
pub struct Cancellation {
    cancelled: watch::Sender<bool>,
    _live: Live,
}

#[uniffi::export]
impl Cancellation {
    /// Makes one that is not cancelled.
    #[uniffi::constructor]
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { cancelled: watch::Sender::new(false), _live: Live::new() })
    }

    /// Ends the waits, and those that are begun with it later.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }
}

/// Waits for a call, unless it is cancelled first.
pub(crate) async fn unless<R>(
    cancellation: Option<Arc<Cancellation>>,
    call: impl Future<Output = Result<R, Error>>,
) -> Result<R, TomboloError> {
    let Some(cancellation) = cancellation else {
        return Ok(call.await?);
    };
    let mut receiver = cancellation.cancelled.subscribe();
    let (mut given_up, mut call) = (pin!(receiver.wait_for(|cancelled| *cancelled)), pin!(call));
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(result.map_err(TomboloError::from)),
        Poll::Pending => given_up.as_mut().poll(context).map(|_| Err(TomboloError::given_up())),
    })
    .await
}
