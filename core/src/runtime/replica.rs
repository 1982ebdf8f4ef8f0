//! A replica: the handle that an app opens first.
//!
//! Invariant: dropping the last handle closes the store as [`Replica::close`] does, only nobody waits
//! for it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tombolo_crypto::InviteLink;
use tombolo_protocol::ids::{DeviceId, DocumentId, UserId, WorkspaceId};

use super::builder::ReplicaBuilder;
use super::command::{Answer, COMMANDS_MAX, Command, Job};
use super::driver::{Driver, Setup};
use super::events::{Listeners, Outlets, ReplicaEvents};
use super::handles::{Document, Workspace};
use crate::engine::{Engine, Input, Now, RelayState};
use crate::error::Error;
use crate::store::{StoreError, Tx, WorkspaceState};
use crate::sync::reason::Counters;
use crate::workspace::{Unsent, WorkspaceSummary};

/// One durable local copy: a store, its identity, and its sessions with relays.
///
/// It is a handle: clones share the replica.
///
/// ```
/// # async fn example() -> Result<(), tombolo::Error> {
/// # let folder = tempfile::tempdir().map_err(tombolo::StoreError::from)?;
/// # let path = folder.path().join("notes.tombolo");
/// use tombolo::{Replica, document::Crdt};
///
/// let replica = Replica::open(&path).await?;
/// let workspace = replica.create_workspace("Field notes").await?;
/// let document = workspace.create_document(Crdt::Automerge).await?;
/// document
///     .edit(|e| {
///         e.put("title", "Reef survey")?;
///         e.text("body")?.splice(0, 0, "Low tide at six.")
///     })
///     .await?;
/// let title = document.read(|view| view.get("title")).await?;
/// assert_eq!(title, Some("Reef survey".into()));
/// replica.close().await
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Replica {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) listeners: Listeners,
}

