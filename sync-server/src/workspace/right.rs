//! Whether a device may act in a workspace at this moment, and at which level.
//!
//! Invariant: the answer follows from the records that are in the log or on their way into it, and the
//! relay's clock; nobody who never was a member is told anything.

use tombolo_protocol::frame::{LevelGap, RefusalReason, RightEnded};
use tombolo_protocol::ids::{DeviceId, RelayId, UserId};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::membership::View;
use tombolo_protocol::record::{Levels, Record, Role};

use super::Judge;

/// Whose session something comes from, and what this relay makes of it.
pub struct Caller<'a> {
    /// The session's device.
    pub device: DeviceId,
    /// The user that the session has shown a second factor of, and the level it has by that.
    pub factor: Option<(UserId, u8)>,
    /// What this relay asks in every workspace.
    pub minimum: Levels,
    /// This relay.
    pub relay: RelayId,
    /// Its key.
    pub key: &'a SignKey,
    /// Its clock, milliseconds since 1970.
    pub now_ms: i64,
}

/// Why a device may do nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRight {
    /// It never was a member.
    Stranger,
    /// It was one.
    Ended(RightEnded),
}

impl NoRight {
    /// Returns what an ended member is told, and nothing for a stranger.
    #[must_use]
    pub fn ended(self) -> Option<RightEnded> {
        match self {
            Self::Stranger => None,
            Self::Ended(ended) => Some(ended),
        }
    }
}

impl From<NoRight> for RefusalReason {
    fn from(no: NoRight) -> Self {
        match no {
            NoRight::Stranger | NoRight::Ended(RightEnded::Removed) => Self::RoleDenied,
            NoRight::Ended(RightEnded::Revoked) => Self::DeviceRevoked,
            NoRight::Ended(RightEnded::Expired) => Self::ExpiredGrant,
        }
    }
}

/// Level of a session that proved a device key and nothing else.
pub const LEVEL_DEVICE_KEY: u8 = 1;

impl Judge {
    /// Returns the role that a device has at this moment.
    ///
    /// # Errors
    /// [`NoRight`] if it has none, or none any more.
    pub fn right(&self, device: &DeviceId, now_ms: i64) -> Result<Role, NoRight> {
        right_in(&self.view, device, now_ms)
    }

    /// Returns when a device's role ends if no record changes it.
    #[must_use]
    pub fn right_until(&self, device: &DeviceId) -> Option<i64> {
        let standing = self.view.device(device)?;
        self.view.expiry(&standing.user).map(|expiry| expiry.expires_ms)
    }

    /// Returns the levels that acts need here: by the workspace's policy, and at this relay.
    #[must_use]
    pub fn levels(&self, minimum: Levels) -> Levels {
        self.view.policy().map_or(minimum, |policy| policy.levels.max(minimum))
    }

    /// Tells whether only sessions that are bound to their TLS connection may open the workspace.
    #[must_use]
    pub fn needs_binding(&self) -> bool {
        self.view.policy().is_some_and(|policy| policy.needs_binding)
    }

    /// Checks that a session's level is enough to open the workspace.
    ///
    /// # Errors
    /// [`LevelGap`] if it is not.
    pub fn may_open(&self, caller: &Caller<'_>) -> Result<(), LevelGap> {
        self.reaches(caller, self.levels(caller.minimum).open)
    }

    /// Returns the level that a session has here.
    #[must_use]
    pub fn level(&self, caller: &Caller<'_>) -> u8 {
        level_in(&self.view, caller)
    }

    pub(super) fn reaches(&self, caller: &Caller<'_>, needed: u8) -> Result<(), LevelGap> {
        let have = level_in(&self.view, caller);
        if needed <= have { Ok(()) } else { Err(LevelGap { needed, have }) }
    }

    /// Checks that the author of a record, if it is the session's own, showed what the act needs.
    ///
    /// What a policy asks is asked only where this relay's word counts; elsewhere the record waits for
    /// the word of a relay that the policy names.
    pub(super) fn may_publish(&self, caller: &Caller<'_>, record: &Record) -> Result<(), LevelGap> {
        let then = self.membership.view_of(record.parents());
        let Some(author) = then.device(&record.author()).filter(|_| record.author() == caller.device) else {
            return Ok(());
        };
        let asked = then.policy().filter(|policy| counts(&then, &policy.relays, caller.relay));
        let levels = asked.map_or(caller.minimum, |policy| policy.levels.max(caller.minimum));
        self.reaches(caller, levels.needed(record.body(), &author.user))
    }
}

/// Returns the level of a session in a workspace: a second factor counts for the user it belongs to.
pub(super) fn level_in(view: &View, caller: &Caller<'_>) -> u8 {
    let user = view.device(&caller.device).map(|standing| standing.user);
    let shown = caller.factor.filter(|(of, _)| Some(*of) == user);
    shown.map_or(LEVEL_DEVICE_KEY, |(_, level)| level)
}

pub(super) fn right_in(view: &View, device: &DeviceId, now_ms: i64) -> Result<Role, NoRight> {
    let standing = view.device(device).ok_or(NoRight::Stranger)?;
    if standing.revoked {
        return Err(NoRight::Ended(RightEnded::Revoked));
    }
    if !standing.certified {
        return Err(NoRight::Stranger);
    }
    let role = view.role(&standing.user);
    #[cfg(feature = "planted-bugs")]
    let role = role.or(tombolo_protocol::planted::Bug::RelayServesRemoved.is_planted().then_some(Role::Reader));
    let role = role.ok_or(NoRight::Ended(RightEnded::Removed))?;
    match view.expiry(&standing.user) {
        Some(expiry) if now_ms > expiry.expires_ms => Err(NoRight::Ended(RightEnded::Expired)),
        _ => Ok(role),
    }
}

/// Tells whether a relay is among those named, or succeeded one of them.
fn counts(view: &View, named: &[RelayId], relay: RelayId) -> bool {
    let mut open = named.to_vec();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(next) = open.pop() {
        if next == relay {
            return true;
        }
        if seen.insert(next) {
            open.extend(view.successors(&next));
        }
    }
    false
}

/// Tells why a device that had a role in one view has none in a later one.
pub(super) fn ended_between(before: &View, after: &View, device: &DeviceId) -> Option<RightEnded> {
    before.role_of_device(device)?;
    match after.role_of_device(device) {
        Some(_) => None,
        None if after.device(device).is_some_and(|standing| standing.revoked) => Some(RightEnded::Revoked),
        None => Some(RightEnded::Removed),
    }
}
