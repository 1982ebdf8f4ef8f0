//! Handles to workspaces and documents: names with a replica behind them.
//!
//! Invariant: a handle holds no state; it may be cloned, sent and dropped freely.

use std::time::Duration;

use tokio::sync::oneshot;
use tombolo_crypto::InviteLink;
use tombolo_protocol::ids::{DeviceId, DocumentId, EntryHash, RecordId, UserId, WorkspaceId};
use tombolo_protocol::record::Role;

use super::command::Command;
use super::events::DocumentEvents;
use super::replica::Replica;
use crate::document::{
    AutomergeTransaction, Crdt, EditError, MapEdit, ReadError, Value, Version, View, YrsTransaction,
};
use crate::engine::{DocumentStats, DocumentSummary};
use crate::error::Error;
use crate::store::{RelayEvidence, WorkspaceState};
use crate::sync::debt::SyncDebt;
use crate::sync::milestone::Milestone;
use crate::workspace::{ActOutcome, InviteTerms, Member, MembershipAct, OpenInvite};

/// A workspace: members, keys and documents.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub(super) replica: Replica,
    pub(super) id: WorkspaceId,
}

impl Workspace {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> WorkspaceId {
        self.id
    }

    /// Returns its name, once it is known.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn name(&self) -> Result<Option<String>, Error> {
        let id = self.id;
        let find = move |engine: &mut crate::engine::Engine| {
            engine.workspaces().into_iter().find(|summary| summary.id == id).ok_or(Error::NoWorkspace(id))
        };
        Ok(self.replica.call(move |engine, _, _| find(engine)).await?.name)
    }

    /// Creates a document.
    ///
    /// # Errors
    /// [`Error::RoleDenied`] below writer, [`Error::NotReady`] while it is being joined.
    pub async fn create_document(&self, crdt: Crdt) -> Result<Document, Error> {
        let id = self.id;
        let document = self.replica.call(move |engine, now, tx| engine.create_document(now, &id, crdt, tx)).await?;
        Ok(self.replica.document(document))
    }

    /// Lists the documents, oldest first, without opening any.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn documents(&self) -> Result<Vec<DocumentSummary>, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, tx| engine.documents(&id, tx)).await
    }

    /// Lists the members.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, _| engine.members(&id)).await
    }

    /// Begins an invite: a link or QR payload; whoever holds it may join with nobody else online.
    pub fn invite(&self, role: Role) -> InviteBuilder {
        InviteBuilder { workspace: self.clone(), role, expires_in: None, uses: Some(1) }
    }

    /// Returns how far this device has come with it.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn state(&self) -> Result<WorkspaceState, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, _| engine.workspace_state(&id)).await
    }

    /// Changes who may do what. While a relay has to be caught up with first, the act is kept and stated
    /// then; [`Event::ActRefused`](crate::engine::Event::ActRefused) tells if it would not count any more.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason if it would not count, [`Error::NotReady`] without the keys.
    pub async fn act(&self, act: MembershipAct) -> Result<ActOutcome, Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.act(now, &id, act, tx)).await
    }

    /// Gives a member another role. Admins set roles up to writer, owners all.
    ///
    /// # Errors
    /// As [`Workspace::act`].
    pub async fn set_role(&self, user: UserId, role: Role) -> Result<ActOutcome, Error> {
        self.act(MembershipAct::SetRole { user, role, expires_ms: None }).await
    }

    /// Gives a member a role that ends, by the clock of the relay that is reached first, at this moment
    /// (milliseconds since 1970).
    ///
    /// # Errors
    /// As [`Workspace::act`]; [`Error::NoRelay`] if no relay was ever reached.
    pub async fn set_role_until(&self, user: UserId, role: Role, expires_ms: i64) -> Result<ActOutcome, Error> {
        self.act(MembershipAct::SetRole { user, role, expires_ms: Some(expires_ms) }).await
    }

    /// Removes a member: their devices can write nothing more and read nothing that is written from here
    /// on; what they decrypted stays with them. The keys change in the same record.
    ///
    /// # Errors
    /// As [`Workspace::act`].
    pub async fn remove_member(&self, user: UserId) -> Result<ActOutcome, Error> {
        self.act(MembershipAct::Remove { user }).await
    }

    /// Leaves the workspace; the last owner can not. One of those who stay begins new keys before anything more is
    /// sealed.
    ///
    /// # Errors
    /// As [`Workspace::act`].
    pub async fn leave(&self) -> Result<ActOutcome, Error> {
        let user = self.replica.call(|engine, _, _| Ok(engine.user_id())).await?;
        self.act(MembershipAct::Remove { user }).await
    }

    /// Makes another member owner, and this user admin.
    ///
    /// # Errors
    /// As [`Workspace::act`].
    pub async fn transfer_ownership(&self, to: UserId) -> Result<ActOutcome, Error> {
        self.act(MembershipAct::TransferOwnership { to }).await
    }

    /// Lists the invites that can still be used.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn invites(&self) -> Result<Vec<OpenInvite>, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, _| engine.invites(&id)).await
    }

    /// Ends an invite; if it was for one use, the keys change, since its holder could read.
    ///
    /// # Errors
    /// As [`Workspace::act`].
    pub async fn revoke_invite(&self, invite: RecordId) -> Result<ActOutcome, Error> {
        self.act(MembershipAct::RevokeInvite { invite }).await
    }

    /// Lets entries count that were set aside because they lie beyond a removed member's pins.
    ///
    /// # Errors
    /// [`Error::Refused`] below admin.
    pub async fn admit(&self, entries: Vec<EntryHash>) -> Result<(), Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.judge_entries(now, &id, entries, true, tx)).await.map(drop)
    }

    /// Keeps entries out for everybody: poison, or what should not have been written.
    ///
    /// # Errors
    /// [`Error::Refused`] below admin.
    pub async fn exclude(&self, entries: Vec<EntryHash>) -> Result<(), Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.judge_entries(now, &id, entries, false, tx)).await.map(drop)
    }

    /// Waits until this device is a member.
    ///
    /// # Errors
    /// [`Error::JoinRefused`] if the invite was refused for good, [`Error::NoWorkspace`],
    /// [`Error::Closed`].
    pub async fn ready(&self) -> Result<(), Error> {
        let id = self.id;
        let look = move |engine: &mut crate::engine::Engine, _, _: &crate::store::Tx<'_>| {
            let state = engine.workspace_state(&id)?;
            state.may_become_member()?;
            Ok(state == WorkspaceState::Member)
        };
        self.replica.until(look).await
    }

    /// Returns what is not at a relay yet, and why.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn sync_debt(&self) -> Result<SyncDebt, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, tx| engine.sync_debt(&id, tx)).await
    }

    /// Returns what its relays signed against themselves, oldest first.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn relay_evidence(&self) -> Result<Vec<RelayEvidence>, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, tx| engine.relay_evidence(&id, tx)).await
    }

    /// Waits until nothing is owed: everything here is at a relay, and everything there is here.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::JoinRefused`] if there is nothing to wait for, [`Error::Closed`].
    pub async fn settled(&self) -> Result<(), Error> {
        let id = self.id;
        let look = move |engine: &mut crate::engine::Engine, _, tx: &crate::store::Tx<'_>| {
            engine.workspace_state(&id)?.may_become_member()?;
            engine.is_settled(&id, tx)
        };
        self.replica.until(look).await
    }
}

