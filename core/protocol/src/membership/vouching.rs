//! When a snapshot is vouched for: how many other members' words are enough.
//!
//! Invariant: the answer is a function of the records and of the statements given. It asks for the most that the
//! snapshot's own members_head or the present view asks for, and counts only who may write in the view that the
//! statement names and now: so who names an old view, or was removed, adds nothing.

use std::collections::BTreeSet;

use super::Membership;
use super::view::View;
use crate::ids::{DeviceId, RecordId, Stream, UserId};

/// Words of other members that a snapshot needs, where there are as many.
pub const ATTESTERS_NEEDED: usize = 2;

/// Whether a snapshot has the words that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vouched {
    /// It has fewer than it needs.
    Lacking {
        /// How many count.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// As many others as are needed have made the same state.
    Enough,
    /// There is nobody but the one device that made it; nobody could give back what is deleted.
    Alone,
    /// Its author may not write, or a record that it names is not here.
    Never,
}

impl Membership {
    /// Tells whether a snapshot has enough words, given its author and members_head, and the device and members_head
    /// of each statement on it, whose signatures were verified.
    #[must_use]
    pub fn vouched(&self, author: (&DeviceId, &RecordId), words: &[(DeviceId, RecordId)]) -> Vouched {
        let now = self.current();
        let Some(then) = self.view_at(author.1) else {
            return Vouched::Never;
        };
        let (Some(user), Some(_)) = (writer(then, author.0), writer(now, author.0)) else {
            return Vouched::Never;
        };
        let counts = |(device, head): &&(DeviceId, RecordId)| {
            device != author.0
                && self.view_at(head).is_some_and(|view| writer(view, device).is_some())
                && writer(now, device).is_some()
        };
        let counting = || words.iter().filter(counts).map(|(device, _)| *device);
        let others = others(then, user).max(others(now, user));
        let (have, need) = if others > 0 {
            let users: BTreeSet<UserId> = counting().filter_map(|device| writer(now, &device)).collect();
            (users.iter().filter(|other| **other != user).count(), others.min(ATTESTERS_NEEDED))
        } else {
            let devices: BTreeSet<DeviceId> = counting().collect();
            let is_own = |device: &DeviceId| device != author.0 && writer(now, device) == Some(user);
            let own = now.devices().filter(|(device, _)| is_own(device)).count();
            (devices.len(), own.min(1))
        };
        match need {
            0 => Vouched::Alone,
            _ if have >= need => Vouched::Enough,
            _ => Vouched::Lacking { have, need },
        }
    }
}

/// Returns whose device it is, if it may write content.
fn writer(view: &View, device: &DeviceId) -> Option<UserId> {
    let user = view.device(device).filter(|standing| standing.is_active())?.user;
    view.role(&user).filter(|role| role.may_write(Stream::CONTENT)).map(|_| user)
}

/// Counts the other users who may write content and have a device to do it.
fn others(view: &View, user: UserId) -> usize {
    let users: BTreeSet<UserId> = view.devices().filter_map(|(device, _)| writer(view, &device)).collect();
    users.iter().filter(|other| **other != user).count()
}
