//! The people of one play, and what they hold: one verb of the scenarios each.
//!
//! Invariant: a step that waits can be dropped at any point; who plays gives it its time.

mod devices;
mod documents;
mod people;
mod relays;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use tombolo::crypto::RecoveryKit;
use tombolo::protocol::ids::{DocumentId, WorkspaceId};
use tombolo::{Document, DocumentEvents, Replica, Workspace};

use crate::fault::Fault;
use crate::relay::Relay;
use crate::scenario::Scenario;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long a step has waited when it is cancelled.
const WAITED: Duration = Duration::from_millis(200);
/// How long a step may go on that was cancelled.
const CANCELLED: Duration = Duration::from_millis(100);

/// What a step has named, for other stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// `workspace`, `document`, `invite`, `relay` or `version`.
    pub kind: String,
    /// Its name in the scenario.
    pub name: String,
    /// What it is.
    pub value: String,
}

/// The people of one play.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    program: PathBuf,
    relay: Option<Relay>,
    address: String,
    replicas: BTreeMap<String, Replica>,
    workspaces: BTreeMap<String, WorkspaceId>,
    documents: BTreeMap<String, DocumentId>,
    invites: BTreeMap<String, String>,
    watches: BTreeMap<String, DocumentEvents>,
    kit: Option<RecoveryKit>,
    named: Vec<Named>,
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 'a>>;

