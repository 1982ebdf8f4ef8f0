//! Rendezvous: where two devices that are being linked exchange opaque messages, in memory only.
//!
//! Invariant: a rendezvous has one end that waits and at most one that comes, ends when either goes or its
//! time is over, and is good for one pair; what is kept of it is bounded by constants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tombolo_protocol::frame::{Frame, Part, PartReason, Pass};
use tombolo_protocol::ids::RendezvousId;
use tombolo_protocol::limits::{LINK_APPROVAL_BYTES_MAX, LINK_MESSAGE_BYTES_MAX, LINK_MESSAGES_MAX, LINK_MS_MAX};

use crate::fanout::{Delivery, Outbox};

/// Rendezvous of one relay, those that were used in the last three minutes included: links are made by
/// hand, so this is a crowd; each costs a message of 4 KiB at most while it waits.
pub const RENDEZVOUS_MAX: usize = 4096;
/// Rendezvous at which one session waits: one person holds one device.
const WAITING_OF_SESSION_MAX: usize = 2;

/// All rendezvous of a relay.
#[derive(Debug, Default)]
pub struct Meetings(Mutex<BTreeMap<RendezvousId, Meeting>>);

#[derive(Debug)]
struct Meeting {
    waits: Arc<Outbox>,
    came: Option<Arc<Outbox>>,
    /// What was said before the other end came.
    first: Option<Bytes>,
    messages: u32,
    is_over: bool,
    ends_ms: u64,
}

impl Meetings {
    /// Takes one end of a rendezvous.
    ///
    /// # Errors
    /// [`PartReason`] says why there is no meeting.
    pub fn meet(&self, id: RendezvousId, waits: bool, outbox: &Arc<Outbox>, now_ms: u64) -> Result<(), PartReason> {
        let mut meetings = self.lock();
        meetings.retain(|_, meeting| meeting.ends_ms > now_ms);
        if waits {
            let own = meetings.values().filter(|meeting| meeting.waits.id() == outbox.id() && !meeting.is_over);
            if own.count() >= WAITING_OF_SESSION_MAX || meetings.len() >= RENDEZVOUS_MAX {
                return Err(PartReason::Full);
            }
            if meetings.contains_key(&id) {
                return Err(PartReason::Taken);
            }
            let ends_ms = now_ms.saturating_add(LINK_MS_MAX.unsigned_abs());
            let waits = Arc::clone(outbox);
            meetings.insert(id, Meeting { waits, came: None, first: None, messages: 0, is_over: false, ends_ms });
            return Ok(());
        }
        let meeting = meetings.get_mut(&id).filter(|meeting| !meeting.is_over).ok_or(PartReason::NotThere)?;
        if meeting.came.is_some() || meeting.waits.id() == outbox.id() {
            return Err(PartReason::Taken);
        }
        meeting.came = Some(Arc::clone(outbox));
        if let Some(first) = meeting.first.take() {
            outbox.push(Delivery::Frame(first));
        }
        Ok(())
    }

    /// Hands a message to the other end.
    ///
    /// # Errors
    /// [`PartReason`] ends the rendezvous; the other end is told.
    pub fn pass(&self, pass: Pass, outbox: &Outbox, now_ms: u64) -> Result<(), PartReason> {
        let (id, bytes) = (pass.rendezvous, pass.message.len());
        let mut meetings = self.lock();
        let meeting = meetings.get_mut(&id).filter(|meeting| !meeting.is_over && meeting.ends_ms > now_ms);
        let meeting = meeting.filter(|meeting| meeting.has(outbox)).ok_or(PartReason::NotThere)?;
        meeting.messages += 1;
        let comes = meeting.came.as_ref().is_some_and(|came| came.id() == outbox.id());
        // The one who comes has the last word, and it alone may be long.
        let is_last = comes && bytes > LINK_MESSAGE_BYTES_MAX;
        let too_long = bytes > if comes { LINK_APPROVAL_BYTES_MAX } else { LINK_MESSAGE_BYTES_MAX };
        let unheard = meeting.came.is_none() && meeting.first.is_some();
        if too_long || unheard || meeting.messages > LINK_MESSAGES_MAX {
            meeting.end(Some((outbox, id, PartReason::Gone)));
            return Err(PartReason::TooMuch);
        }
        let frame = Bytes::from(Frame::from(pass).encode());
        match (comes, &meeting.came) {
            (true, _) => meeting.waits.push(Delivery::Frame(frame)),
            (false, Some(came)) => came.push(Delivery::Frame(frame)),
            (false, None) => meeting.first = Some(frame),
        }
        if is_last {
            meeting.end(None);
        }
        Ok(())
    }

    /// Ends a rendezvous on the word of one of its ends.
    pub fn part(&self, id: &RendezvousId, outbox: &Outbox) {
        if let Some(meeting) = self.lock().get_mut(id).filter(|meeting| meeting.has(outbox)) {
            meeting.end(Some((outbox, *id, PartReason::Gone)));
        }
    }

