//! Handles to what owners settle for everybody, to the trail of all that was stated, and to the work of who lost a right.
//!
//! Invariant: a handle holds no secret; a kit that is handed in is wiped when the call is over.

use tombolo_crypto::RecoveryKit;
use tombolo_protocol::record::{OrganisationRecovery, Policy};

use super::handles::{Document, Workspace};
use crate::document::{ReadError, View};
use crate::error::Error;
use crate::workspace::{ActOutcome, AuditEntry, MembershipAct, PolicyTerms};

impl Workspace {
    /// Returns the audit trail: every statement about members, keys and devices, in the one order that all
    /// devices with the same records have, with who made it, what became of it and why.
    ///
    /// ```
    /// # async fn example(workspace: &tombolo::Workspace) -> Result<(), tombolo::Error> {
    /// for entry in workspace.audit().await? {
    ///     println!("{}", entry.to_json()); // or `{entry}`, one line for people
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn audit(&self) -> Result<Vec<AuditEntry>, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, _| engine.audit(&id)).await
    }

    /// Returns what owners ask of everybody, and which organisation has a recovery key.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub async fn policy(&self) -> Result<Policy, Error> {
        let id = self.id;
        self.replica.call(move |engine, _, _| engine.policy(&id)).await
    }

    /// Settles what is asked of everybody: levels of authentication, and the relays whose word on them
    /// counts. Owners may; who has a recovery key stays as it is.
    ///
    /// # Errors
    /// [`Error::Policy`] for what nobody could meet; as [`Workspace::act`].
    pub async fn set_policy(&self, terms: PolicyTerms) -> Result<ActOutcome, Error> {
        self.act(MembershipAct::SetPolicy(terms)).await
    }

    /// Gives an organisation a key to the workspace: the present keys are given to it, and all that follow.
    /// With them it reads everything, what was written before too. Every member is told, by
    /// [`Event::OrganisationRecoveryChanged`](crate::engine::Event::OrganisationRecoveryChanged) and in the
    /// trail. `None` takes it away: new keys begin, and what the organisation had it keeps.
    ///
    /// # Errors
    /// [`Error::Policy`] if the key is none; as [`Workspace::act`].
    pub async fn set_organisation_recovery(&self, recovery: Option<OrganisationRecovery>) -> Result<ActOutcome, Error> {
        self.act(MembershipAct::SetOrganisationRecovery(recovery)).await
    }

    /// Opens the workspace with the kit of its organisation, on a device that holds it: that of a carrier, or
    /// of a member. The kit is not kept; the keys that it opens are.
    ///
    /// # Errors
    /// [`Error::NotReady`] if nothing here is sealed to this kit, [`Error::NoWorkspace`], [`Error::Store`].
    pub async fn open_with_kit(&self, kit: RecoveryKit) -> Result<(), Error> {
        let id = self.id;
        self.replica.call(move |engine, now, tx| engine.open_with_kit(now, &id, &kit, tx)).await
    }
}

impl Document {
    /// Reads the document with this device's own changes that are not sealed yet, also where they do not count any
    /// more because its user lost the right to write: so that they can be copied elsewhere. The debt says that they
    /// are kept; with the right they come back by themselves.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub async fn read_with_kept<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&View<'_>) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, Error> {
        let id = self.id;
        let read = self.replica.call(move |engine, now, tx| engine.read_with_kept(now, &id, closure, tx)).await?;
        Ok(read?)
    }
}
