//! Founding a workspace, and stating records in it.
//!
//! Invariant: a record is stored before it is sent; it stands on the heads that this device knows.

use tombolo_crypto::{BlindingKey, array};
use tombolo_protocol::identity::Identity;
use tombolo_protocol::ids::{DeviceId, UserId, WorkspaceId};
use tombolo_protocol::membership::{RecordOutcome, View};
use tombolo_protocol::record::{Devices, Draft, Genesis, Record, RecordBody, Role};

use super::{EPOCHS, Workspace};
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{Tx, WorkspaceState};

const NAME_LABEL: &str = "workspace-name";

/// One workspace, as an app sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceSummary {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name; unknown while it is being joined.
    pub name: Option<String>,
    /// The role of this device's user; `None` while it is being joined.
    pub role: Option<Role>,
    /// How far this device has come with it.
    pub state: WorkspaceState,
}

/// One member of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// What the user may do.
    pub role: Role,
    /// When the role ends by its relay's clock, milliseconds since 1970; `None` if it does not.
    pub expires_ms: Option<i64>,
    /// The user's active devices.
    pub devices: Vec<DeviceId>,
}

impl Engine {
    /// Founds a workspace, with no network: its genesis, this user's devices, and the first epoch.
    ///
    /// # Errors
    /// [`Error::Store`] if it can not be made durable.
    pub fn create_workspace(&mut self, now: Now, name: &str, tx: &Tx<'_>) -> Result<WorkspaceId, Error> {
        tx.room()?;
        let entropy = self.entropy.as_mut();
        let blinding = BlindingKey::generate(entropy);
        let genesis = Genesis {
            nonce: array(entropy),
            root: self.identity.root,
            device: self.device.public(),
            blinding_commitment: blinding.commitment(),
        };
        let draft = Draft {
            workspace: Record::NO_WORKSPACE,
            generation: 0,
            time_ms: now.wall_ms,
            author: self.device.id(),
            parents: Vec::new(),
            body: RecordBody::Genesis(Box::new(genesis)),
            secret: Vec::new(),
        };
        let genesis = Record::sign(draft, self.device.sign_key()).map_err(|_| Error::NotReady)?;
        let mut workspace = Workspace::new(genesis.workspace(), WorkspaceState::Member);
        workspace.name = Some(name.to_owned());
        workspace.blinding = Some(blinding);
        workspace.row = tx.insert_workspace(&workspace.to_row(), self.entropy.as_mut())?;
        let (row, id) = (workspace.row, workspace.id);
        workspace.take_record(&genesis, &self.device, tx, self.entropy.as_mut())?;
        self.workspaces.insert(row, workspace);
        self.admit_own_devices(now, row, tx)?;
        self.open_channels(row);
        Ok(id)
    }

    /// States the founder's devices together with the first epoch, whose record carries the name.
    fn admit_own_devices(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), Error> {
        let Some(workspace) = self.workspaces.get_mut(&row) else {
            return Err(Error::NotReady);
        };
        let Some(blinding) = workspace.blinding.as_ref() else {
            return Err(Error::NotReady);
        };
        let identity = Identity::evaluate(&self.identity).map_err(|_| Error::NotReady)?;
        let devices: Vec<_> = identity.devices.iter().map(|(id, keys)| (*id.as_bytes(), keys.box_public)).collect();
        let rotated = EPOCHS.begin(&workspace.id, &devices, &[], blinding, self.entropy.as_mut());
        let (secret, rotation) = rotated.map_err(|_| Error::NotReady)?;
        workspace.keep_epoch(secret, tx, self.entropy.as_mut())?;
        let name = workspace.name.clone().unwrap_or_default();
        let sealed = workspace.epochs.get(&rotation.epoch).map(|held| {
            held.keys.seal_section(NAME_LABEL, workspace.id.as_bytes(), name.as_bytes(), self.entropy.as_mut())
        });
        let body = RecordBody::Devices(Box::new(Devices {
            identity: self.identity.clone().into(),
            pins: None,
            rotation: Some(rotation),
        }));
        self.state_record(now, row, body, sealed.unwrap_or_default(), tx)?;
        Ok(())
    }