    /// Ends all rendezvous of a session that is gone; one to which nobody came may begin anew.
    pub fn leave(&self, outbox: &Outbox) {
        self.lock().retain(|id, meeting| {
            if !meeting.has(outbox) {
                return true;
            }
            meeting.end(Some((outbox, *id, PartReason::Gone)));
            meeting.came.is_some()
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RendezvousId, Meeting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meeting {
    fn has(&self, outbox: &Outbox) -> bool {
        self.waits.id() == outbox.id() || self.came.as_ref().is_some_and(|came| came.id() == outbox.id())
    }

    /// Ends it, and tells the end that did not cause it. The id stays used until its time is over.
    fn end(&mut self, by: Option<(&Outbox, RendezvousId, PartReason)>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.first = None;
        let Some((by, rendezvous, reason)) = by else {
            return;
        };
        let frame = Bytes::from(Frame::from(Part { rendezvous, reason }).encode());
        for end in [Some(&self.waits), self.came.as_ref()].into_iter().flatten() {
            if end.id() != by.id() {
                end.push(Delivery::Frame(frame.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::SessionId;

    const ID: RendezvousId = RendezvousId::from_bytes([1; 16]);

    fn outboxes() -> [Arc<Outbox>; 3] {
        [1, 2, 3].map(|n| Outbox::new(SessionId(n)))
    }

    fn said(outbox: &Outbox) -> Vec<Frame> {
        let frame = |delivery| match delivery {
            Delivery::Frame(bytes) => Frame::decode(&bytes).unwrap(),
            other => panic!("not a frame: {other:?}"),
        };
        outbox.take().queue.into_iter().map(frame).collect()
    }

    fn pass(bytes: usize) -> Pass {
        Pass { rendezvous: ID, message: vec![7; bytes].into() }
    }

    #[test]
    fn two_meet_and_a_third_finds_the_place_taken_also_afterwards() {
        let (meetings, [new, old, third]) = (Meetings::default(), outboxes());
        assert_eq!(meetings.meet(ID, false, &old, 0), Err(PartReason::NotThere));
        assert_eq!(meetings.meet(ID, true, &new, 0), Ok(()));
        assert_eq!(meetings.meet(ID, true, &third, 0), Err(PartReason::Taken));
        assert_eq!(meetings.pass(pass(9), &new, 1), Ok(()));
        assert_eq!(meetings.meet(ID, false, &old, 1), Ok(()));
        assert_eq!(said(&old), [Frame::from(pass(9))]);
        assert_eq!(meetings.meet(ID, false, &third, 1), Err(PartReason::Taken));
        assert_eq!(meetings.pass(pass(9), &third, 1), Err(PartReason::NotThere));
        assert_eq!(meetings.pass(pass(3), &old, 1), Ok(()));
        assert_eq!(said(&new), [Frame::from(pass(3))]);
        meetings.leave(&old);
        assert_eq!(said(&new), [Frame::from(Part { rendezvous: ID, reason: PartReason::Gone })]);
        assert_eq!(meetings.meet(ID, false, &third, 2), Err(PartReason::NotThere));
        assert_eq!(meetings.meet(ID, true, &third, 2), Err(PartReason::Taken));
        assert_eq!(meetings.meet(ID, true, &third, LINK_MS_MAX.unsigned_abs()), Ok(()));
    }

    #[test]
    fn messages_are_bounded_but_for_the_last_of_the_one_who_comes() {
        let (meetings, [new, old, _]) = (Meetings::default(), outboxes());
        meetings.meet(ID, true, &new, 0).unwrap();
        meetings.meet(ID, false, &old, 0).unwrap();
        assert_eq!(meetings.pass(pass(LINK_APPROVAL_BYTES_MAX), &old, 0), Ok(()));
        assert_eq!(meetings.pass(pass(1), &old, 0), Err(PartReason::NotThere));
        let (meetings, [new, old, _]) = (Meetings::default(), outboxes());
        meetings.meet(ID, true, &new, 0).unwrap();
        meetings.meet(ID, false, &old, 0).unwrap();
        assert_eq!(meetings.pass(pass(LINK_MESSAGE_BYTES_MAX + 1), &new, 0), Err(PartReason::TooMuch));
        assert_eq!(said(&old), [Frame::from(Part { rendezvous: ID, reason: PartReason::Gone })]);
        let (meetings, [new, ..]) = (Meetings::default(), outboxes());
        meetings.meet(ID, true, &new, 0).unwrap();
        assert_eq!(meetings.pass(pass(1), &new, 0), Ok(()));
        assert_eq!(meetings.pass(pass(1), &new, 0), Err(PartReason::TooMuch));
    }

    #[test]
    fn there_are_no_more_than_the_bound_and_time_makes_room() {
        let meetings = Meetings::default();
        for n in 0..RENDEZVOUS_MAX as u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            meetings.meet(RendezvousId::from_bytes(id), true, &Outbox::new(SessionId(n)), 0).unwrap();
        }
        let one_more = Outbox::new(SessionId(9999));
        assert_eq!(meetings.meet(ID, true, &one_more, 1), Err(PartReason::Full));
        assert_eq!(meetings.meet(ID, true, &one_more, LINK_MS_MAX.unsigned_abs()), Ok(()));
    }
}
