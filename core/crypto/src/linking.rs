//! Linking: how a new device becomes a user's, on the word of one that already is. Two state machines
//! that exchange opaque messages over a rendezvous on a relay, which may lie.
//!
//! ```text
//!  new device                                     approving device
//!  request: key, device id   ── QR, or a code ──►
//!                            ◄── commitment ─────  to its offer
//!  answer: nonce, keys       ──────────────────►
//!                            ◄── offer ──────────  key, nonce, user, head
//!  shows six digits; counter-signature ────────►  the person types the digits
//!                            ◄── approval ───────  certificate, workspaces, epochs: sealed
//! ```
//!
//! Invariant: nobody who stands between learns the digits before both keys are fixed, so one guess in a
//! million is all there is; any error ends a link for good, and what it was for begins anew. The
//! commitment is keyed with the token of the QR code, so a relay that has not seen it can not even offer.
//!
//! The digits tell the approving device whom it approves. The new device learns whose it becomes from
//! the approval, and shows it.

mod approval;
mod approver;
mod message;
mod new_device;
mod request;

use std::collections::BTreeMap;
use std::fmt;

use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::hash::{Digest, hash};
use tombolo_protocol::identity::IdentityError;
use tombolo_protocol::ids::RendezvousId;
use tombolo_protocol::keys::KeyError;

pub use approval::{Approval, LINK_WORKSPACES_MAX, LinkedWorkspace};
pub use approver::{Approver, ApproverStep, Confirmed};
pub use new_device::{NewDevice, NewDeviceStep};
pub use request::{LINK_ADDRESS_BYTES_MAX, LINK_TEXT_CHARS_MAX, LinkCode, LinkRequest, LinkToken};

use crate::derive::first;

/// Links begun within the last three minutes: what one person can do by hand, with room.
pub const LINKS_SPENT_MAX: usize = 64;

/// The values that six digits have.
const DIGITS_COUNT: u64 = 1_000_000;

/// Why a link is not made; but for [`LinkError::NotYet`] it is given up for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The text does not start as the request of a device does.
    NotALink,
    /// The text is of another version.
    Version,
    /// Characters of the text are missing or were changed.
    Checksum,
    /// A code has eight letters and digits; this has not.
    NotACode,
    /// A message breaks its layout.
    Malformed(DecodeError),
    /// The three minutes are over, or a clock is wrong.
    Expired,
    /// A message came twice or out of turn, or the link was used or given up.
    Replayed,
    /// A key is not the one that was announced: somebody stands between.
    KeyMismatch,
    /// The digits are others than the new device shows: somebody stands between, or they were mistyped.
    WrongDigits,
    /// The new device has not answered yet; wait for it.
    NotYet,
    /// A key is weak, or the new device did not sign.
    Key(KeyError),
    /// The identity log is broken, or went on meanwhile.
    Identity(IdentityError),
    /// The approval was sealed for another link, or altered.
    Decrypt,
    /// An epoch's secret does not fit its id.
    WrongEpoch,
    /// There is more than a link can carry.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALink => f.write_str("this is no device's request; scan the code that the new device shows"),
            Self::Version => f.write_str("the new device runs another version of Tombolo; update the older one"),
            Self::Checksum => f.write_str("the request is incomplete or was altered; scan it again"),
            Self::NotACode => f.write_str("a code has eight letters and digits; type it again"),
            Self::Malformed(error) => write!(f, "a message of the link is faulty: {error}"),
            Self::Expired => f.write_str("the request is too old; make a new one, and look at both clocks"),
            Self::Replayed => f.write_str("the request was used already; make a new one"),
            Self::KeyMismatch => f.write_str("somebody stood between the two devices; make a new request elsewhere"),
            Self::WrongDigits => f.write_str("these are not the digits of the new device; make a new request"),
            Self::NotYet => f.write_str("the new device has not answered yet"),
            Self::Key(error) => write!(f, "the new device did not prove itself: {error}"),
            Self::Identity(error) => write!(f, "the user's devices: {error}"),
            Self::Decrypt => f.write_str("the approval is not for this device, or was altered; make a new request"),
            Self::WrongEpoch => f.write_str("a key in the approval does not fit its workspace"),
            Self::TooMany { what, count, limit } => write!(f, "{count} {what} are over the limit of {limit}"),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<DecodeError> for LinkError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<KeyError> for LinkError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<IdentityError> for LinkError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Malformed(error) => Self::Malformed(error),
            error => Self::Identity(error),
        }
    }
}

/// Six digits that the new device shows and a person types on the approving one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkDigits(u64);

impl LinkDigits {
    fn derive(transcript: &Digest) -> Self {
        Self(u64::from_be_bytes(first(&hash("link-digits", &[transcript]))) % DIGITS_COUNT)
    }

    /// Compares what was typed, with any spaces.
    fn is_typed(self, typed: &str) -> bool {
        let typed: String = typed.chars().filter(|letter| !letter.is_whitespace()).collect();
        typed == format!("{:06}", self.0)
    }
}

impl fmt::Display for LinkDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl fmt::Debug for LinkDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkDigits(secret)")
    }
}

/// The requests that an approving device has met: each is good for one link.
#[derive(Debug, Default)]
pub struct SpentLinks(BTreeMap<RendezvousId, i64>);

impl SpentLinks {
    /// Notes a request, and forgets those that have expired.
    fn spend(&mut self, rendezvous: RendezvousId, until_ms: i64, now_ms: i64) -> Result<(), LinkError> {
        self.0.retain(|_, until| *until > now_ms);
        let count = self.0.len() + 1;
        if count > LINKS_SPENT_MAX {
            return Err(LinkError::TooMany { what: "requests within three minutes", count, limit: LINKS_SPENT_MAX });
        }
        if self.0.insert(rendezvous, until_ms).is_some() { Err(LinkError::Replayed) } else { Ok(()) }
    }
}