    /// Signs a record on the present heads, and keeps it; sessions send it.
    pub(crate) fn state_record(
        &mut self,
        now: Now,
        row: i64,
        body: RecordBody,
        secret: Vec<u8>,
        tx: &Tx<'_>,
    ) -> Result<Record, Error> {
        let record = self.draft_record(now, row, body, secret)?;
        let Some(workspace) = self.workspaces.get_mut(&row) else {
            return Err(Error::NotReady);
        };
        match workspace.take_record(&record, &self.device, tx, self.entropy.as_mut())? {
            RecordOutcome::Admitted | RecordOutcome::AwaitsAttestation => {
                self.records_to_send(row);
                self.membership_changed(row);
                self.plan_giving(now, row, record.body());
                Ok(record)
            }
            RecordOutcome::Refused(reason) => Err(Error::Refused(reason)),
            _ => Err(Error::NotReady),
        }
    }

    /// Signs a record on the present heads, and keeps it nowhere.
    pub(crate) fn draft_record(&self, now: Now, row: i64, body: RecordBody, secret: Vec<u8>) -> Result<Record, Error> {
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        let draft = Draft {
            workspace: workspace.id,
            generation: workspace.membership.next_generation(),
            time_ms: now.wall_ms,
            author: self.device.id(),
            parents: workspace.membership.heads().iter().copied().collect(),
            body,
            secret,
        };
        Record::sign(draft, self.device.sign_key()).map_err(|_| Error::NotReady)
    }

    /// Lists the workspaces of this replica.
    #[must_use]
    pub fn workspaces(&self) -> Vec<WorkspaceSummary> {
        let summary = |workspace: &Workspace| WorkspaceSummary {
            id: workspace.id,
            name: workspace.name.clone(),
            role: workspace.role(&self.device).filter(|_| workspace.state == WorkspaceState::Member),
            state: workspace.state,
        };
        self.workspaces.values().map(summary).collect()
    }

    /// Returns how far this device has come with a workspace.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`] if this replica does not have it.
    pub fn workspace_state(&self, workspace: &WorkspaceId) -> Result<WorkspaceState, Error> {
        let held = self.workspace_row(workspace).and_then(|row| self.workspaces.get(&row));
        held.map(|held| held.state).ok_or(Error::NoWorkspace(*workspace))
    }

    /// Lists the members of a workspace.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`] if this replica does not have it.
    pub fn members(&self, workspace: &WorkspaceId) -> Result<Vec<Member>, Error> {
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        let view = self.workspaces.get(&row).map(|workspace| workspace.view.clone()).unwrap_or_default();
        let member = |(user, role)| Member {
            user,
            role,
            expires_ms: view.expiry(&user).map(|expiry| expiry.expires_ms),
            devices: devices_of(&view, user),
        };
        Ok(view.members().map(member).collect())
    }
}

impl WorkspaceState {
    /// Refuses where nothing is to be waited for any more.
    pub(crate) fn may_become_member(self) -> Result<(), Error> {
        match self {
            Self::Refused(reason) => Err(Error::JoinRefused(reason)),
            _ => Ok(()),
        }
    }
}

impl Workspace {
    /// Reads the workspace's name from the record that carries it.
    pub(super) fn read_name(&self) -> Option<String> {
        let named = self.membership.in_order().into_iter().find(|record| !record.secret().is_empty())?;
        let held = self.epochs.get(&named.body().rotation()?.epoch)?;
        let name = held.keys.open_section(NAME_LABEL, self.id.as_bytes(), named.secret()).ok()?;
        String::from_utf8(name.to_vec()).ok()
    }
}

fn devices_of(view: &View, user: UserId) -> Vec<DeviceId> {
    view.devices()
        .filter(|(_, standing)| standing.user == user && standing.is_active())
        .map(|(device, _)| device)
        .collect()
}