impl Stage {
    /// Makes an empty one, whose stores are in a folder and whose relay is `program relay serve …`.
    #[must_use]
    pub fn new(folder: &Path, program: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            program: program.to_owned(),
            relay: None,
            address: String::new(),
            replicas: BTreeMap::new(),
            workspaces: BTreeMap::new(),
            documents: BTreeMap::new(),
            invites: BTreeMap::new(),
            watches: BTreeMap::new(),
            kit: None,
            named: Vec::new(),
        }
    }

    /// Plays a whole scenario, and ends.
    ///
    /// # Errors
    /// [`Fault`] that says at which step it went wrong.
    pub async fn play(&mut self, scenario: &Scenario) -> Result<(), Fault> {
        for (number, step) in scenario.steps.iter().enumerate() {
            let done = tokio::time::timeout(PATIENCE, self.step(step)).await;
            let fault = match done {
                Ok(Ok(())) => continue,
                Ok(Err(fault)) => fault,
                Err(_) => Fault::otherwise("it takes too long"),
            };
            let at = format!("{}, step {}, `{}`: {fault}", scenario.name, number + 1, step.join(" "));
            return Err(Fault::otherwise(at));
        }
        self.end().await
    }

    /// Closes everything.
    ///
    /// # Errors
    /// [`Fault`] if a store can not be closed.
    pub async fn end(&mut self) -> Result<(), Fault> {
        self.watches.clear();
        for (_, replica) in std::mem::take(&mut self.replicas) {
            closed(&replica).await?;
        }
        self.relay = None;
        Ok(())
    }

    /// Learns what another stage has named.
    ///
    /// # Errors
    /// [`Fault`] if it is nothing that has names.
    pub fn learn(&mut self, named: &Named) -> Result<(), Fault> {
        let (name, value) = (named.name.clone(), named.value.clone());
        let no_id = |_| Fault::otherwise(format!("{value} is no id"));
        match named.kind.as_str() {
            "workspace" => drop(self.workspaces.insert(name, value.parse().map_err(no_id)?)),
            "document" => drop(self.documents.insert(name, value.parse().map_err(no_id)?)),
            "invite" => drop(self.invites.insert(name, value)),
            "relay" => self.address = value,
            kind => return Err(Fault::otherwise(format!("nobody learns a {kind}"))),
        }
        Ok(())
    }

    /// Takes what the steps so far have named.
    pub fn told(&mut self) -> Vec<Named> {
        std::mem::take(&mut self.named)
    }

    fn name(&mut self, kind: &str, name: &str, value: String) -> Result<(), Fault> {
        let named = Named { kind: kind.to_owned(), name: name.to_owned(), value };
        self.learn(&named)?;
        self.named.push(named);
        Ok(())
    }

    /// Plays one step.
    pub fn step<'a>(&'a mut self, words: &'a [String]) -> Step<'a> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Box::pin(async move {
            match words.as_slice() {
                ["fails", kind, step @ ..] => self.fails(kind, &owned(step)).await,
                ["cancels", step @ ..] => self.cancels(&owned(step)).await,
                ["open" | "reopen", who] => {
                    let replica = Replica::open(self.store(who)).await?;
                    self.replicas.insert((*who).to_owned(), replica);
                    Ok(())
                }
                ["close", who] => closed(self.replica(who)?).await,
                words => {
                    if self.of_documents(words).await? || self.of_relays(words).await? {
                        return Ok(());
                    }
                    if self.of_people(words).await? || self.of_devices(words).await? {
                        return Ok(());
                    }
                    Err(Fault::otherwise(format!("nobody knows how to {}", words.join(" "))))
                }
            }
        })
    }

    async fn fails(&mut self, kind: &str, step: &[String]) -> Result<(), Fault> {
        let Err(fault) = self.step(step).await else {
            return Err(Fault::otherwise(format!("it did not fail with {kind}")));
        };
        let named = fault.name();
        if named != kind && named.split('.').next() != Some(kind) {
            return Err(Fault::otherwise(format!("{named} is not {kind}: {fault}")));
        }
        if fault.to_string().split(' ').count() <= 3 {
            return Err(Fault::otherwise(format!("{kind} gives no reason: {fault}")));
        }
        Ok(())
    }

    async fn cancels(&mut self, step: &[String]) -> Result<(), Fault> {
        let mut waiting = self.step(step);
        if tokio::time::timeout(WAITED, &mut waiting).await.is_ok() {
            return Err(Fault::otherwise("it did not wait"));
        }
        // What ends it in Rust is dropping it; the replica goes on, and answers.
        let began = Instant::now();
        drop(waiting);
        for replica in self.replicas.values() {
            replica.identity().await?;
        }
        let took = began.elapsed();
        if took < CANCELLED { Ok(()) } else { Err(Fault::otherwise(format!("it took {took:?} to end"))) }
    }

    fn store(&self, who: &str) -> PathBuf {
        self.folder.join(format!("{who}.tombolo"))
    }

    fn replica(&self, who: &str) -> Result<&Replica, Fault> {
        self.replicas.get(who).ok_or_else(|| Fault::otherwise(format!("{who} is not here")))
    }

    fn workspace(&self, who: &str, name: &str) -> Result<Workspace, Fault> {
        let id = self.workspaces.get(name).ok_or_else(|| Fault::otherwise(format!("there is no {name}")))?;
        Ok(self.replica(who)?.workspace(*id))
    }

    fn document(&self, who: &str, name: &str) -> Result<Document, Fault> {
        let id = self.documents.get(name).ok_or_else(|| Fault::otherwise(format!("there is no {name}")))?;
        Ok(self.replica(who)?.document(*id))
    }
}

/// Waits until something is what it should become: looks again whenever something has happened.
async fn until<T: PartialEq>(
    wanted: T,
    look: impl AsyncFn() -> Result<T, Fault>,
    mut happened: impl AsyncFnMut() -> Option<()>,
) -> Result<(), Fault> {
    while look().await? != wanted {
        happened().await.ok_or_else(|| Fault::otherwise("the events have ended"))?;
    }
    Ok(())
}

/// Closes a store; closing it again does nothing.
async fn closed(replica: &Replica) -> Result<(), Fault> {
    match replica.close().await {
        Ok(()) | Err(tombolo::Error::Closed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn number<T: std::str::FromStr>(word: &str) -> Result<T, Fault> {
    word.parse().map_err(|_| Fault::otherwise(format!("{word} is no number")))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
