//! Who has the keys at one point of the membership graph: the epochs, what begins the next, and to whom it is given.
//!
//! Invariant: there is an epoch only where nobody who is out knows it. Who leaves of their own accord draws
//! none; until a rotation of those who stay stands on the departure, there is no epoch.

use std::collections::BTreeSet;

use super::{InviteStanding, Newest, View};
use crate::ids::{EpochId, RecordId, UserId};
use crate::record::{Role, Standing};

/// To whom an epoch is wrapped: an id (of a device, an invite, or a user's or organisation's recovery key),
/// and its X25519 key.
pub type Recipient = ([u8; 32], [u8; 32]);

impl View {
    /// Returns the epoch that entries are sealed under: of concurrent ones that stand on every removal which any of
    /// them stands on, that of the lowest record; none if there is no such, or somebody has left who knows it.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.last_epoch().filter(|_| self.departures.is_empty())
    }

    /// Returns the same, whoever has left since.
    fn last_epoch(&self) -> Option<EpochId> {
        self.counting().find(|(_, newest)| !newest.behind).map(|(_, newest)| newest.epoch)
    }

    /// Returns whether a rotation has to bring several removals together, or to shut out who left, before
    /// anything is sealed.
    #[must_use]
    pub fn needs_healing(&self) -> bool {
        !self.departures.is_empty() || self.last_epoch().is_none() && self.counting().next().is_some()
    }

    fn counting(&self) -> impl Iterator<Item = (&RecordId, &Newest)> {
        self.newest.iter().filter(|(_, newest)| !newest.void)
    }

    /// Returns the records that began the newest epochs, where several count beside each other.
    pub(in crate::membership) fn rivals(&self) -> Vec<RecordId> {
        let counting: Vec<RecordId> = self.counting().map(|(record, _)| *record).collect();
        if counting.len() > 1 { counting } else { Vec::new() }
    }

    /// Notes that the epoch of one record stands on a removal that the epoch of another does not.
    pub(in crate::membership) fn rank_epochs(&mut self, leads: &RecordId, behind: &RecordId) {
        if let Some(newest) = self.newest.get_mut(leads) {
            newest.leads = true;
        }
        if let Some(newest) = self.newest.get_mut(behind) {
            newest.behind = true;
        }
    }

    /// Forgets how the newest epochs stand to each other.
    pub(in crate::membership) fn unrank_epochs(&mut self) {
        let all: Vec<RecordId> = self.newest.keys().copied().collect();
        for record in &all {
            if let Some(newest) = self.newest.get_mut(record) {
                (newest.leads, newest.behind) = (false, false);
            }
        }
    }

    /// Returns the newest epochs, the one of [`View::epoch`] first: what a rotation should carry on.
    pub fn newest_epochs(&self) -> impl Iterator<Item = EpochId> {
        let present = self.last_epoch();
        // Concurrent rotations may name one epoch, by mistake or malice.
        let others: BTreeSet<EpochId> = self.newest.values().map(|newest| newest.epoch).collect();
        present.into_iter().chain(others.into_iter().filter(move |epoch| Some(*epoch) != present))
    }

    /// Returns the epochs that a rotation must carry on.
    #[must_use]
    pub fn epochs_to_follow(&self) -> Vec<EpochId> {
        match self.last_epoch() {
            Some(epoch) => vec![epoch],
            None => self.counting().filter(|(_, newest)| newest.leads).map(|(_, newest)| newest.epoch).collect(),
        }
    }

    /// Tells whether an epoch began here or before.
    #[must_use]
    pub fn knows_epoch(&self, epoch: &EpochId) -> bool {
        let first = (*epoch, RecordId::from_bytes([0; 32]));
        let last = (*epoch, RecordId::from_bytes([0xff; 32]));
        self.rotations.range(first..=last).next().is_some()
    }

    /// Tells whether a change of standing takes the keys from its subject, or from who holds an invite that it
    /// ends: then an epoch must begin. So it must where a carrier goes: somebody may have let them read beside it.
    #[must_use]
    pub fn takes_keys(&self, standing: &Standing) -> bool {
        let before = self.role(&standing.subject);
        let goes = before.is_some() && standing.role.is_none();
        let loses = reads(before) && !reads(standing.role);
        goes || loses || self.invites_ended(&standing.subject, standing.role).any(|(_, invite)| invite.is_keyed())
    }

    /// Tells whether a change of standing takes keys of which its author, whose own it is, will have no more: then
    /// others must begin the epoch.
    #[must_use]
    pub fn departs(&self, author: &UserId, standing: &Standing) -> bool {
        standing.subject == *author && !reads(standing.role) && self.takes_keys(standing)
    }

    /// Returns the invites that the lowering or removal of a user ends. Those that the user made have the user's
    /// word alone; and whoever holds the link of one for many uses may be the user, who could come back by it.
    pub(in crate::membership) fn invites_ended(
        &self,
        subject: &UserId,
        after: Option<Role>,
    ) -> impl Iterator<Item = (RecordId, &InviteStanding)> {
        let before = self.role(subject);
        let ends = move |id: &RecordId, invite: &InviteStanding| {
            let (by_subject, for_many) = (invite.maker == *subject, invite.uses != 1);
            match after {
                Some(role) => by_subject && role < invite.needs() || for_many && role < invite.role,
                None => by_subject || for_many || self.came_by(subject, id),
            }
        };
        let open = self.invites().filter(move |(_, invite)| after < before && !invite.ended);
        open.filter(move |(id, invite)| ends(id, invite))
    }

    /// Returns everybody that a rotation must wrap to, with their X25519 keys, in the order of the
    /// recipients' ids: the active devices and recovery keys of all who may read, the organisation's
    /// recovery key, and the open invites for one use by which one may.
    #[must_use]
    pub fn recipients(&self) -> Vec<Recipient> {
        let reads = |user: &UserId| self.role(user).is_some_and(Role::may_read);
        let devices = self.devices.iter().filter(|(_, standing)| standing.is_active() && reads(&standing.user));
        let devices = devices.map(|(id, standing)| (*id.as_bytes(), standing.keys.box_public));
        let kits = self.recovery.keys().filter(|user| reads(user));
        let kits = kits.filter_map(|user| self.recovery_key(user).map(|key| (*user.as_bytes(), key)));
        let organisation = self.policy().and_then(|policy| policy.recovery.as_ref());
        let organisation = organisation.map(|recovery| (recovery.recipient(), recovery.box_public));
        let keyed = self.invites.iter().filter(|(_, invite)| invite.is_keyed());
        let invites = keyed.map(|(id, invite)| (*id.as_bytes(), invite.box_public));
        let mut recipients: Vec<_> = devices.chain(kits).chain(organisation).chain(invites).collect();
        recipients.sort_unstable();
        recipients
    }
}

fn reads(role: Option<Role>) -> bool {
    role.is_some_and(Role::may_read)
}
