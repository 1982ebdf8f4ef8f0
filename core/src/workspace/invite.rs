//! Inviting, and joining by an invite with nobody online but a relay.
//!
//! Invariant: a joiner believes nothing but the records that descend from the workspace its link names;
//! it becomes a member by a Join that the counting relay attested.

use tombolo_crypto::{InviteLink, InviteSecret, array};
use tombolo_protocol::ids::{RecordId, RelayId, UserId, WorkspaceId};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::keys::VerifyKey;
use tombolo_protocol::limits::INVITE_RELAYS_MAX;
use tombolo_protocol::membership::RecordOutcome;
use tombolo_protocol::record::{EpochWrap, InviteCreate, Join, Record, RecordBody, RelaySuccession, Role};

use super::{EPOCHS, Workspace};
use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx, WorkspaceState};

/// What an invite offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InviteTerms {
    /// What a joiner becomes.
    pub role: Role,
    /// When it ends, milliseconds since 1970; `None` for never.
    pub expires_ms: Option<i64>,
    /// How many may join; `None` for any number.
    pub uses: Option<u32>,
}

/// An invite that can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenInvite {
    /// Its id; the link is known to who made it.
    pub id: RecordId,
    /// Who made it.
    pub maker: UserId,
    /// What it offers.
    pub terms: InviteTerms,
    /// How many have joined by it.
    pub used: u32,
}

