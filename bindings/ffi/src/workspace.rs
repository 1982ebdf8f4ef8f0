//! A handle to a workspace: its documents, its members, what it owes.

use std::sync::Arc;
use std::time::Duration;

use tombolo::AuditEntry;
use tombolo::protocol::ids::{DocumentId, EntryHash, RecordId, UserId, WorkspaceId};

use crate::cancellation::{Cancellation, unless};
use crate::debt::SyncDebt;
use crate::devices::RecoveryKit;
use crate::document::Document;
use crate::error::TomboloError;
use crate::live::Live;
use crate::records::{
    ActOutcome, DocumentSummary, Member, MembershipAct, OpenInvite, OrganisationRecovery, Policy, PolicyTerms,
    RelayEvidence, Role, WorkspaceState,
};
use crate::step_up::{StepUp, StepUpMethod};
use crate::values::Crdt;

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AuditLine {
    /// For people.
    pub text: String,
    /// For programs: a JSON object.
    pub json: String,
}

/// A workspace: members, keys and documents. Handles are cheap.
#[derive(Debug, uniffi::Object)]
pub struct Workspace {
    core: tombolo::Workspace,
    _live: Live,
}

impl Workspace {
    pub(crate) fn new(core: tombolo::Workspace) -> Arc<Self> {
        Arc::new(Self { core, _live: Live::new() })
    }
}

#[uniffi::export]
impl Workspace {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> WorkspaceId {
        self.core.id()
    }

    /// Returns its name, once it is known.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn name(&self) -> Result<Option<String>, TomboloError> {
        Ok(self.core.name().await?)
    }

    /// Creates a document.
    ///
    /// # Errors
    /// `Denied` below writer, `NotReady` while it is being joined, `Store`.
    pub async fn create_document(&self, crdt: Crdt) -> Result<Arc<Document>, TomboloError> {
        Ok(Document::new(self.core.create_document(crdt).await?))
    }

    /// Lists the documents, oldest first, without opening any.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn documents(&self) -> Result<Vec<DocumentSummary>, TomboloError> {
        Ok(self.core.documents().await?)
    }

    /// Returns how far this device has come with it.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn state(&self) -> Result<WorkspaceState, TomboloError> {
        Ok(self.core.state().await?)
    }

    /// Waits until this device is a member.
    ///
    /// # Errors
    /// `Input` if the invite was refused for good, `NotFound`, `Closed`.
    #[uniffi::method(default(cancellation = None))]
    pub async fn ready(&self, cancellation: Option<Arc<Cancellation>>) -> Result<(), TomboloError> {
        unless(cancellation, self.core.ready()).await
    }

    /// Waits until nothing is owed: everything here is at a relay, and everything there is here.
    ///
    /// # Errors
    /// As `ready`.
    #[uniffi::method(default(cancellation = None))]
    pub async fn settled(&self, cancellation: Option<Arc<Cancellation>>) -> Result<(), TomboloError> {
        unless(cancellation, self.core.settled()).await
    }

    /// Asks relays for these documents only, instead of all: their entries come from now on, with all that was written
    /// before; what is here of others stays, and what this device writes is sent. Documents that it creates are asked for
    /// too. It holds for this device, and beyond its restarts.
    ///
    /// # Errors
    /// `NotFound`, `NotReady` while the workspace's keys are not here, `Misuse` above 4,096 documents, `Store`.
    pub async fn sync_only(&self, documents: Vec<DocumentId>) -> Result<(), TomboloError> {
        Ok(self.core.sync_only(documents).await?)
    }

    /// Asks relays for all documents again.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub async fn sync_all(&self) -> Result<(), TomboloError> {
        Ok(self.core.sync_all().await?)
    }

    /// Returns the documents that relays are asked for; nothing while all are.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn synced_only(&self) -> Result<Option<Vec<DocumentId>>, TomboloError> {
        Ok(self.core.synced_only().await?.map(|documents| documents.into_iter().collect()))
    }

    /// Returns what is not at a relay yet, and why.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn sync_debt(&self) -> Result<SyncDebt, TomboloError> {
        Ok(self.core.sync_debt().await?.into())
    }

    /// Returns what its relays signed against themselves, oldest first.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn relay_evidence(&self) -> Result<Vec<RelayEvidence>, TomboloError> {
        Ok(self.core.relay_evidence().await?)
    }
}