/// An invite that is being put together; one use and no expiry unless said otherwise.
#[derive(Clone, Debug)]
#[must_use = "an invite does not exist before `create`"]
pub struct InviteBuilder {
    workspace: Workspace,
    role: Role,
    expires_in: Option<Duration>,
    uses: Option<u32>,
}

impl InviteBuilder {
    /// Ends the invite after this time, by the clock of the relay that counts its uses.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Lets this many join.
    pub fn uses(mut self, uses: u32) -> Self {
        self.uses = Some(uses);
        self
    }

    /// Lets any number join. Until it expires such an invite can not be ended, so give it a time.
    pub fn unlimited_uses(mut self) -> Self {
        self.uses = None;
        self
    }

    /// Makes the invite; the link's text is a secret until it is used.
    ///
    /// # Errors
    /// [`Error::RoleDenied`], [`Error::NoRelay`] if no relay was ever reached.
    pub async fn create(self) -> Result<InviteLink, Error> {
        let (id, role, uses) = (self.workspace.id, self.role, self.uses);
        let time_ms = self.expires_in.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let invite = move |engine: &mut crate::engine::Engine, now: crate::engine::Now, tx: &crate::store::Tx<'_>| {
            let expires_ms = time_ms.map(|time_ms| now.wall_ms.saturating_add(time_ms));
            engine.invite(now, &id, InviteTerms { role, expires_ms, uses }, tx)
        };
        self.workspace.replica.call(invite).await
    }
}

