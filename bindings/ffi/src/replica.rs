//! A replica: the handle that an app opens first.

use std::sync::Arc;
use std::time::Duration;

use tombolo::protocol::ids::{DeviceId, DocumentId, UserId, WorkspaceId};

use crate::cancellation::{Cancellation, unless};
use crate::debt::{ReasonCount, counted};
use crate::devices::{LinkApproval, LinkRequest, RecoveryKit, duplicate};
use crate::document::Document;
use crate::error::TomboloError;
use crate::events::{RelayDescription, ReplicaEvent, ReplicaListener};
use crate::live::Live;
use crate::options::OpenOptions;
use crate::records::{Alarm, DeviceDescription, LinkWay, Unsent, WorkspaceSummary};
use crate::runtime;
use crate::subscription::Subscription;
use crate::workspace::Workspace;

/// This device and this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Identity {
    /// This device.
    pub device: DeviceId,
    /// Whose it is.
    pub user: UserId,
}

/// What the system says of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Reachability {
    /// There is one, or another one: relays are dialled now instead of after their wait.
    Reachable,
    /// There is none: nothing is done, sessions end by themselves.
    Unreachable,
}

/// One durable local copy: a store, its identity, and its sessions with relays.
///
/// The last handle that goes, with those of its workspaces and documents, closes the store; `shutdown` waits for that.
#[derive(Debug, uniffi::Object)]
pub struct Replica {
    core: tombolo::Replica,
    _live: Live,
}

impl Replica {
    fn new(core: tombolo::Replica) -> Arc<Self> {
        Arc::new(Self { core, _live: Live::new() })
    }
}

#[uniffi::export]
impl Replica {
    /// Opens a store, or makes it. No network is needed; relays that were dialled before are dialled again.
    ///
    /// # Errors
    /// `Store` says what is in the way.
    #[uniffi::constructor]
    pub async fn open(options: OpenOptions) -> Result<Arc<Self>, TomboloError> {
        let builder = options.builder()?;
        Ok(Self::new(runtime::run(async { Ok(builder.open().await?) }).await?))
    }

    /// Brings a user back from a kit, into a new store.
    ///
    /// # Errors
    /// `Misuse` if there is a workspace at the path, `Store`.
    #[uniffi::constructor]
    pub async fn recover(kit: Arc<RecoveryKit>, options: OpenOptions) -> Result<Arc<Self>, TomboloError> {
        let (kit, builder) = (kit.duplicate()?, options.builder()?);
        Ok(Self::new(runtime::run(async { Ok(builder.recover(kit).await?) }).await?))
    }

    /// Returns this device and this user.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn identity(&self) -> Result<Identity, TomboloError> {
        let (device, user) = self.core.identity().await?;
        Ok(Identity { device, user })
    }

    /// Hears of everything that happens: how things stand first.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn subscribe(&self, listener: Arc<dyn ReplicaListener>) -> Result<Arc<Subscription>, TomboloError> {
        // What happens between the two is told twice rather than never.
        let events = self.core.events();
        let current = ReplicaEvent::Current { workspaces: self.workspaces().await?, relays: self.relays().await? };
        Subscription::start(Some(current), events, listener)
    }

    /// Returns how often each kind of bad input was met since the replica was opened.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn counters(&self) -> Result<Vec<ReasonCount>, TomboloError> {
        Ok(counted(self.core.counters().await?.iter()))
    }

    /// Ends all sessions and closes the store; other handles answer `Closed` from then on.
    ///
    /// # Errors
    /// `Store` if something could not be written back, `Closed` if it was closed before.
    pub async fn shutdown(&self) -> Result<(), TomboloError> {
        Ok(self.core.close().await?)
    }
}

#[uniffi::export]
impl Replica {
    /// Founds a workspace; no network is needed.
    ///
    /// # Errors
    /// `Store`.
    pub async fn create_workspace(&self, name: String) -> Result<Arc<Workspace>, TomboloError> {
        Ok(Workspace::new(self.core.create_workspace(&name).await?))
    }

    /// Lists the workspaces.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceSummary>, TomboloError> {
        Ok(self.core.workspaces().await?)
    }

    /// Returns a handle to a workspace; whether it exists shows when it is used.
    ///
    /// # Errors
    /// `Misuse` if the text is no id.
    pub fn workspace(&self, id: WorkspaceId) -> Result<Arc<Workspace>, TomboloError> {
        Ok(Workspace::new(self.core.workspace(id)))
    }

    /// Returns a handle to a document; whether it exists shows when it is used.
    ///
    /// # Errors
    /// `Misuse` if the text is no id.
    pub fn document(&self, id: DocumentId) -> Result<Arc<Document>, TomboloError> {
        Ok(Document::new(self.core.document(id)))
    }

    /// Accepts an invite; the intention is durable at once. `Workspace::ready` waits until a relay has taken it.
    ///
    /// # Errors
    /// `Input` if the text is no invite, `Store`.
    pub async fn join(&self, invite: String) -> Result<Arc<Workspace>, TomboloError> {
        Ok(Workspace::new(self.core.join(&invite).await?))
    }

    /// Deletes all that this device holds of a workspace. The others keep it.
    ///
    /// # Errors
    /// `UnsentWork` if there is own work that no relay has, unless that shall go too; `NotFound`, `Store`.
    pub async fn forget_workspace(&self, id: WorkspaceId, unsent: Unsent) -> Result<(), TomboloError> {
        Ok(self.core.forget_workspace(id, unsent).await?)
    }
}

