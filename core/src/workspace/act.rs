//! What this device states about members, invites and roles.
//!
//! Invariant: an act is an intent until a session has caught up, and is signed on the heads that hold
//! then, so that acts of several people are rarely concurrent; an intent is durable before the app is
//! told. Where no relay has ever held the workspace, nobody else can act, and it is signed at once.

use std::collections::BTreeSet;

use tombolo_protocol::ids::{DeviceId, EntryHash, RecordId, UserId, WorkspaceId};
use tombolo_protocol::membership::InviteStanding;
use tombolo_protocol::receipt::{Receipt, Signed};
use tombolo_protocol::record::{Expiry, InviteRevoke, OrganisationRecovery, Pin, Pins, RecordBody, Role, Standing};

use super::intents::{intents_key, read_intents, write_intents};
use super::policy::PolicyTerms;
use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx};

/// Acts that may wait in one workspace: more than a person can want before the next session.
const INTENTS_MAX: usize = 1024;

/// Something that changes who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipAct {
    /// Gives a member another role, for good or until a time (milliseconds since 1970).
    SetRole {
        /// Who.
        user: UserId,
        /// The role.
        role: Role,
        /// When it ends by the relay's clock.
        expires_ms: Option<i64>,
    },
    /// Removes a member, and begins an epoch that they can not read; or oneself, and leaves that to those who stay.
    Remove {
        /// Who.
        user: UserId,
    },
    /// Makes another member owner, and oneself admin.
    TransferOwnership {
        /// To whom.
        to: UserId,
    },
    /// Ends an invite.
    RevokeInvite {
        /// Which.
        invite: RecordId,
    },
    /// Settles what is asked of everybody; who has a recovery key stays as it is.
    SetPolicy(PolicyTerms),
    /// Gives an organisation a key to the workspace, or takes it away; the rest of the policy stays as it is.
    SetOrganisationRecovery(Option<OrganisationRecovery>),
}

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActOutcome {
    /// It stands in the workspace's log here, and is sent.
    Stated(RecordId),
    /// It is kept, and stated as soon as a relay has been caught up with.
    Intended,
}

impl Engine {
    /// Changes who may do what; see [`MembershipAct`].
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason if it would not count, [`Error::NotReady`] without the present
    /// keys, [`Error::NoRelay`] for a role that ends while no relay was reached whose clock could tell,
    /// [`Error::Policy`] for a policy that nobody could meet.
    pub fn act(&mut self, now: Now, id: &WorkspaceId, act: MembershipAct, tx: &Tx<'_>) -> Result<ActOutcome, Error> {
        let row = self.workspace_row(id).ok_or(Error::NoWorkspace(*id))?;
        let may_state = self.may_state(row, tx)?;
        if may_state {
            self.seal_before(now, row, &act, tx)?;
        }
        let body = self.body_of(now, row, &act, tx)?;
        if may_state {
            return Ok(ActOutcome::Stated(self.state_act(now, row, body, tx)?));
        }
        let draft = self.draft_record(now, row, body, Vec::new())?;
        let membership = self.workspaces.get(&row).map(|workspace| &workspace.membership);
        membership.ok_or(Error::NotReady)?.recipients_after(&draft).map_err(Error::Refused)?;
        let mut intents = self.intents(id, tx)?;
        if intents.len() >= INTENTS_MAX {
            return Err(Error::NotReady);
        }
        intents.push(act);
        self.keep_intents(id, &intents, tx)?;
        self.work_to_send(row);
        Ok(ActOutcome::Intended)
    }

    /// Admits entries that were set aside beyond a removed member's pins, or keeps entries out.
    ///
    /// # Errors
    /// [`Error::Refused`] below admin.
    pub fn judge_entries(
        &mut self,
        now: Now,
        id: &WorkspaceId,
        entries: Vec<EntryHash>,
        admit: bool,
        tx: &Tx<'_>,
    ) -> Result<RecordId, Error> {
        let row = self.workspace_row(id).ok_or(Error::NoWorkspace(*id))?;
        let body = if admit { RecordBody::Admit(entries) } else { RecordBody::Exclude(entries) };
        Ok(self.state_record(now, row, body, Vec::new(), tx)?.id())
    }

