//! Guests: devices that are known nowhere here and showed no token, but may hold an invite.
//!
//! A guest that proves an invite's key may bring its Join into the workspace of that invite. Once the Join is
//! durable the device is a member like others, and needs no token to come back.
//!
//! Invariant: before that proof a guest is told nothing but "not found", and nothing is looked up for it but
//! the invite it names; it brings no workspace of its own; its stay, its tries and the number of guests are
//! bounded.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Frame, NotFoundReason};
use tombolo_protocol::ids::WorkspaceTag;
use tombolo_protocol::limits::FRAME_BYTES_UNAUTHENTICATED_MAX;

use super::Session;
use crate::fanout::Closing;

/// Guests at one time: a stay is some round trips, so this is many joins a second.
pub const GUESTS_MAX: usize = 256;
/// Invites that one guest may show: one is enough, and a join that came too early is tried again.
pub const GUEST_ENTERS_MAX: u32 = 16;
/// Invites that all who show no token may show together in a second: each costs a signature and perhaps a
/// look at the disk, which members need more.
pub const GUEST_ENTERS_PER_SECOND_MAX: u32 = 64;
/// When a guest that was sent away because of the others may come again.
const AGAIN_MS: u32 = 5_000;

/// The guests of one relay.
#[derive(Debug, Default)]
pub struct Guests {
    present: AtomicUsize,
    /// A second of the steady clock, and what was shown in it.
    shown: Mutex<(u64, u32)>,
}

/// One guest of a session.
#[derive(Debug, Default)]
pub(super) struct Guest {
    enters: u32,
    /// The workspace whose invite it proved to hold.
    entered: Option<WorkspaceTag>,
}

impl Guests {
    fn arrive(&self) -> Result<(), Closing> {
        let room = |present: usize| (present < GUESTS_MAX).then_some(present + 1);
        let arrived = self.present.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        arrived.map(|_| ()).map_err(|_| AGAIN)
    }

    fn depart(&self) {
        self.present.fetch_sub(1, Ordering::Relaxed);
    }

    fn show(&self, now_ms: u64) -> Result<(), Closing> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now_ms / 1000;
        if shown.0 != second {
            *shown = (second, 0);
        }
        if shown.1 >= GUEST_ENTERS_PER_SECOND_MAX {
            return Err(AGAIN);
        }
        shown.1 += 1;
        Ok(())
    }
}

const AGAIN: Closing = Closing { code: CloseCode::Overloaded, retry_after_ms: Some(AGAIN_MS) };

impl Session {
    /// Takes in a device that nothing admits yet.
    pub(super) fn receive_guest(&self) -> Result<Guest, Closing> {
        self.relay.guests().arrive()?;
        Ok(Guest::default())
    }

    /// Ends a stay: the device is a member now, or gone.
    pub(super) fn end_stay(&mut self) {
        if let super::Stage::Proven(proven) = &mut self.stage
            && proven.guest.take().is_some()
        {
            self.relay.guests().depart();
        }
    }

    fn guest(&mut self) -> Option<&mut Guest> {
        match &mut self.stage {
            super::Stage::Proven(proven) => proven.guest.as_mut(),
            _ => None,
        }
    }

    /// Tells whether a message may come from whom it comes from, before it is decoded.
    pub(super) fn may_be_so_long(&mut self, bytes: usize) -> bool {
        let stranger = self.guest().is_some_and(|guest| guest.entered.is_none());
        !stranger || bytes <= FRAME_BYTES_UNAUTHENTICATED_MAX
    }

    /// Judges a guest's frame; returns what it may be taken for, which is nothing where it was answered.
    pub(super) fn judge_guest(&mut self, frame: Frame) -> Result<Option<Frame>, Closing> {
        let now_ms = self.relay.steady_ms();
        if matches!(frame, Frame::Enter(_)) && !self.proven()?.token_holds {
            self.relay.guests().show(now_ms)?;
        }
        let Some(guest) = self.guest() else {
            return Ok(Some(frame));
        };
        let entered = guest.entered;
        match &frame {
            Frame::Enter(_) => {
                guest.enters += 1;
                if guest.enters > GUEST_ENTERS_MAX {
                    return Err(Closing { code: CloseCode::RateLimited, retry_after_ms: Some(AGAIN_MS) });
                }
            }
            Frame::Open(open) => {
                self.not_found_because(open.workspace, NotFoundReason::NeedsToken);
                return Ok(None);
            }
            Frame::Seed(seed) if entered != Some(seed.workspace.tag()) => {
                self.not_found_because(seed.workspace.tag(), NotFoundReason::NeedsToken);
                return Ok(None);
            }
            Frame::Claim(_) | Frame::Return(_) | Frame::Meet(_) | Frame::Pass(_) | Frame::Part(_) => {
                return Err(CloseCode::NotAdmitted.into());
            }
            _ => {}
        }
        Ok(Some(frame))
    }

    /// Notes that a guest proved to hold an invite of this workspace.
    pub(super) fn note_entered(&mut self, workspace: WorkspaceTag) {
        if let Some(guest) = self.guest() {
            guest.entered = Some(workspace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_and_what_they_show_are_bounded_and_room_comes_back() {
        let guests = Guests::default();
        for _ in 0..GUESTS_MAX {
            guests.arrive().unwrap();
        }
        assert_eq!(guests.arrive(), Err(AGAIN));
        guests.depart();
        assert_eq!(guests.arrive(), Ok(()));
        for _ in 0..GUEST_ENTERS_PER_SECOND_MAX {
            guests.show(7_000).unwrap();
        }
        assert_eq!(guests.show(7_999), Err(AGAIN));
        assert_eq!(guests.show(8_000), Ok(()));
    }
}