#[uniffi::export]
impl Replica {
    /// Reaches a relay, and keeps reaching it: the address is remembered by the store. `allow_proxy` is for a relay
    /// behind a proxy that ends TLS, which must be trusted; a relay may want a token.
    ///
    /// # Errors
    /// `Input` for an address that can not be dialled safely, `Store`.
    pub async fn dial(&self, address: String, allow_proxy: bool, token: Option<String>) -> Result<(), TomboloError> {
        Ok(self.core.dial_with(&address, allow_proxy, token.as_deref()).await?)
    }

    /// Returns the relays that were dialled, and how each session stands.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn relays(&self) -> Result<Vec<RelayDescription>, TomboloError> {
        let relays = self.core.relays().await?.into_iter();
        Ok(relays.map(|(address, state)| RelayDescription { address, status: state.into() }).collect())
    }

    /// Says what the system has noticed of the network.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn notify_network(&self, reachability: Reachability) -> Result<(), TomboloError> {
        match reachability {
            Reachability::Reachable => Ok(self.core.notify_network().await?),
            Reachability::Unreachable => Ok(()),
        }
    }

    /// Ends all sessions, writes everything back and lets go of the file: what a mobile app does before it is
    /// suspended. Calls still work, offline.
    ///
    /// # Errors
    /// `Store` if the disk is full; nothing acknowledged is lost.
    pub async fn pause(&self) -> Result<(), TomboloError> {
        Ok(self.core.pause().await?)
    }

    /// Reaches the relays again.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn resume(&self) -> Result<(), TomboloError> {
        Ok(self.core.resume().await?)
    }

    /// Reaches the relays, and returns as soon as nothing is owed: what fits a background task.
    ///
    /// # Errors
    /// `Deadline` if the time is over first; the work goes on while the replica is open.
    #[uniffi::method(default(cancellation = None))]
    pub async fn sync_once(
        &self,
        deadline: Duration,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<(), TomboloError> {
        let core = self.core.clone();
        runtime::run(async move { unless(cancellation, core.sync_once(deadline)).await }).await
    }
}

#[uniffi::export]
impl Replica {
    /// Asks, at a relay, to become a device of somebody who has one already.
    ///
    /// # Errors
    /// `Input` if a link is under way or the address is none, `Denied`, `Store`.
    pub async fn request_link(&self, address: String, way: LinkWay) -> Result<Arc<LinkRequest>, TomboloError> {
        let request = self.core.request_link(&address, way).await?;
        Ok(LinkRequest::new(self.core.clone(), request))
    }

    /// Takes up the request of a new device: the text of its QR code, or the code that was typed.
    ///
    /// # Errors
    /// `Input` if it is none, too old or used, `NotReady` for a code while no relay is reached.
    pub async fn approve_link(&self, text: String) -> Result<Arc<LinkApproval>, TomboloError> {
        let approval = self.core.approve_link(&text).await?;
        Ok(LinkApproval::new(self.core.clone(), approval))
    }

    /// Lists the devices of this user.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn devices(&self) -> Result<Vec<DeviceDescription>, TomboloError> {
        Ok(self.core.devices().await?)
    }

    /// Names a device of this user.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub async fn rename_device(&self, device: DeviceId, name: String) -> Result<(), TomboloError> {
        Ok(self.core.rename_device(device, &name).await?)
    }

    /// Gives up another device of this user: each workspace shuts it out as soon as a session is level.
    ///
    /// # Errors
    /// `NotFound`, `NotReady` for this very device, `Store`.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), TomboloError> {
        Ok(self.core.revoke_device(device).await?)
    }

    /// Lists what a person should look at.
    ///
    /// # Errors
    /// `Store`.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, TomboloError> {
        Ok(self.core.alarms().await?)
    }

    /// Forgets the alarms.
    ///
    /// # Errors
    /// `Store`.
    pub async fn dismiss_alarms(&self) -> Result<(), TomboloError> {
        Ok(self.core.dismiss_alarms().await?)
    }

    /// Begins a recovery kit.
    ///
    /// # Errors
    /// `Denied` where the user's root is not: on linked devices, and after a kit was confirmed.
    pub async fn recovery_kit(&self) -> Result<Arc<RecoveryKit>, TomboloError> {
        let kit = self.core.recovery_kit().await?;
        Ok(RecoveryKit::new(duplicate(kit.kit())?))
    }

    /// Confirms that the person holds a kit, as it was read back; the root is erased on this device.
    ///
    /// # Errors
    /// `Input` if it is another user's, `Denied`, `Store`.
    pub async fn confirm_kit(&self, kit: Arc<RecoveryKit>) -> Result<(), TomboloError> {
        Ok(self.core.confirm_kit(kit.duplicate()?).await?)
    }
}