/// A document.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) replica: Replica,
    pub(super) id: DocumentId,
}

impl Document {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> DocumentId {
        self.id
    }

    /// Edits the document: all that the closure does is one change. When the future resolves, the change
    /// is durable; if it fails, nothing has changed.
    ///
    /// # Errors
    /// [`Error::Edit`] from the closure, [`Error::RoleDenied`], [`Error::ChangeTooLarge`],
    /// [`Error::Store`].
    pub async fn edit<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError> + Send + 'static,
    ) -> Result<R, Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.edit(now, &id, closure, tx)).await
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`Error::Read`] from the closure, [`Error::NoDocument`], [`Error::Document`].
    pub async fn read<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&View<'_>) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, Error> {
        let id = self.id;
        let read = self.replica.call(move |engine, now, tx| engine.read(now, &id, closure, tx)).await?;
        Ok(read?)
    }

    /// Reads the whole document.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub async fn to_value(&self) -> Result<Value, Error> {
        self.read(|view| view.to_value()).await
    }

    /// Returns the version: equal versions mean equal content.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub async fn version(&self) -> Result<Version, Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.version(now, &id, tx)).await
    }

    /// Returns what the document amounts to, in memory and in the store; this walks the document.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub async fn stats(&self) -> Result<DocumentStats, Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.stats(now, &id, tx)).await
    }

    /// Edits an automerge document through its own library.
    ///
    /// # Errors
    /// As [`Document::edit`]; a yrs document answers [`EditError::Unsupported`].
    pub async fn with_automerge<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&mut AutomergeTransaction<'_>) -> Result<R, EditError> + Send + 'static,
    ) -> Result<R, Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.with_automerge(now, &id, closure, tx)).await
    }

    /// Edits a yrs document through its own library.
    ///
    /// # Errors
    /// As [`Document::edit`]; an automerge document answers [`EditError::Unsupported`].
    pub async fn with_yrs<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&mut YrsTransaction<'_>) -> Result<R, EditError> + Send + 'static,
    ) -> Result<R, Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.with_yrs(now, &id, closure, tx)).await
    }

    /// Watches the document: its present state first, then every change.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub async fn subscribe(&self) -> Result<DocumentEvents, Error> {
        let (answer, answered) = oneshot::channel();
        self.replica.commands.send(Command::Watch(self.id, answer)).await.map_err(|_| Error::Closed)?;
        let events = answered.await.map_err(|_| Error::Closed)??;
        Ok(DocumentEvents::new(self.id, events, self.replica.commands.clone()))
    }

    /// Waits until all that this device has written into the document so far has come this far.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Store`], [`Error::Closed`]; it waits without an end where no relay is reached, so
    /// give it a timeout of your own.
    pub async fn wait_for(&self, milestone: Milestone) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.replica.commands.send(Command::Await(self.id, milestone, answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Waits until another device has everything that this one has written into the document so far.
    ///
    /// # Errors
    /// As [`Document::wait_for`].
    pub async fn seen_by(&self, device: DeviceId) -> Result<(), Error> {
        self.wait_for(Milestone::SeenBy(device)).await
    }
}
