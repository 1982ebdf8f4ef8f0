//! When a snapshot is vouched for: how many other members' words are enough.
//!
//! Invariant: the answer is a function of the records and of the statements given. What decides anything asks for as many
//! words as the present view does, and counts only who may write in the view that the statement names and now: so who
//! names an old view, or was removed, adds nothing. What was enough once is told apart: it decides nothing, and only
//! opens a document of which nothing else is left.

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
    /// It has fewer words than it needs now, but all that it needed when they were given: who gave them was removed, or
    /// more came since.
    WasEnough,
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
        let Some((then, user)) = self.view_at(author.1).and_then(|then| Some((then, writer(then, author.0)?))) else {
            return Vouched::Never;
        };
        // Who could write when they said so, by the view that they name.
        let spoke = words.iter().filter(|(device, _)| device != author.0);
        let spoke = spoke.filter_map(|(device, head)| {
            let view = self.view_at(head)?;
            Some((*device, writer(view, device)?, view))
        });
        let spoke: Vec<(DeviceId, UserId, &View)> = spoke.collect();
        match self.vouched_now((author.0, user), &spoke) {
            Vouched::Enough => Vouched::Enough,
            _ if was_enough((then, user), &spoke) => Vouched::WasEnough,
            lacking => lacking,
        }
    }

    /// Judges words by who may write now.
    fn vouched_now(&self, author: (&DeviceId, UserId), spoke: &[(DeviceId, UserId, &View)]) -> Vouched {
        let now = self.current();
        if writer(now, author.0).is_none() {
            return Vouched::Never;
        }
        let speaks = spoke.iter().filter(|(device, ..)| writer(now, device).is_some());
        let speaks: Vec<_> = speaks.map(|(device, user, _)| (*device, *user)).collect();
        let others = others(now, author.1);
        let own = |device: &DeviceId| device != author.0 && writer(now, device) == Some(author.1);
        let has_own = now.devices().any(|(device, _)| own(&device));
        let need = if others > 0 { others.min(ATTESTERS_NEEDED) } else { usize::from(has_own) };
        match (need, have(&speaks, author.1, others > 0)) {
            (0, _) => Vouched::Alone,
            (need, have) if have >= need => Vouched::Enough,
            (need, have) => Vouched::Lacking { have, need },
        }
    }
}

/// Tells whether words were enough by the views that they and the snapshot name, whichever asks for most.
fn was_enough((then, author): (&View, UserId), spoke: &[(DeviceId, UserId, &View)]) -> bool {
    let named = spoke.iter().map(|(.., view)| *view).chain([then]);
    let others = named.map(|view| others(view, author)).max().unwrap_or(0);
    let speaks: Vec<_> = spoke.iter().map(|(device, user, _)| (*device, *user)).collect();
    have(&speaks, author, others > 0) >= others.clamp(1, ATTESTERS_NEEDED)
}

/// Counts the other users that spoke; where there are none, the author's other devices.
fn have(spoke: &[(DeviceId, UserId)], author: UserId, has_others: bool) -> usize {
    if has_others {
        spoke.iter().map(|(_, user)| user).filter(|user| **user != author).collect::<BTreeSet<_>>().len()
    } else {
        spoke.iter().filter(|(_, user)| *user == author).map(|(device, _)| device).collect::<BTreeSet<_>>().len()
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
