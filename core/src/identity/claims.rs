//! Finding the user's workspaces at a relay, and coming back to one that does not know this device.
//!
//! Invariant: what a relay lists is believed only as far as its records descend from the workspace's id and
//! name this user; the blinding key that another device gave must be the one that the genesis commits to.

use std::time::Duration;

use minicbor::bytes::ByteVec;
use tombolo_crypto::LinkedWorkspace;
use tombolo_protocol::frame::{Claim, Claimed, Frame, Return};
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::limits::OPEN_WORKSPACES_MAX;
use tombolo_protocol::record::{Devices, Record, RecordBody};

use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx, WorkspaceState};
use crate::sync::{Fault, Relay};
use crate::workspace::Workspace;

/// When a device asks again after it has linked another, which may bring workspaces of its own.
const ASK_AGAIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(60)];

impl Engine {
    /// Tells whether this device asks a relay to be let in though it may be a stranger there.
    pub(crate) fn is_stranger(&self) -> bool {
        let returns = self.workspaces.values().any(|workspace| workspace.state == WorkspaceState::Returning);
        returns || self.own.is_recovering || self.own.links.is_requesting()
    }

    /// Asks a relay for the user's workspaces, if there may be some that this device has not.
    pub(crate) fn ask_for_workspaces(&mut self, relay: i64) {
        if self.own.is_recovering || self.identity.records.len() > 1 {
            let mut identity = Vec::new();
            self.own_descent().write(&mut identity);
            self.send(relay, Claim { identity: ByteVec::from(identity) });
        }
    }

    pub(super) fn claim_again(&mut self, now: Now) {
        self.own.claim_at = ASK_AGAIN.map(|wait| now.mono + wait).to_vec();
    }

    /// Asks all relays again, if it is time.
    pub(crate) fn claim_due(&mut self, now: Now) {
        let before = self.own.claim_at.len();
        self.own.claim_at.retain(|at| *at > now.mono);
        if self.own.claim_at.len() == before {
            return;
        }
        let live = self.relays.iter().filter(|(_, relay)| relay.live().is_some()).map(|(row, _)| *row);
        for relay in live.collect::<Vec<_>>() {
            self.ask_for_workspaces(relay);
        }
    }

    /// Takes in what is said of devices and between them; all else is a denial, or no frame for a device.
    pub(crate) fn take_of_devices(&mut self, now: Now, relay: i64, frame: &Frame, tx: &Tx<'_>) -> Result<(), Fault> {
        match frame {
            Frame::Claimed(claimed) => Ok(self.take_claimed(relay, claimed, tx)?),
            Frame::Pass(pass) => Ok(self.take_pass(now, relay, pass, tx)?),
            Frame::Part(part) => Ok(self.take_part(now, relay, part, tx)?),
            frame => self.take_denial(now, relay, frame, tx),
        }
    }

    /// Takes in which workspaces are the user's.
    fn take_claimed(&mut self, relay: i64, claimed: &Claimed, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.own.claimed.insert(relay);
        for id in &claimed.workspaces {
            self.insert_returning(*id, None, tx)?;
        }
        self.finish_recovery(tx)
    }

    /// Adds a workspace that is the user's, to be opened wherever it is found.
    pub(super) fn insert_returning(
        &mut self,
        id: WorkspaceId,
        linked: Option<LinkedWorkspace>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let count = self.workspaces.values().filter(|held| held.state == WorkspaceState::Returning).count();
        if self.workspace_row(&id).is_some() || count >= OPEN_WORKSPACES_MAX || !self.free_tag(&id, tx)? {
            return Ok(());
        }
        let mut workspace = Workspace::new(id, WorkspaceState::Returning);
        workspace.recovery = self.recovery_box();
        let (secret, blinding) = linked.and_then(|linked| linked.keys).unzip();
        workspace.blinding = blinding;
        workspace.row = tx.insert_workspace(&workspace.to_row(), self.entropy.as_mut())?;
        if let Some(secret) = secret {
            workspace.keep_epoch(secret, tx, self.entropy.as_mut())?;
        }
        let row = workspace.row;
        self.workspaces.insert(row, workspace);
        self.open_channels(row);
        Ok(())
    }

    /// Tells whether the tag of a workspace stands for it alone. Frames name a workspace by that half of its id; of two
    /// with one tag a relay has made one up. What is here with records, keys or an invite stays, and a mere name makes
    /// way: the next relay may know the right one.
    fn free_tag(&mut self, id: &WorkspaceId, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Some(held) = self.workspaces.values().find(|held| held.tag == id.tag()) else {
            return Ok(true);
        };
        let is_empty = held.blinding.is_none() && held.membership.counting().next().is_none();
        if held.state != WorkspaceState::Returning || !is_empty {
            return Ok(false);
        }
        let row = held.row;
        tx.forget_workspace(row)?;
        self.workspaces.remove(&row);
        for live in self.relays.values_mut().filter_map(Relay::live_mut) {
            live.channels.remove(&row);
        }
        Ok(true)
    }

    /// Asks to be let into a workspace by an invite, or on the word of the user's own log, if it does not know
    /// this device yet; returns whether it did.
    pub(crate) fn open_as_stranger(&mut self, relay: i64, row: i64) -> Result<bool, StoreError> {
        match self.workspaces.get(&row).map(|workspace| workspace.state) {
            Some(WorkspaceState::Returning) => self.send_return(relay, row),
            _ if self.is_joining(row) => self.enter(relay, row)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Asks a relay for the records of a workspace, on the word of the user's own log.
    fn send_return(&mut self, relay: i64, row: i64) {
        let Some(workspace) = self.workspaces.get(&row).map(|workspace| workspace.tag) else {
            return;
        };
        let mut identity = Vec::new();
        self.own_descent().write(&mut identity);
        self.set_phase(relay, row, crate::sync::channel::Phase::Entering);
        self.send(relay, Return { workspace, identity: ByteVec::from(identity) });
    }

    /// States this device in a workspace whose records are here; `None` if the user is no member there.
    pub(crate) fn state_return(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<Option<Record>, StoreError> {
        let user = self.identity.user();
        let Some(view) = self.workspaces.get(&row).map(|workspace| &workspace.view) else {
            return Ok(None);
        };
        if view.role(&user).is_none() {
            return Ok(None);
        }
        // Revocations wait until everything is here: their pins say what was.
        let own = self.own_descent();
        let identity = view.identity(&user).map_or_else(|| own.clone(), |known| known.merged(&own));
        let body = RecordBody::Devices(Box::new(Devices { identity: identity.into(), pins: None, rotation: None }));
        match self.state_record(now, row, body, Vec::new(), tx) {
            Ok(record) => {
                self.notice_joined(row, tx)?;
                Ok(Some(record))
            }
            Err(Error::Store(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }
}