#[uniffi::export]
impl Workspace {
    /// Lists the members.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn members(&self) -> Result<Vec<Member>, TomboloError> {
        Ok(self.core.members().await?)
    }

    /// Makes an invite: a text to show or send, which is a secret until it is used. `uses` says how many may join by
    /// it; nothing for any number.
    ///
    /// # Errors
    /// `Denied`, `NotReady` if no relay was ever reached, which is to count the uses.
    pub async fn invite(
        &self,
        role: Role,
        expires_in: Option<Duration>,
        uses: Option<u32>,
    ) -> Result<String, TomboloError> {
        let invite = self.core.invite(role);
        let invite = match expires_in {
            Some(time) => invite.expires_in(time),
            None => invite,
        };
        let invite = match uses {
            Some(uses) => invite.uses(uses),
            None => invite.unlimited_uses(),
        };
        Ok(invite.create().await?.to_string())
    }

    /// Lists the invites that can still be used.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn invites(&self) -> Result<Vec<OpenInvite>, TomboloError> {
        Ok(self.core.invites().await?)
    }

    /// Changes who may do what. While a relay has to be caught up with first, the act is kept and stated then.
    ///
    /// # Errors
    /// `Denied` with the reason if it would not count, `NotReady` without the keys.
    pub async fn act(&self, act: MembershipAct) -> Result<ActOutcome, TomboloError> {
        Ok(self.core.act(act).await?)
    }

    /// Gives a member another role, for good, or until a time by the relay's clock (milliseconds since 1970).
    ///
    /// # Errors
    /// As `act`.
    pub async fn set_role(
        &self,
        user: UserId,
        role: Role,
        expires_ms: Option<i64>,
    ) -> Result<ActOutcome, TomboloError> {
        self.act(MembershipAct::SetRole { user, role, expires_ms }).await
    }

    /// Removes a member: the keys change, and what comes from here on they can not read.
    ///
    /// # Errors
    /// As `act`.
    pub async fn remove_member(&self, user: UserId) -> Result<ActOutcome, TomboloError> {
        Ok(self.core.remove_member(user).await?)
    }

    /// Leaves the workspace; the last owner can not.
    ///
    /// # Errors
    /// As `act`.
    pub async fn leave(&self) -> Result<ActOutcome, TomboloError> {
        Ok(self.core.leave().await?)
    }

    /// Makes another member owner, and this user admin.
    ///
    /// # Errors
    /// As `act`.
    pub async fn transfer_ownership(&self, to: UserId) -> Result<ActOutcome, TomboloError> {
        Ok(self.core.transfer_ownership(to).await?)
    }

    /// Ends an invite.
    ///
    /// # Errors
    /// As `act`.
    pub async fn revoke_invite(&self, invite: RecordId) -> Result<ActOutcome, TomboloError> {
        Ok(self.core.revoke_invite(invite).await?)
    }

    /// Lets entries count that lie beyond a removed member's pins.
    ///
    /// # Errors
    /// `Denied` below admin.
    pub async fn admit(&self, entries: Vec<EntryHash>) -> Result<(), TomboloError> {
        Ok(self.core.admit(entries).await?)
    }

    /// Keeps entries out for everybody.
    ///
    /// # Errors
    /// `Denied` below admin.
    pub async fn exclude(&self, entries: Vec<EntryHash>) -> Result<(), TomboloError> {
        Ok(self.core.exclude(entries).await?)
    }
}

#[uniffi::export]
impl Workspace {
    /// Returns the audit trail: every statement about members, keys and devices, and what became of it.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn audit(&self) -> Result<Vec<AuditLine>, TomboloError> {
        let line = |entry: AuditEntry| AuditLine { text: entry.to_string(), json: entry.to_json().to_string() };
        Ok(self.core.audit().await?.into_iter().map(line).collect())
    }

    /// Returns what owners ask of everybody.
    ///
    /// # Errors
    /// `NotFound`, `Closed`.
    pub async fn policy(&self) -> Result<Policy, TomboloError> {
        Ok(self.core.policy().await?)
    }

    /// Settles what is asked of everybody. Owners may.
    ///
    /// # Errors
    /// `Denied` for what nobody could meet; as `act`.
    pub async fn set_policy(&self, terms: PolicyTerms) -> Result<ActOutcome, TomboloError> {
        Ok(self.core.set_policy(terms).await?)
    }

    /// Gives an organisation a key to the workspace, or takes it away. Every member is told.
    ///
    /// # Errors
    /// As `set_policy`.
    pub async fn set_organisation_recovery(
        &self,
        recovery: Option<OrganisationRecovery>,
    ) -> Result<ActOutcome, TomboloError> {
        Ok(self.core.set_organisation_recovery(recovery).await?)
    }

    /// Opens the workspace with the kit of its organisation, on a device that holds it.
    ///
    /// # Errors
    /// `NotReady` if nothing here is sealed to this kit.
    pub async fn open_with_kit(&self, kit: Arc<RecoveryKit>) -> Result<(), TomboloError> {
        Ok(self.core.open_with_kit(kit.duplicate()?).await?)
    }

    /// Asks the relay at an address what second factor it takes for this workspace.
    ///
    /// # Errors
    /// `NotReady` if no session with it stands, `StepUp`.
    pub async fn step_up(&self, address: String, method: StepUpMethod) -> Result<Arc<StepUp>, TomboloError> {
        Ok(StepUp::new(self.core.step_up(&address, method).await?))
    }
}
