//! What the judgement of a valid record found out: all that later evaluations need of it.
//!
//! Invariant: facts follow from the record and its ancestors alone, so they never change, but for those
//! of a Join, which stands on attestations too.

use crate::ids::{DeviceId, RecordId, UserId};
use crate::record::{Expiry, Role};

/// What a removal is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A member.
    User(UserId),
    /// A device of a member.
    Device(DeviceId),
    /// An invite.
    Invite(RecordId),
}

/// A standing that a record gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) user: UserId,
    pub(super) role: Option<Role>,
    pub(super) expiry: Option<Expiry>,
}

/// What is known of a valid record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whose device made it.
    pub(super) user: UserId,
    /// How its removals rank among concurrent ones.
    pub(super) rank: u8,
    /// The least role that its author must have had.
    pub(super) needs: u8,
    /// The records from which its author had the right.
    pub(super) rests_on: Vec<RecordId>,
    /// Whom or what it removes, and the role that it leaves.
    pub(super) removes: Vec<(Target, Option<Role>)>,
    /// Whose earlier removal it adds pins to.
    pub(super) adds_pins_to: Vec<(Target, Option<Role>)>,
    /// The standings that it gives.
    pub(super) grants: Vec<Grant>,
    /// Whether the member it removes was an owner.
    pub(super) removes_owner: bool,
    /// Whether it takes the keys from its own author, who would know any epoch that went with it.
    pub(super) departs: bool,
    /// For a Join: which use of its invite it is.
    pub(super) nth: u32,
}

/// Ranks are roles with room between them for the revocation of a device, by a device and by the root.
pub(super) const RANKS_PER_ROLE: u8 = 4;

impl Facts {
    /// Starts with what an act without consequences has.
    pub(super) fn of(user: UserId, role: Option<Role>, needs: Role, rests_on: Option<RecordId>) -> Self {
        Self {
            user,
            rank: role.map_or(0, |role| role as u8 * RANKS_PER_ROLE),
            needs: needs as u8,
            rests_on: rests_on.into_iter().collect(),
            removes: Vec::new(),
            adds_pins_to: Vec::new(),
            grants: Vec::new(),
            removes_owner: false,
            departs: false,
            nth: 0,
        }
    }

    /// Tells whether its author was owner at its parents.
    pub(super) fn is_by_owner(&self) -> bool {
        self.rank >= Role::Owner as u8 * RANKS_PER_ROLE
    }

    /// Tells whether other records may count or not because of it.
    pub(super) fn is_decisive(&self) -> bool {
        let makes_owner = self.grants.iter().any(|grant| grant.role == Some(Role::Owner));
        makes_owner || !self.removes.is_empty()
    }
}
