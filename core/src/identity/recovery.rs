//! The recovery kit: made while the root is here, and used when nothing else is.
//!
//! ```text
//! kit → new device, root's word → relays: which workspaces? → records, epochs by the recovery box
//!     → entries → when level: the root revokes what is lost, pins what it wrote, begins an epoch
//! ```
//!
//! Invariant: the root's seed is erased when a kit is confirmed, or when what a kit brings back is
//! complete; nothing is revoked before what it wrote is here.

use tombolo_crypto::{DeviceSecrets, RecoveryKit, UserRoot};
use tombolo_protocol::limits::INVITE_RELAYS_MAX;
use tombolo_protocol::record::{RecordBody, RecoverySet, Role};

use super::{begun, missing};
use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx, WorkspaceState};
use crate::workspace::RecoveryBox;

impl Engine {
    /// Returns the user's recovery kit, with the relays that are dialled.
    ///
    /// # Errors
    /// [`Error::NoRoot`] on a device that does not have the root: it was linked, or a kit was confirmed.
    pub fn recovery_kit(&self) -> Result<RecoveryKit, Error> {
        let root = self.own.root.as_ref().ok_or(Error::NoRoot)?;
        let relays = self.relays.values().map(|relay| relay.address().to_owned()).take(INVITE_RELAYS_MAX);
        Ok(RecoveryKit::new(UserRoot::from_seed(&root.seed()), relays.collect())?)
    }

    /// Notes that the user has this kit: workspaces give their keys to its recovery key from now on, and
    /// the root is erased here.
    ///
    /// # Errors
    /// [`Error::NoRoot`] if there is none to erase, [`Error::Recovery`] if the kit is another user's.
    pub fn confirm_kit(&mut self, kit: &RecoveryKit, tx: &Tx<'_>) -> Result<(), Error> {
        if self.own.root.is_none() {
            return Err(Error::NoRoot);
        }
        if kit.user() != self.identity.user() {
            return Err(Error::Recovery(tombolo_crypto::RecoveryError::WrongUser));
        }
        self.keep_recovery(RecoverySet::sign(kit.root().box_public(), kit.root().sign_key()), tx)?;
        if !self.own.is_recovering {
            self.erase_root(tx)?;
        }
        self.owe_all();
        Ok(())
    }

    fn keep_recovery(&mut self, set: RecoverySet, tx: &Tx<'_>) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        set.write(&mut bytes);
        tx.set_meta("recovery-set", &bytes, self.entropy.as_mut())?;
        self.own.recovery = Some(set);
        Ok(())
    }

    pub(super) fn erase_root(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.own.root = None;
        tx.forget_meta("root")
    }

    /// Becomes the user of a kit on an empty replica: a new device, on the word of the root.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] if there is a workspace here already, [`Error::Store`].
    pub fn recover(&mut self, now: Now, kit: RecoveryKit, tx: &Tx<'_>) -> Result<(), Error> {
        if !self.workspaces.is_empty() {
            return Err(Error::NotEmpty);
        }
        let device = DeviceSecrets::generate(self.entropy.as_mut());
        let log = begun(kit.root(), &device).map_err(|_| Error::NotReady)?;
        let relays = kit.relays().to_vec();
        self.become_user(now, device, log, tx)?;
        let root = kit.into_root();
        tx.set_meta("root", root.seed().as_slice(), self.entropy.as_mut())?;
        tx.set_meta("recovering", &[1], self.entropy.as_mut())?;
        self.keep_recovery(RecoverySet::sign(root.box_public(), root.sign_key()), tx)?;
        self.own.root = Some(root);
        self.own.is_recovering = true;
        for address in relays {
            let allow_proxy = self.allows_proxy(&address);
            self.dial(now, &address, allow_proxy, None, tx)?;
        }
        Ok(())
    }

    /// Returns what opens epochs that were wrapped to the user, while a kit brings the user back.
    pub(crate) fn recovery_box(&self) -> Option<RecoveryBox> {
        let root = self.own.root.as_ref().filter(|_| self.own.is_recovering)?;
        Some(RecoveryBox::of(root))
    }

    /// Ends a recovery that is complete: each relay was asked, and each workspace knows what is lost.
    pub(super) fn finish_recovery(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let user = self.identity.user();
        let asked = self.relays.keys().all(|relay| self.own.claimed.contains(relay)) && !self.relays.is_empty();
        if !self.own.is_recovering || !asked {
            return Ok(());
        }
        let complete = self.workspaces.values().all(|workspace| {
            let knows = missing(&self.identity, workspace.view.identity(&user)).is_empty();
            workspace.state == WorkspaceState::Member && knows
        });
        let Some(identity) = self.own_identity().filter(|_| complete) else {
            return Ok(());
        };
        // Before the first level session nobody knows what there is to revoke.
        if identity.revoked.is_empty() && !self.workspaces.is_empty() {
            return Ok(());
        }
        self.own.is_recovering = false;
        tx.forget_meta("recovering")?;
        self.erase_root(tx)?;
        for workspace in self.workspaces.values_mut() {
            workspace.recovery = None;
        }
        self.tell(Event::Recovered { workspaces: self.workspaces.len() });
        Ok(())
    }

    /// Learns from a workspace that the user has a kit.
    pub(super) fn learn_recovery(&mut self, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        if self.own.recovery.is_some() {
            return Ok(());
        }
        let user = self.identity.user();
        let Some(workspace) = self.workspaces.get(&row) else {
            return Ok(());
        };
        let Some(key) = workspace.view.recovery_key(&user) else {
            return Ok(());
        };
        let found = workspace.membership.in_order().into_iter().find_map(|record| match record.body() {
            RecordBody::RecoverySet(set) if set.box_public == key => Some(set.clone()),
            _ => None,
        });
        match found.filter(|set| set.verify(&self.identity.root).is_ok()) {
            Some(set) => self.keep_recovery(set, tx),
            None => Ok(()),
        }
    }

    pub(super) fn owes_recovery(&self, row: i64) -> bool {
        let (Some(set), Some(workspace)) = (self.own.recovery.as_ref(), self.workspaces.get(&row)) else {
            return false;
        };
        let reads = workspace.role(&self.device).is_some_and(|role| role >= Role::Reader);
        reads && workspace.view.recovery_key(&self.identity.user()) != Some(set.box_public)
    }

    pub(super) fn state_recovery(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), Error> {
        let set = self.own.recovery.clone().ok_or(Error::NotReady)?;
        self.state_record(now, row, RecordBody::RecoverySet(set), Vec::new(), tx).map(|_| ())
    }
}