    /// Returns what this replica means to state once a session has caught up.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn intents(&self, id: &WorkspaceId, tx: &Tx<'_>) -> Result<Vec<MembershipAct>, Error> {
        let Some(bytes) = tx.meta(&intents_key(id))? else {
            return Ok(Vec::new());
        };
        read_intents(&bytes).map_err(|_| StoreError::Corrupt { table: "meta" }.into())
    }

    fn keep_intents(&mut self, id: &WorkspaceId, intents: &[MembershipAct], tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.set_meta(&intents_key(id), &write_intents(intents), self.entropy.as_mut())
    }

    /// States what was only intended, now that a session of this workspace has caught up.
    pub(crate) fn state_intents(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(id) = self.workspaces.get(&row).map(|workspace| workspace.id) else {
            return Ok(());
        };
        let intents = match self.intents(&id, tx) {
            Ok(intents) if intents.is_empty() => return Ok(()),
            Ok(intents) => intents,
            Err(Error::Store(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let mut kept = Vec::new();
        for act in intents {
            self.seal_before(now, row, &act, tx)?;
            let body = self.body_of(now, row, &act, tx);
            match body.and_then(|body| self.state_act(now, row, body, tx)) {
                Ok(_) => {}
                Err(Error::Store(error)) => return Err(error),
                // The keys to wrap have not arrived: later.
                Err(Error::NotReady | Error::NoRelay) => kept.push(act),
                Err(_) => self.tell(Event::ActRefused { workspace: id, act }),
            }
        }
        self.keep_intents(&id, &kept, tx)
    }

    /// Seals what this user has written before an act of theirs takes the right to write it.
    fn seal_before(&mut self, now: Now, row: i64, act: &MembershipAct, tx: &Tx<'_>) -> Result<(), StoreError> {
        let own = self.identity.user();
        let lowers = match act {
            MembershipAct::SetRole { user, role, .. } => *user == own && *role < Role::Writer,
            MembershipAct::Remove { user } => *user == own,
            _ => false,
        };
        if lowers { self.seal_all(now, row, tx) } else { Ok(()) }
    }

    /// Tells whether an act can be signed now: a session has caught up, or nobody else can act.
    fn may_state(&self, row: i64, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.relays.keys().any(|relay| self.is_confirmed(*relay, row)) {
            return Ok(true);
        }
        for relay in self.relays.keys() {
            if tx.log(*relay, row)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns a relay's receipt that shows that a role has ended, if this device holds one.
    fn proof_of_time(&self, row: i64, expiry: &Expiry, tx: &Tx<'_>) -> Result<Option<Signed<Receipt>>, StoreError> {
        for (relay, held) in &self.relays {
            let Some(log) = tx.log(*relay, row)?.filter(|_| held.key().is_some()) else {
                continue;
            };
            let receipt = log.receipt.and_then(|bytes| Signed::<Receipt>::decode(&bytes).ok());
            let proves = |receipt: &Signed<Receipt>| {
                let statement = receipt.verify();
                statement.is_ok_and(|said| said.relay == expiry.relay && said.time_ms > expiry.expires_ms)
            };
            if let Some(receipt) = receipt.filter(proves) {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    fn body_of(&mut self, now: Now, row: i64, act: &MembershipAct, tx: &Tx<'_>) -> Result<RecordBody, Error> {
        let view = &self.workspaces.get(&row).ok_or(Error::NotReady)?.view;
        match act.clone() {
            MembershipAct::SetRole { user, role, expires_ms } => {
                let before = view.role(&user);
                let pins = if Some(role) < before { Some(self.pins_of(row, &user, tx)?) } else { None };
                let expiry = match expires_ms {
                    Some(expires_ms) => Some(Expiry { expires_ms, relay: self.counting_relay()?.0 }),
                    None => None,
                };
                let standing = Standing { subject: user, role: Some(role), expiry, proof: None, pins, rotation: None };
                self.standing_body(now, row, standing)
            }
            MembershipAct::Remove { user } => {
                let pins = Some(self.pins_of(row, &user, tx)?);
                let standing = Standing { subject: user, role: None, expiry: None, proof: None, pins, rotation: None };
                self.standing_body(now, row, standing)
            }
            MembershipAct::TransferOwnership { to } => Ok(RecordBody::OwnerTransfer(to)),
            MembershipAct::SetPolicy(terms) => self.policy_body(row, terms),
            MembershipAct::SetOrganisationRecovery(recovery) => self.organisation_body(row, recovery),
            MembershipAct::RevokeInvite { invite } => {
                let is_keyed = view.invite(&invite).is_some_and(InviteStanding::is_keyed);
                let revoke = InviteRevoke { invite, rotation: None };
                if !is_keyed {
                    return Ok(RecordBody::InviteRevoke(Box::new(revoke)));
                }
                self.with_rotation(now, row, |rotation| {
                    RecordBody::InviteRevoke(Box::new(InviteRevoke { rotation: Some(rotation), ..revoke.clone() }))
                })
            }
        }
    }

    /// Completes a change of standing with the epoch that must go with it; this user's own departure has none,
    /// since this device would know it.
    fn standing_body(&mut self, now: Now, row: i64, standing: Standing) -> Result<RecordBody, Error> {
        let view = &self.workspaces.get(&row).ok_or(Error::NotReady)?.view;
        if view.departs(&self.identity.user(), &standing) || !view.takes_keys(&standing) {
            return Ok(RecordBody::Standing(Box::new(standing)));
        }
        self.with_rotation(now, row, |rotation| {
            RecordBody::Standing(Box::new(Standing { rotation: Some(rotation), ..standing.clone() }))
        })
    }

    fn pins_of(&self, row: i64, user: &UserId, tx: &Tx<'_>) -> Result<Pins, StoreError> {
        let view = self.workspaces.get(&row).map(|workspace| &workspace.view);
        let devices = view.into_iter().flat_map(|view| view.devices());
        let devices: Vec<DeviceId> =
            devices.filter(|(_, standing)| standing.user == *user).map(|(device, _)| device).collect();
        self.pins_of_devices(row, &devices, tx)
    }

    /// Returns the last entry of each chain of these devices that is held here without a gap below it, and
    /// counts. A replica that holds the whole workspace speaks for all documents; one that asks for some speaks for
    /// those, and for none before it has them from a relay.
    pub(crate) fn pins_of_devices(&self, row: i64, devices: &[DeviceId], tx: &Tx<'_>) -> Result<Pins, StoreError> {
        let wanted = self.workspaces.get(&row).and_then(|held| held.wanted_tags());
        let is_here = self.relays.keys().any(|relay| self.is_confirmed(*relay, row));
        let none = BTreeSet::new();
        let documents = wanted.map(|wanted| if is_here { wanted } else { &none });
        let mut chains = Vec::new();
        for device in devices {
            for (chain, seq, hash) in tx.admitted_heads(row, device)? {
                if documents.is_none_or(|documents| documents.contains(&chain.document)) {
                    chains.push(Pin { chain, seq, hash });
                }
            }
        }
        Ok(Pins { documents: documents.map(|documents| documents.iter().copied().collect()), chains })
    }

    /// Takes away the roles that have ended, where a receipt of the named relay proves it.
    pub(crate) fn sweep_expired(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        // Who has some documents leaves it to who has all: pins speak for what is here.
        let may = |held: &&super::Workspace| held.role(&self.device) >= Some(Role::Writer) && held.wanted.is_none();
        let Some(workspace) = self.workspaces.get(&row).filter(may) else {
            return Ok(());
        };
        let view = &workspace.view;
        let ending: Vec<(UserId, Expiry)> =
            view.members().filter_map(|(user, _)| view.expiry(&user).map(|expiry| (user, expiry))).collect();
        if !ending.is_empty() && self.has_act_waiting(row) {
            return Ok(());
        }
        for (user, expiry) in ending {
            let Some(proof) = self.proof_of_time(row, &expiry, tx)? else {
                continue;
            };
            let pins = Some(self.pins_of(row, &user, tx)?);
            let standing =
                Standing { subject: user, role: None, expiry: None, proof: Some(proof), pins, rotation: None };
            let stated = self
                .standing_body(now, row, standing)
                .and_then(|body| self.state_record(now, row, body, Vec::new(), tx));
            if let Err(Error::Store(error)) = stated {
                return Err(error);
            }
        }
        Ok(())
    }
}
