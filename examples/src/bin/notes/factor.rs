//! Showing a relay the second factor that it wants: a code of an authenticator.
//!
//! Invariant: the secret of a new authenticator is shown once and never kept; a person is asked for few codes.

use std::collections::BTreeSet;

use tombolo::engine::Event;
use tombolo::protocol::ids::WorkspaceId;
use tombolo::{Error, Replica, ReplicaEvents, StepUpMethod, StepUpRefusal};

use crate::failure::Failure;
use crate::{devices, page};

/// Wrong codes after which nobody is asked again.
const TRIES_MAX: usize = 3;

/// What relays want while this program runs.
#[derive(Default)]
pub(crate) struct Factors {
    /// Relays to which no code could be shown: nobody answered.
    given_up: BTreeSet<String>,
}

/// A relay that wants a second factor.
pub(crate) struct Wanted {
    address: String,
    workspace: WorkspaceId,
}

impl Factors {
    /// Returns when a relay wants a factor that a person can be asked for.
    pub(crate) async fn wanted(&self, events: &mut ReplicaEvents) -> Result<Wanted, Failure> {
        loop {
            match events.next().await.ok_or(Failure::Tombolo(Error::Closed))? {
                Event::StepUpWanted { address, workspace, .. } if !self.given_up.contains(&address) => {
                    return Ok(Wanted { address, workspace });
                }
                _ => {}
            }
        }
    }

    /// Asks for codes until one is taken, nobody answers, or too many were wrong.
    pub(crate) async fn show(&mut self, replica: &Replica, wanted: Wanted) -> Result<(), Failure> {
        let Wanted { address, workspace } = wanted;
        for _ in 0..TRIES_MAX {
            let mut asked = replica.workspace(workspace).step_up(&address, StepUpMethod::Totp).await?;
            if let Some(secret) = &asked.question().enrolment {
                page::tell(&format!(
                    "{address} wants a second factor. Scan this with an authenticator app; it is shown only now:"
                ))?;
                page::tell(&devices::drawn(secret))?;
                page::tell(secret)?;
            }
            let question = format!("the code of your authenticator for {address}: ");
            let code = tokio::task::spawn_blocking(move || page::ask(&question)).await;
            let code = code.map_err(|_| Failure::Tombolo(Error::Closed))??;
            if code.is_empty() {
                break;
            }
            match asked.prove(&code).await {
                Ok(_) => return page::tell("the code was taken"),
                Err(Error::StepUp(refusal)) => {
                    page::tell(&Error::StepUp(refusal).to_string())?;
                    if matches!(refusal, StepUpRefusal::NotOffered | StepUpRefusal::TooMany) {
                        break;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.given_up.insert(address);
        Ok(())
    }
}