impl Engine {
    /// Lists the invites of a workspace that can still be used.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub fn invites(&self, id: &WorkspaceId) -> Result<Vec<OpenInvite>, Error> {
        let row = self.workspace_row(id).ok_or(Error::NoWorkspace(*id))?;
        let view = self.workspaces.get(&row).map(|workspace| &workspace.view);
        let open = view.into_iter().flat_map(|view| view.invites()).filter(|(_, invite)| invite.is_open());
        let described = open.map(|(id, invite)| OpenInvite {
            id,
            maker: invite.maker,
            terms: InviteTerms {
                role: invite.role,
                expires_ms: Some(invite.expires_ms).filter(|expires_ms| *expires_ms != 0),
                uses: Some(invite.uses).filter(|uses| *uses != 0),
            },
            used: invite.used,
        });
        Ok(described.collect())
    }

    /// Offers an invite; whoever holds the link may join, with no member online.
    ///
    /// # Errors
    /// [`Error::RoleDenied`] below admin (below owner for admins), [`Error::NoRelay`] if no relay was
    /// ever reached, since one has to count the uses.
    pub fn invite(&mut self, now: Now, id: &WorkspaceId, terms: InviteTerms, tx: &Tx<'_>) -> Result<InviteLink, Error> {
        tx.room()?;
        let row = self.workspace_row(id).ok_or(Error::NoWorkspace(*id))?;
        let (relay, addresses) = self.counting_relay()?;
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        let needed = if terms.role >= Role::Admin { Role::Owner } else { Role::Admin };
        if workspace.role(&self.device).is_none_or(|role| role < needed) {
            return Err(Error::RoleDenied);
        }
        if workspace.view.needs_healing() {
            self.heal_heads(now, row, tx)?;
        }
        let secret = InviteSecret::generate(self.entropy.as_mut());
        let body = self.offer(row, relay, terms, &secret)?;
        let record = self.state_record(now, row, RecordBody::InviteCreate(Box::new(body)), Vec::new(), tx)?;
        Ok(InviteLink { workspace: *id, invite: record.id(), relay, addresses, checkpoint: None, secret })
    }

    /// Returns the relay whose clock and count are named in records, and where it and others are.
    pub(super) fn counting_relay(&self) -> Result<(RelayId, Vec<String>), Error> {
        let reached = self.relays.values().filter_map(|relay| Some((relay.key()?, relay.address().to_owned())));
        let (keys, addresses): (Vec<RelayId>, Vec<String>) = reached.take(INVITE_RELAYS_MAX).unzip();
        Ok((*keys.first().ok_or(Error::NoRelay)?, addresses))
    }

    fn offer(
        &mut self,
        row: i64,
        relay: RelayId,
        terms: InviteTerms,
        secret: &InviteSecret,
    ) -> Result<InviteCreate, Error> {
        let Some(workspace) = self.workspaces.get(&row) else {
            return Err(Error::NotReady);
        };
        let epoch = workspace.view.epoch().ok_or(Error::NotReady)?;
        let (Some(held), Some(blinding)) = (workspace.epochs.get(&epoch), workspace.blinding.as_ref()) else {
            return Err(Error::NotReady);
        };
        let box_public = secret.box_public();
        // A carrier is given no key, by no way.
        let wrap = if terms.role.may_read() {
            EPOCHS.give(&workspace.id, &([0; 32], box_public), &held.secret, blinding, self.entropy.as_mut())
        } else {
            Ok(EpochWrap::NONE)
        };
        Ok(InviteCreate {
            role: terms.role,
            expires_ms: terms.expires_ms.unwrap_or(0),
            uses: terms.uses.unwrap_or(0),
            relay,
            sign_public: VerifyKey::parse(&secret.sign_key().public()).map_err(|_| Error::NotReady)?,
            box_public,
            epoch,
            wrap: wrap.map_err(|_| Error::NotReady)?,
        })
    }

    /// Keeps an invite, to be accepted at the first of its relays that is reached.
    ///
    /// # Errors
    /// [`Error::Store`] if it can not be made durable.
    pub fn join(&mut self, now: Now, link: InviteLink, tx: &Tx<'_>) -> Result<WorkspaceId, Error> {
        tx.room()?;
        let id = link.workspace;
        let addresses = link.addresses.clone();
        match self.workspace_row(&id).and_then(|row| self.workspaces.get_mut(&row)) {
            None => {
                let mut workspace = Workspace::new(id, WorkspaceState::Joining);
                workspace.join = Some(link);
                workspace.life = u64::from_be_bytes(array(self.entropy.as_mut()));
                workspace.row = tx.insert_workspace(&workspace.to_row(), self.entropy.as_mut())?;
                self.workspaces.insert(workspace.row, workspace);
            }
            Some(workspace) if workspace.state != WorkspaceState::Member => {
                workspace.state = WorkspaceState::Joining;
                workspace.join = Some(link);
                workspace.save(tx, self.entropy.as_mut())?;
                self.retry_joins(now);
            }
            Some(_) => {}
        }
        for address in addresses {
            // What the app said of a relay it dialled before still holds.
            let allow_proxy = self.allows_proxy(&address);
            self.dial(now, &address, allow_proxy, None, tx)?;
        }
        if let Some(row) = self.workspace_row(&id) {
            self.open_channels(row);
        }
        Ok(id)
    }

    /// Makes the Join record of a workspace whose records are here, if they hold the invite.
    pub(crate) fn accept_invite(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<Option<Record>, StoreError> {
        let Some(workspace) = self.workspaces.get_mut(&row) else {
            return Ok(None);
        };
        if let Some(join) = workspace.own_join(&self.device.id()) {
            return Ok(Some(join));
        }
        let Some(link) = workspace.join.as_ref() else {
            return Ok(None);
        };
        if workspace.membership.outcome(&link.invite) != Some(RecordOutcome::Admitted) {
            return Ok(None);
        }
        let join = Join::sign(link.invite, self.identity.clone(), &link.secret.sign_key());
        match self.state_record(now, row, RecordBody::Join(Box::new(join)), Vec::new(), tx) {
            Ok(record) => Ok(Some(record)),
            Err(Error::Store(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Notices that this device's Join was attested.
    pub(crate) fn notice_joined(&mut self, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(workspace) = self.workspaces.get_mut(&row) else {
            return Ok(());
        };
        if workspace.state == WorkspaceState::Member || workspace.role(&self.device).is_none() {
            return Ok(());
        }
        // What another device gave is believed only as far as the genesis commits to it.
        let committed = workspace.view.blinding_commitment();
        workspace.blinding = workspace.blinding.take().filter(|key| committed == Some(key.commitment()));
        workspace.state = WorkspaceState::Member;
        workspace.name = workspace.read_name();
        workspace.save(tx, self.entropy.as_mut())?;
        let id = workspace.id;
        self.tell(Event::Joined { workspace: id });
        Ok(())
    }

    /// States who succeeds each old key of a relay, where this user may; the word is owed, through restarts
    /// and broken sessions, until the log has the record.
    pub(crate) fn state_successions(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(relay) = self.relays.get(&at.0) else {
            return Ok(());
        };
        let (address, Some(new)) = (relay.address().to_owned(), relay.key()) else {
            return Ok(());
        };
        for old in tx.awaited_successions(at.0, at.1)? {
            let Some(workspace) = self.workspaces.get(&at.1) else {
                return Ok(());
            };
            let stated = workspace.succession(&old, &new);
            let placed = match stated {
                Some(record) => tx.placed_records(at.0, at.1)?.contains(&ItemHash::Record(record).to_leaf()),
                None => old == new,
            };
            if placed {
                tx.end_succession(at.0, at.1, &old)?;
            }
            let may = workspace.role(&self.device).is_some_and(|role| role >= Role::Admin);
            if stated.is_some() || placed || !may {
                continue;
            }
            let succession = RelaySuccession { address: address.clone(), old, new };
            // A refusal here means that the heads moved in between; the next opening looks again.
            if let Err(Error::Store(error)) =
                self.state_record(now, at.1, RecordBody::RelaySuccession(succession), Vec::new(), tx)
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Workspace {
    /// Finds the admitted record that names the successor of a relay's key.
    fn succession(&self, old: &RelayId, new: &RelayId) -> Option<RecordId> {
        let names = |record: &&Record| match record.body() {
            RecordBody::RelaySuccession(said) => said.old == *old && said.new == *new,
            _ => false,
        };
        self.membership.counting().find(names).map(Record::id)
    }

    /// Returns this device's own Join, if it made one that is not refused.
    fn own_join(&self, device: &tombolo_protocol::ids::DeviceId) -> Option<Record> {
        let link = self.join.as_ref()?;
        let mine = |record: &&Record| match record.body() {
            RecordBody::Join(join) => record.author() == *device && join.invite == link.invite,
            _ => false,
        };
        let record = self.membership.in_order().into_iter().find(mine)?;
        match self.membership.outcome(&record.id()) {
            Some(RecordOutcome::Refused(_)) => None,
            _ => Some(record.clone()),
        }
    }
}
