//! Linking: the two ends of `tombolo_crypto::linking`, brought together over a rendezvous on a relay.
//!
//! One link of each kind is under way at a time, in memory only: it lives three minutes, and a crash ends
//! it as a lost session does.
//!
//! Invariant: whatever goes wrong ends the link, is told, and on the approving side raises an alarm; the
//! secrets of a new device that failed are thrown away with it.

mod approve;
mod request;

use std::fmt;
use std::time::Duration;

use approve::Approving;
use request::Requesting;
use tombolo_crypto::{LinkError, SpentLinks};
use tombolo_protocol::frame::{Part, PartReason, Pass};
use tombolo_protocol::ids::RendezvousId;
use tombolo_protocol::limits::LINK_MS_MAX;

use crate::engine::{Engine, Now};
use crate::store::{StoreError, Tx};

/// How a new device is found by the one that approves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkWay {
    /// The approving device scans a QR code.
    Scan,
    /// A person types a code of eight characters; both devices have dialled the same relay.
    Code,
}

/// Why two devices were not linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFailure {
    /// What the other side showed or said was wrong, or too late.
    Link(LinkError),
    /// The relay ended the rendezvous.
    Parted(PartReason),
    /// One is under way already.
    Busy,
    /// None is under way.
    NoLink,
    /// The session with the relay ended.
    Offline,
    /// This device is one of several of another user: give it up there first.
    OtherUser,
    /// What is here could not be taken along.
    NotTakenAlong,
}

impl fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => write!(f, "{error}"),
            Self::Parted(PartReason::Gone) => f.write_str("the other device gave up, or lost its connection"),
            Self::Parted(PartReason::NotThere) => f.write_str("no device waits at this code on this relay"),
            Self::Parted(PartReason::Taken) => f.write_str("the code was used already; make a new request"),
            Self::Parted(_) => f.write_str("the relay does not carry the link; try again later"),
            Self::Busy => f.write_str("a device is being linked already"),
            Self::NoLink => f.write_str("no device is being linked"),
            Self::Offline => f.write_str("the relay could not be reached any more; try again"),
            Self::OtherUser => f.write_str("this device belongs to another user, who has other devices"),
            Self::NotTakenAlong => f.write_str("what was made here could not be taken along"),
        }
    }
}

impl std::error::Error for LinkFailure {}

impl From<LinkError> for LinkFailure {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The links under way.
#[derive(Default)]
pub(super) struct Links {
    request: Option<Requesting>,
    approval: Option<Approving>,
    spent: SpentLinks,
}

impl Links {
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let request = self.request.as_ref().map(|request| request.until);
        let approval = self.approval.as_ref();
        let until = approval.map(|approval| approval.until);
        request.into_iter().chain(until).chain(approval.and_then(|approval| approval.again_at)).min()
    }

    pub(super) fn is_requesting(&self) -> bool {
        self.request.is_some()
    }
}

impl Engine {
    /// Gives up the link that is under way, if there is one.
    pub fn cancel_link(&mut self) {
        let request = self.own.links.request.take().map(|request| (request.rendezvous, vec![request.relay]));
        let approval = self.own.links.approval.take();
        let approval = approval.map(|approval| (approval.rendezvous, approval.at.into_keys().collect()));
        for (rendezvous, relays) in request.into_iter().chain(approval) {
            self.part(rendezvous, relays);
        }
    }

    fn part(&mut self, rendezvous: RendezvousId, relays: Vec<i64>) {
        for relay in relays {
            if self.relays.get(&relay).is_some_and(|relay| relay.live().is_some()) {
                self.send(relay, Part { rendezvous, reason: PartReason::Gone });
            }
        }
    }

    /// Takes the ends of a rendezvous where sessions stand, and gives up what is too late.
    pub(super) fn drive_links(&mut self, now: Now) {
        self.drive_request(now);
        self.drive_approval(now);
    }

    fn session_of(&self, relay: i64) -> Option<u64> {
        let relay = self.relays.get(&relay).filter(|relay| relay.live().is_some())?;
        Some(relay.connection().attempt)
    }

    /// Takes a message from the other end of a rendezvous.
    pub(crate) fn take_pass(&mut self, now: Now, relay: i64, pass: &Pass, tx: &Tx<'_>) -> Result<(), StoreError> {
        let links = &self.own.links;
        if links.request.as_ref().is_some_and(|held| (held.relay, held.rendezvous) == (relay, pass.rendezvous)) {
            return self.pass_to_request(now, pass, tx);
        }
        let looks =
            |held: &Approving| held.rendezvous == pass.rendezvous && held.at.get(&relay).is_some_and(Option::is_some);
        if links.approval.as_ref().is_some_and(looks) {
            return self.pass_to_approval(now, relay, pass, tx);
        }
        Ok(())
    }

    /// The relay ended a rendezvous.
    pub(crate) fn take_part(&mut self, now: Now, relay: i64, part: &Part, tx: &Tx<'_>) -> Result<(), StoreError> {
        let links = &mut self.own.links;
        if links.request.as_ref().is_some_and(|held| (held.relay, held.rendezvous) == (relay, part.rendezvous)) {
            self.fail_request(LinkFailure::Parted(part.reason));
            return Ok(());
        }
        let Some(approving) = links.approval.as_mut().filter(|held| held.rendezvous == part.rendezvous) else {
            return Ok(());
        };
        // A relay where it does not look now says of the message too what it said of the meeting.
        let looks = approving.at.get(&relay).is_some_and(Option::is_some);
        if !looks || part.reason == PartReason::NotThere && approving.look_again(now, relay) {
            return Ok(());
        }
        approving.at.remove(&relay);
        if !approving.at.is_empty() {
            return Ok(());
        }
        self.fail_approval(now, LinkFailure::Parted(part.reason), tx)
    }
}

fn deadline(now: Now) -> Duration {
    now.mono + Duration::from_millis(LINK_MS_MAX.unsigned_abs())
}
