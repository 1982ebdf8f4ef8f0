//! Callers that wait for something to become true.
//!
//! Invariant: each is asked for at the end of every turn, within its commit, so what a turn made true is not missed; it is
//! answered behind that commit. If a turn fails they wait on, and are told if the store can not be opened again.

use tokio::sync::oneshot;

use super::command::{Answer, refusal};
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx};

/// Tells whether it is so by now, or why it can not be.
pub(super) type Look = Box<dyn Fn(&mut Engine, Now, &Tx<'_>) -> Result<bool, Error> + Send>;
/// Answers who waits for that.
pub(super) type Found = oneshot::Sender<Result<(), Error>>;

/// Those that wait.
#[derive(Default)]
pub(super) struct Looks(Vec<(Look, Found)>);

impl Looks {
    pub(super) fn add(&mut self, look: Look, answer: Found) {
        self.0.push((look, answer));
    }

    /// Looks for each; those that have their answer are told once the turn is committed.
    pub(super) fn look(
        &mut self,
        engine: &mut Engine,
        now: Now,
        tx: &Tx<'_>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), StoreError> {
        // Some callers have stopped waiting.
        self.0.retain(|(_, answer)| !answer.is_closed());
        let mut at = 0;
        while let Some((look, _)) = self.0.get(at) {
            match look(engine, now, tx) {
                Ok(false) => at += 1,
                Ok(true) => {
                    let (_, answer) = self.0.swap_remove(at);
                    answers.push(Box::new(|committed| drop(answer.send(committed.map_err(Error::Store)))));
                }
                Err(Error::Store(error)) => {
                    answers.push(refusal(Error::Store(error.clone()), self.0.swap_remove(at).1));
                    return Err(error);
                }
                Err(error) => answers.push(refusal(error, self.0.swap_remove(at).1)),
            }
        }
        Ok(())
    }

    /// Tells all that the store is gone.
    pub(super) fn fail(&mut self, error: &StoreError) {
        for (_, answer) in self.0.drain(..) {
            // The caller may have stopped waiting.
            drop(answer.send(Err(Error::Store(error.clone()))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use crate::Replica;

    #[tokio::test]
    async fn what_the_turn_of_the_look_makes_true_is_not_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let replica = Replica::open(folder.path().join("store.tombolo")).await.expect("it opens");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let busy = replica.call(move |_, _, _| Ok(wait.recv().is_err()));
        let looked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&looked);
        let found = replica.until(move |engine, _, _| {
            seen.store(true, Ordering::SeqCst);
            Ok(!engine.workspaces().is_empty())
        });
        let begun = async {
            let workspace = replica.create_workspace("Field notes").await;
            assert!(looked.load(Ordering::SeqCst), "the turn that made the workspace has looked before it answered");
            workspace
        };
        let release = async {
            // All three are in the queue by now.
            drop(go);
        };
        let all = async { tokio::join!(busy, found, begun, release) };
        let (busy, found, begun, ()) = tokio::time::timeout(Duration::from_secs(20), all).await.expect("it was seen");
        busy.map(drop).and(found).and(begun.map(drop)).expect("done");
        replica.close().await.expect("closed");
    }
}