impl Replica {
    /// Opens the store at a path with the defaults: a key file beside it, and power-cut durability.
    ///
    /// # Errors
    /// As [`ReplicaBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(path).open().await
    }

    /// Begins to open a store with choices of one's own.
    pub fn builder(path: impl Into<PathBuf>) -> ReplicaBuilder {
        ReplicaBuilder::at(path.into())
    }

    /// Founds a workspace; no network is needed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create_workspace(&self, name: &str) -> Result<Workspace, Error> {
        let name = name.to_owned();
        let id = self.call(move |engine, now, tx| engine.create_workspace(now, &name, tx)).await?;
        Ok(self.workspace(id))
    }

    /// Lists the workspaces.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceSummary>, Error> {
        self.call(|engine, _, _| Ok(engine.workspaces())).await
    }

    /// Returns a handle to a workspace; whether it exists shows when it is used.
    #[must_use]
    pub fn workspace(&self, id: WorkspaceId) -> Workspace {
        Workspace { replica: self.clone(), id }
    }

    /// Returns a handle to a document; whether it exists shows when it is used.
    #[must_use]
    pub fn document(&self, id: DocumentId) -> Document {
        Document { replica: self.clone(), id }
    }

    /// Accepts an invite. The intention is durable at once; the device becomes a member when a relay of
    /// the invite is reached: [`Workspace::ready`] waits for that.
    ///
    /// # Errors
    /// [`Error::Invite`] if the text is no invite, [`Error::Address`], [`Error::Store`].
    pub async fn join(&self, invite: &str) -> Result<Workspace, Error> {
        let link: InviteLink = invite.parse()?;
        let id = self.call(move |engine, now, tx| engine.join(now, link, tx)).await?;
        Ok(self.workspace(id))
    }

    /// Deletes all that this device holds of a workspace. The others keep it; another invite brings it back.
    ///
    /// # Errors
    /// [`Error::UnsentWork`] if there is own work in it that no relay has, unless `unsent` says that it goes
    /// too; [`Error::NoWorkspace`], [`Error::Store`].
    pub async fn forget_workspace(&self, id: WorkspaceId, unsent: Unsent) -> Result<(), Error> {
        self.call(move |engine, now, tx| engine.forget_workspace(now, &id, unsent, tx)).await
    }

    /// Reaches a relay, and keeps reaching it: the address is remembered by the store.
    ///
    /// # Errors
    /// [`Error::Address`] for an address that can not be dialled safely, [`Error::Store`].
    #[cfg(feature = "network")]
    pub async fn dial(&self, address: &str) -> Result<(), Error> {
        self.dial_with(address, false, None).await
    }

    /// Reaches a relay that wants a token, or that stands behind a proxy which ends TLS: the session is
    /// then not tied to the TLS connection, so the proxy must be trusted not to hand it on.
    ///
    /// # Errors
    /// As [`Replica::dial`].
    #[cfg(feature = "network")]
    pub async fn dial_with(&self, address: &str, allow_proxy: bool, token: Option<&str>) -> Result<(), Error> {
        let (address, token) = (address.to_owned(), token.map(ToOwned::to_owned));
        let dial = move |engine: &mut Engine, now: Now, tx: &Tx<'_>| {
            engine.dial(now, &address, allow_proxy, token.as_deref(), tx).map(|_| ())
        };
        self.call(dial).await
    }

    /// Returns the relays that were dialled, and how each session stands.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn relays(&self) -> Result<Vec<(String, RelayState)>, Error> {
        self.call(|engine, now, _| Ok(engine.relay_states(now))).await
    }

    /// Returns how often each kind of bad input was met since the replica was opened.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn counters(&self) -> Result<Counters, Error> {
        self.call(|engine, _, _| Ok(engine.counters().clone())).await
    }

    /// Returns this device and this user.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn identity(&self) -> Result<(DeviceId, UserId), Error> {
        self.call(|engine, _, _| Ok((engine.device_id(), engine.user_id()))).await
    }

    /// Hears of everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> ReplicaEvents {
        self.listeners.events()
    }

    /// Says that the network has changed: dial now instead of waiting.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn notify_network(&self) -> Result<(), Error> {
        self.commands.send(Command::Input(Input::NetworkChanged)).await.map_err(|_| Error::Closed)
    }

    /// Ends all sessions, writes everything back into the store's file, and lets go of it and its lock:
    /// what a mobile app does before it is suspended. Calls still work, offline.
    ///
    /// # Errors
    /// [`Error::Store`] if the disk is full; nothing acknowledged is lost.
    pub async fn pause(&self) -> Result<(), Error> {
        self.ask(Command::Pause).await
    }

    /// Reaches the relays again.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn resume(&self) -> Result<(), Error> {
        self.commands.send(Command::Input(Input::Resume)).await.map_err(|_| Error::Closed)
    }

    /// Reaches the relays, and returns as soon as nothing is owed in any workspace: what fits a
    /// background task.
    ///
    /// # Errors
    /// [`Error::Deadline`] if the time is over first; the work goes on while the replica is open.
    pub async fn sync_once(&self, deadline: Duration) -> Result<(), Error> {
        self.resume().await?;
        self.notify_network().await?;
        let settled = self.until(|engine, _, tx| {
            // Nothing is to be had for an invite that was refused for good.
            let waits = |summary: &WorkspaceSummary| !matches!(summary.state, WorkspaceState::Refused(_));
            for workspace in engine.workspaces().into_iter().filter(waits) {
                if !engine.is_settled(&workspace.id, tx)? {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        tokio::time::timeout(deadline, settled).await.map_err(|_| Error::Deadline)?
    }

    /// Ends all sessions and closes the store; other handles answer [`Error::Closed`] from then on.
    ///
    /// # Errors
    /// [`Error::Store`] if something could not be written back; nothing acknowledged is lost.
    pub async fn close(&self) -> Result<(), Error> {
        self.ask(Command::Close).await
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Runs work on the engine and answers once its commit was made.
    pub(super) async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine, Now, &Tx<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |turn| {
            let mut full = false;
            let worked = turn.map_err(Error::Store).and_then(|(engine, now, tx)| {
                full = tx.room().is_err();
                work(engine, now, tx)
            });
            let (result, failed) = match worked {
                // What would write is refused before it did anything: the others of the turn go on.
                Err(Error::Store(StoreError::DiskFull)) if full => (Some(worked), None),
                Err(Error::Store(error)) => (None, Some(error)),
                result => (Some(result), None),
            };
            let finish: Answer = Box::new(move |committed: Result<(), StoreError>| {
                let result = committed.map_err(Error::Store).and_then(|()| result.unwrap_or(Err(Error::Closed)));
                // The caller may have stopped waiting.
                drop(answer.send(result));
            });
            match failed {
                Some(error) => Err((error, finish)),
                None => Ok(finish),
            }
        });
        self.commands.send(Command::Run(job)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Waits until something is true, by a look at the end of each turn of the engine.
    pub(super) async fn until(
        &self,
        look: impl Fn(&mut Engine, Now, &Tx<'_>) -> Result<bool, Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.ask(|answer| Command::Until(Box::new(look), answer)).await
    }
}

pub(super) async fn start(setup: Setup) -> Result<Replica, Error> {
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let outlets = Outlets::new();
    let (opened, opening) = oneshot::channel();
    let replica = Replica { commands, listeners: outlets.listeners() };
    #[cfg(feature = "network")]
    let weak = replica.commands.downgrade();
    #[cfg(feature = "network")]
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(opened.send(Err(Error::Store(error.into())))),
        };
        #[cfg(feature = "network")]
        let connections = match super::websocket::Dialler::new(&setup.roots) {
            Ok(dialler) => super::connection::Connections::new(handle, dialler, weak),
            Err(_) => return drop(opened.send(Err(Error::Address(crate::AddressError::BadRoot)))),
        };
        let driver = Driver::open(
            setup,
            queue,
            outlets,
            #[cfg(feature = "network")]
            connections,
        );
        match driver {
            Ok(driver) => {
                // If the caller has stopped waiting, its handle is gone and the driver ends by itself.
                drop(opened.send(Ok(())));
                driver.run(&runtime);
            }
            Err(error) => drop(opened.send(Err(Error::Store(error)))),
        }
    };
    let thread = std::thread::Builder::new().name("tombolo-engine".to_owned()).spawn(run);
    thread.map_err(|error| Error::Store(error.into()))?;
    opening.await.map_err(|_| Error::Closed)??;
    Ok(replica)
}
