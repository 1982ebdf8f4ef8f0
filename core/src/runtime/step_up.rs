//! A handle to a second factor that is being shown to a relay.
//!
//! Invariant: whoever waits is answered, also when the session ends; the handle holds the question until it
//! is proven, and prints nothing of it.

use tombolo_protocol::frame::StepUpMethod;
use tombolo_protocol::ids::WorkspaceId;

use super::events::ReplicaEvents;
use super::handles::Workspace;
use super::replica::Replica;
use crate::engine::{Event, RelayState};
use crate::error::Error;
use crate::sync::step_up::StepUpQuestion;

/// A second factor that a relay waits for.
#[derive(Debug)]
pub struct StepUpHandle {
    replica: Replica,
    events: ReplicaEvents,
    address: String,
    workspace: WorkspaceId,
    question: StepUpQuestion,
}

impl Workspace {
    /// Asks the relay at an address what second factor it takes for this workspace. Once one was shown, what
    /// the relay had refused for want of it goes out by itself.
    ///
    /// # Errors
    /// [`Error::NoRelay`] if no session with it stands, [`Error::StepUp`] if this device is no member there.
    pub async fn step_up(&self, address: &str, method: StepUpMethod) -> Result<StepUpHandle, Error> {
        let (replica, workspace, address) = (self.replica.clone(), self.id, address.to_owned());
        let mut events = replica.events();
        let at = address.clone();
        replica.call(move |engine, _, _| engine.ask_step_up(&at, &workspace, method)).await?;
        loop {
            match next_of(&mut events, &address, &workspace).await? {
                Told::Asked => {}
                Told::Judged(outcome) => return Err(outcome.err().unwrap_or(Error::NoRelay)),
            }
            let at = address.clone();
            if let Some(question) = replica.call(move |engine, _, _| Ok(engine.take_question(&at))).await? {
                return Ok(StepUpHandle { replica, events, address, workspace, question });
            }
        }
    }
}

impl StepUpHandle {
    /// Returns what the relay asks.
    #[must_use]
    pub fn question(&self) -> &StepUpQuestion {
        &self.question
    }

    /// Shows a code, an id token, or nothing for the device's own word; returns the level that the session has
    /// by it, and until when by the relay's clock (zero: as long as the session lives).
    ///
    /// After [`tombolo_protocol::frame::StepUpRefusal::Unavailable`] the same may be shown again; after any
    /// other refusal a new handle is needed.
    ///
    /// # Errors
    /// [`Error::StepUp`] if it was not taken, [`Error::NoRelay`] if the session ended.
    pub async fn prove(&mut self, proof: &str) -> Result<(u8, i64), Error> {
        let (address, proof) = (self.address.clone(), proof.to_owned());
        self.replica.call(move |engine, _, _| engine.prove_step_up(&address, &proof)).await?;
        loop {
            if let Told::Judged(outcome) = next_of(&mut self.events, &self.address, &self.workspace).await? {
                return outcome;
            }
        }
    }
}

/// What concerns a second factor.
enum Told {
    Asked,
    Judged(Result<(u8, i64), Error>),
}

async fn next_of(events: &mut ReplicaEvents, at: &str, of: &WorkspaceId) -> Result<Told, Error> {
    loop {
        match events.next().await.ok_or(Error::Closed)? {
            Event::StepUpAsked { address, workspace } if address == at && workspace == *of => return Ok(Told::Asked),
            Event::SteppedUp { address, workspace, level, until_ms, refused } if address == at && workspace == *of => {
                let outcome = refused.map_or(Ok((level, until_ms)), |refusal| Err(Error::StepUp(refusal)));
                return Ok(Told::Judged(outcome));
            }
            Event::Relay { address, state: RelayState::Offline { .. } } if address == at => return Err(Error::NoRelay),
            _ => {}
        }
    }
}
