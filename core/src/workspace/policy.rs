//! What owners ask of everybody, and the key that an organisation may have to a workspace.
//!
//! Invariant: no policy is stated that nobody could meet; every member is told when a key of an
//! organisation comes or goes, before anything is sealed to it here.

use tombolo_crypto::RecoveryKit;
use tombolo_protocol::auth::Binding;
use tombolo_protocol::ids::{RecordId, RelayId, WorkspaceId};
use tombolo_protocol::limits::POLICY_RELAYS_MAX;
use tombolo_protocol::record::{LEVEL_MAX, Levels, OrganisationRecovery, Policy, RecordBody};

use super::RecoveryBox;
use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::store::Tx;

/// What is asked of everybody: levels of authentication, and whose word on them counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTerms {
    /// The least level for each kind of act: 1 is the device's key, 3 a second factor within twelve hours, 4
    /// one within five minutes.
    pub levels: Levels,
    /// The relays that attest levels.
    pub relays: Vec<RelayId>,
    /// Whether a relay opens the workspace only to sessions that are bound to their TLS connection, so that
    /// nothing may end TLS between device and relay; it counts from the next session on.
    pub needs_binding: bool,
}

/// Why a policy is not stated: the caller asks for what can not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyRefusal {
    /// There is no such level.
    LevelTooHigh {
        /// What was asked.
        level: u8,
    },
    /// A level above 1 is asked for, and none of the relays that should attest it is one that this device
    /// has reached: nobody could invite, change members or take the policy back.
    NoKnownRelay,
    /// More relays than a policy may name.
    TooManyRelays {
        /// How many.
        named: usize,
    },
    /// Bound sessions are asked for, and no relay is reached by one: nobody could take the policy back.
    NotBound,
    /// The organisation's key is none that anything can be sealed to.
    WeakKey,
}

impl std::fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LevelTooHigh { level } => write!(f, "there is no level {level}; levels go up to {LEVEL_MAX}"),
            Self::NoKnownRelay => f.write_str(
                "a level above 1 needs a relay to attest it, and none of those named was reached; dial one and name it",
            ),
            Self::TooManyRelays { named } => {
                write!(f, "a policy names at most {POLICY_RELAYS_MAX} relays, not {named}; leave some out")
            }
            Self::NotBound => f.write_str(
                "no relay is reached by a session bound to TLS, so nobody could open the workspace; dial one by wss first",
            ),
            Self::WeakKey => f.write_str("the organisation's key is no good; take it from its recovery kit"),
        }
    }
}

impl std::error::Error for PolicyRefusal {}

impl Engine {
    /// Returns what owners ask of everybody in a workspace; the default if nobody asked for anything.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub fn policy(&self, id: &WorkspaceId) -> Result<Policy, Error> {
        let held = self.workspace_row(id).and_then(|row| self.workspaces.get(&row));
        Ok(held.ok_or(Error::NoWorkspace(*id))?.view.policy().cloned().unwrap_or_default())
    }

    /// Opens what is wrapped to an organisation, with its kit, on a device that holds the workspace: a
    /// carrier's, or that of a member whose keys were lost. The kit is not kept; the keys are.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`]; [`Error::NotReady`] if nothing here is wrapped to this kit; [`Error::Store`].
    pub fn open_with_kit(&mut self, now: Now, id: &WorkspaceId, kit: &RecoveryKit, tx: &Tx<'_>) -> Result<(), Error> {
        let row = self.workspace_row(id).ok_or(Error::NoWorkspace(*id))?;
        let workspace = self.workspaces.get_mut(&row).ok_or(Error::NotReady)?;
        let before = workspace.epochs.len();
        let held = workspace.recovery.replace(RecoveryBox::of(kit.root()));
        let learnt = workspace.learn_epochs(&self.device, tx, self.entropy.as_mut());
        workspace.recovery = held;
        learnt?;
        if workspace.epochs.len() == before {
            return Err(Error::NotReady);
        }
        workspace.name = workspace.name.take().or_else(|| workspace.read_name());
        workspace.save(tx, self.entropy.as_mut())?;
        self.describe_waiting(now, row, tx)?;
        Ok(self.reopen_workspace(now, row, tx)?)
    }

    pub(super) fn policy_body(&self, row: i64, terms: PolicyTerms) -> Result<RecordBody, Error> {
        let PolicyTerms { levels, relays, needs_binding } = terms;
        if levels.highest() > LEVEL_MAX {
            return Err(Error::Policy(PolicyRefusal::LevelTooHigh { level: levels.highest() }));
        }
        if relays.len() > POLICY_RELAYS_MAX {
            return Err(Error::Policy(PolicyRefusal::TooManyRelays { named: relays.len() }));
        }
        let reached = self.relays.values().filter_map(crate::sync::Relay::key).any(|key| relays.contains(&key));
        if levels.highest() > 1 && !reached {
            return Err(Error::Policy(PolicyRefusal::NoKnownRelay));
        }
        let mut sessions = self.relays.values().filter_map(crate::sync::Relay::live);
        if needs_binding && sessions.all(|session| session.transcript.binding == Binding::None) {
            return Err(Error::Policy(PolicyRefusal::NotBound));
        }
        Ok(RecordBody::Policy(Policy { levels, relays, needs_binding, ..self.present_policy(row)? }))
    }

    pub(super) fn organisation_body(
        &self,
        row: i64,
        recovery: Option<OrganisationRecovery>,
    ) -> Result<RecordBody, Error> {
        if recovery.is_some_and(|recovery| recovery.is_weak()) {
            return Err(Error::Policy(PolicyRefusal::WeakKey));
        }
        Ok(RecordBody::Policy(Policy { recovery, ..self.present_policy(row)? }))
    }

    fn present_policy(&self, row: i64) -> Result<Policy, Error> {
        let workspace = self.workspaces.get(&row).ok_or(Error::NotReady)?;
        Ok(workspace.view.policy().cloned().unwrap_or_default())
    }

    /// States an act; where it takes the key from an organisation, new keys begin behind it.
    pub(super) fn state_act(&mut self, now: Now, row: i64, body: RecordBody, tx: &Tx<'_>) -> Result<RecordId, Error> {
        let before = self.present_policy(row)?.recovery;
        let record = self.state_record(now, row, body, Vec::new(), tx)?.id();
        if before.is_some() && self.present_policy(row)?.recovery != before {
            self.heal_heads(now, row, tx)?;
        }
        Ok(record)
    }

    /// Tells the app of a policy that is another than it was.
    pub(crate) fn tell_policy(&mut self, row: i64) {
        let Some(workspace) = self.workspaces.get_mut(&row) else {
            return;
        };
        let policy = workspace.view.policy().cloned();
        let (id, before) = (workspace.id, std::mem::replace(&mut workspace.known_policy, policy.clone()));
        if before == policy {
            return;
        }
        let recovery = |policy: Option<Policy>| policy.and_then(|policy| policy.recovery);
        let (before, now) = (recovery(before), recovery(policy));
        self.tell(Event::PolicyChanged { workspace: id });
        if before != now {
            self.tell(Event::OrganisationRecoveryChanged { workspace: id, recovery: now });
        }
    }
}
