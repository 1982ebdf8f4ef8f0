//! Many edits in flight, begun in order, with a bound.
//!
//! Invariant: an edit is handed to the engine before the next one is made, so that positions in a text
//! mean what they meant when the trace was recorded.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Poll;

use crate::error::BenchError;

/// Edits that may wait for their commit at once: what fills one turn of the engine and the next, and less
/// than what a replica's queue takes.
const WINDOW: usize = 4000;

type Edit = Pin<Box<dyn Future<Output = Result<(), tombolo::Error>> + Send>>;

/// Edits that were begun and are not durable yet.
#[derive(Default)]
pub(crate) struct Window {
    edits: VecDeque<Edit>,
}

impl Window {
    /// Begins an edit; waits for the oldest if the window is full.
    pub(crate) async fn push(
        &mut self,
        edit: impl Future<Output = Result<(), tombolo::Error>> + Send + 'static,
    ) -> Result<(), BenchError> {
        if self.edits.len() >= WINDOW {
            self.wait_for_oldest().await?;
        }
        // Without the scheduler's budget, or a poll could end before the edit was handed over.
        let mut edit: Edit = Box::pin(tokio::task::unconstrained(edit));
        match std::future::poll_fn(|context| Poll::Ready(edit.as_mut().poll(context))).await {
            Poll::Ready(done) => Ok(done?),
            Poll::Pending => {
                self.edits.push_back(edit);
                Ok(())
            }
        }
    }

    /// Waits until all are durable.
    pub(crate) async fn finish(mut self) -> Result<(), BenchError> {
        while !self.edits.is_empty() {
            self.wait_for_oldest().await?;
        }
        Ok(())
    }

    async fn wait_for_oldest(&mut self) -> Result<(), BenchError> {
        match self.edits.pop_front() {
            Some(oldest) => Ok(oldest.await?),
            None => Ok(()),
        }
    }
}
