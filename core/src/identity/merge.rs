//! Becoming another user's device: what an app without an account made before is taken along.
//!
//! The old user owns what was made here; the new one is made an owner beside it by the old device, and states the
//! new device, which holds the keys; then it removes the old user, who has no device any more and would only stand for
//! an owner that nobody is. So nothing is sealed again, and no entry changes its author: the pins reach all of them.
//!
//! Invariant: what was written and not sealed is sealed by the device that wrote it, before its keys go.

use tombolo_crypto::DeviceSecrets;
use tombolo_protocol::identity::IdentityLog;
use tombolo_protocol::ids::UserId;
use tombolo_protocol::record::{RecordBody, Role, Standing};

use super::linking::LinkFailure;
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{Tx, WorkspaceState};
use crate::workspace::MembershipAct;

impl Engine {
    /// Tells whether what is here can be taken along to another user: it is all this user's own.
    pub(super) fn check_mergeable(&self) -> Result<(), Error> {
        if self.own_identity().is_none_or(|identity| identity.devices.len() > 1) {
            return Err(Error::Link(LinkFailure::OtherUser));
        }
        let refused = |state| matches!(state, WorkspaceState::Refused(_));
        for workspace in self.workspaces.values().filter(|workspace| !refused(workspace.state)) {
            if workspace.state != WorkspaceState::Member {
                return Err(Error::NotReady);
            }
            if workspace.role(&self.device) != Some(Role::Owner) {
                return Err(Error::RoleDenied);
            }
        }
        Ok(())
    }

    /// Takes over device and log, and hands the old user's workspaces on.
    pub(super) fn become_user(
        &mut self,
        now: Now,
        device: DeviceSecrets,
        log: IdentityLog,
        tx: &Tx<'_>,
    ) -> Result<(), Error> {
        let members = self.workspaces.iter().filter(|(_, held)| held.state == WorkspaceState::Member);
        let rows: Vec<i64> = members.map(|(row, _)| *row).collect();
        for row in &rows {
            self.seal_all(now, *row, tx)?;
            self.hand_on(now, *row, log.user(), tx)?;
        }
        let named = self.own.names.remove(&self.device.id());
        self.own.names = super::Names::default();
        if let Some((_, name)) = named {
            self.own.names.set(device.id(), now.wall_ms, &name);
        }
        self.save_names(tx)?;
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::LinkedKeysInClear.is_planted() {
            tx.trace(&device.encode())?;
        }
        tx.set_meta("device", &device.encode(), self.entropy.as_mut())?;
        super::save(&log, tx, self.entropy.as_mut())?;
        self.erase_root(tx)?;
        tx.forget_meta("recovery-set")?;
        self.own.recovery = None;
        self.device = device;
        let old = std::mem::replace(&mut self.identity, log).user();
        self.meet_relays_anew(now);
        for row in rows {
            self.state_devices(now, row, tx)?;
            self.reopen_workspace(now, row, tx)?;
            self.take_leave_of(now, row, old, tx)?;
        }
        Ok(())
    }

    /// Removes the old user, at once or once a relay was caught up with.
    fn take_leave_of(&mut self, now: Now, row: i64, old: UserId, tx: &Tx<'_>) -> Result<(), Error> {
        let Some(id) = self.workspaces.get(&row).map(|workspace| workspace.id) else {
            return Ok(());
        };
        match self.act(now, &id, MembershipAct::Remove { user: old }, tx) {
            // Somebody else has removed it, or removes it later: what was made is here either way.
            Ok(_) | Err(Error::Refused(_) | Error::NotReady) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn hand_on(&mut self, now: Now, row: i64, subject: UserId, tx: &Tx<'_>) -> Result<(), Error> {
        let view = self.workspaces.get(&row).map(|workspace| &workspace.view).ok_or(Error::NotReady)?;
        if view.role(&subject) == Some(Role::Owner) {
            return Ok(());
        }
        let standing =
            Standing { subject, role: Some(Role::Owner), expiry: None, proof: None, pins: None, rotation: None };
        self.state_record(now, row, RecordBody::Standing(Box::new(standing)), Vec::new(), tx).map(|_| ())
    }
}
