//! What handles ask of the thread that owns store and engine, and how they are answered.
//!
//! Invariant: whoever asks is answered, with the reason if nothing was done; a caller that has stopped
//! waiting is no error.

use tokio::sync::{mpsc, oneshot};
use tombolo_protocol::ids::DocumentId;

use super::events::DocumentEvent;
use super::looks::{Found, Look};
use crate::engine::{Engine, Input, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx};
use crate::sync::milestone::Milestone;

/// Commands that wait for the engine; callers wait beyond it.
pub(super) const COMMANDS_MAX: usize = 4096;

/// Answers a caller once it is known whether the commit was made.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// The engine inside a turn's transaction, or why there is none.
pub(super) type Turn<'a> = Result<(&'a mut Engine, Now, &'a Tx<'a>), StoreError>;
/// Work on the engine inside a turn's transaction.
pub(super) type Job = Box<dyn for<'a> FnOnce(Turn<'a>) -> Result<Answer, (StoreError, Answer)> + Send>;

/// Answers with the events of a document.
pub(super) type WatchAnswer = oneshot::Sender<Result<mpsc::Receiver<DocumentEvent>, Error>>;

/// What the driver is asked to do.
pub(super) enum Command {
    /// Work on the engine.
    Run(Job),
    /// Something happened.
    Input(Input),
    /// Watch a document.
    Watch(DocumentId, WatchAnswer),
    /// One watcher of a document has gone.
    Unwatch(DocumentId),
    /// Tell when what was written into a document so far has come this far; whoever waits is known to the driver from
    /// the turn on that makes the wait, and so is told if it or a later one fails.
    Await(DocumentId, Milestone, oneshot::Sender<Result<(), Error>>),
    /// Tell when something has become true.
    Until(Look, Found),
    /// Drain, write everything back into the store's file, and let go of it.
    Pause(oneshot::Sender<Result<(), Error>>),
    /// Drain and end.
    Close(oneshot::Sender<Result<(), Error>>),
}

/// Prepares to tell a caller why it was refused, or that the whole turn failed.
pub(super) fn refusal(error: Error, answer: oneshot::Sender<Result<(), Error>>) -> Answer {
    // The caller may have stopped waiting.
    Box::new(|committed| drop(answer.send(committed.map_err(Error::Store).and(Err(error)))))
}

/// Tells each caller why nothing was done for it.
pub(super) fn refuse_all(batch: impl Iterator<Item = Command>, error: &StoreError) {
    for command in batch {
        // The callers may have stopped waiting.
        match command {
            Command::Run(job) => {
                if let Err((error, answer)) = job(Err(error.clone())) {
                    answer(Err(error));
                }
            }
            Command::Watch(_, answer) => drop(answer.send(Err(Error::Store(error.clone())))),
            Command::Await(_, _, answer)
            | Command::Until(_, answer)
            | Command::Pause(answer)
            | Command::Close(answer) => {
                drop(answer.send(Err(Error::Store(error.clone()))));
            }
            Command::Input(_) | Command::Unwatch(_) => {}
        }
    }
}
