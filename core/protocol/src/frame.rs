//! Frames: what the two ends of a session say to each other.
//!
//! A frame is one binary WebSocket message: a type byte, then a CBOR map (RFC 8949) with integer keys.
//! Keys that a reader does not know are skipped; a frame type that it does not know closes the session.
//! What needs a signature is signed inside (entries, records, statements); frames are not.
//!
//! Invariant: [`Frame::decode`] bounds the message before it is looked at, and never allocates more
//! than a small multiple of it.

mod body;
mod bounded;
mod compare;
mod devices;
mod fragment;
mod refusal;
mod step_up;

pub use body::*;
pub use compare::*;
pub use devices::*;
pub use fragment::*;
use minicbor::{Decode, Encode};
pub use refusal::*;
pub use step_up::*;

use crate::bytes::{DecodeError, check_limit};
use crate::limits::{FRAME_BYTES_MAX, FRAME_BYTES_UNAUTHENTICATED_MAX};

macro_rules! frames {
    ($($(#[$doc:meta])* $name:ident($body:ty) = $number:literal;)*) => {
        /// One frame.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Frame {
            $($(#[$doc])* $name($body),)*
        }

        impl Frame {
            /// Returns the number of its type.
            #[must_use]
            pub fn number(&self) -> u8 {
                match self {
                    $(Self::$name(_) => $number,)*
                }
            }

            /// Returns the name of its type, for logs and metrics.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }

            /// Writes the frame.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$name(body) => encode_body($number, body),)*
                }
            }

            fn decode_body(number: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
                match number {
                    $($number => decode_exactly(bytes).map(Self::$name),)*
                    _ => Err(DecodeError::Unknown { field: "frame type", value: u64::from(number) }),
                }
            }
        }

        $(impl From<$body> for Frame {
            fn from(body: $body) -> Self {
                Self::$name(body)
            }
        })*
    };
}

frames! {
    /// The device says who it is and what it speaks.
    Hello(Hello) = 1;
    /// The relay says who it is and asks for a proof.
    Challenge(Challenge) = 2;
    /// The device's proof.
    Auth(Auth) = 3;
    /// The relay's proof, and what it allows.
    Welcome(Welcome) = 4;
    /// The sender closes the session and says why.
    Close(Close) = 5;
    /// The device wants to show a second factor.
    StepUp(StepUp) = 6;
    /// What the second factor is to answer.
    StepUpChallenge(StepUpChallenge) = 7;
    /// The second factor.
    StepUpProof(StepUpProof) = 8;
    /// What the second factor was worth.
    SteppedUp(SteppedUp) = 9;
    /// A member opens a workspace from its cursor.
    Open(Open) = 10;
    /// The workspace is open; items follow.
    Opened(Opened) = 11;
    /// There is no such workspace for this device.
    NotFound(NotFound) = 12;
    /// One side is done with a workspace.
    Shut(Shut) = 13;
    /// Records that the relay may not have: of a new workspace, a lost log, or a Join.
    Seed(Seed) = 14;
    /// The holder of an invite asks for the records to join on.
    Enter(Enter) = 15;
    /// The relay's records and attestations.
    Ground(Ground) = 16;
    /// A device asks for the workspaces of its user.
    Claim(Claim) = 17;
    /// The user's workspaces.
    Claimed(Claimed) = 18;
    /// A member's new device asks for the records to be stated on.
    Return(Return) = 19;
    /// Items for the log.
    Append(Append) = 20;
    /// Items are durable.
    Received(Received) = 21;
    /// One appended item was not taken.
    Refused(Refused) = 22;
    /// Items of the log.
    Items(Items) = 25;
    /// The signed head of the log; the device has everything below it.
    Head(Head) = 26;
    /// Something is done only after a second factor.
    MfaRequired(MfaRequired) = 27;
    /// Entries that are wanted again.
    Fetch(Fetch) = 30;
    /// Entries that were asked for.
    Fetched(Fetched) = 31;
    /// Entries that were asked for are gone, and a snapshot stands for them.
    Pruned(Pruned) = 32;
    /// A device without a usable cursor asks what the log holds.
    Reconcile(Reconcile) = 35;
    /// What the log holds.
    Summary(Summary) = 36;
    /// A device's sealed status row: to the relay, and from it to the others.
    Status(Status) = 40;
    /// A device takes one end of a rendezvous.
    Meet(Meet) = 70;
    /// A message from one end of a rendezvous to the other.
    Pass(Pass) = 71;
    /// A rendezvous is over.
    Part(Part) = 72;
}

impl Frame {
    /// Reads a frame of a session whose peer has proven itself.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that is not exactly one frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_within(bytes, FRAME_BYTES_MAX)
    }

    /// Reads a frame of a peer that has not proven anything yet: small, and of the handshake.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that is not exactly one frame of the handshake.
    pub fn decode_unauthenticated(bytes: &[u8]) -> Result<Self, DecodeError> {
        let frame = Self::decode_within(bytes, FRAME_BYTES_UNAUTHENTICATED_MAX)?;
        match frame.number() {
            1..=5 => Ok(frame),
            number => Err(DecodeError::Unknown { field: "frame before auth", value: u64::from(number) }),
        }
    }

    fn decode_within(bytes: &[u8], limit: usize) -> Result<Self, DecodeError> {
        check_limit("frame", bytes.len() as u64, limit as u64)?;
        let (number, body) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        Self::decode_body(*number, body)
    }
}

fn encode_body<T: Encode<()>>(number: u8, body: &T) -> Vec<u8> {
    let mut out = vec![number];
    let written: Result<(), minicbor::encode::Error<std::convert::Infallible>> = minicbor::encode(body, &mut out);
    debug_assert!(written.is_ok(), "a Vec takes every byte");
    out
}

fn decode_exactly<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, DecodeError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let body = decoder.decode().map_err(|error| {
        if error.is_end_of_input() { DecodeError::Truncated } else { DecodeError::Invalid { field: "frame body" } }
    })?;
    match bytes.len() - decoder.position() {
        0 => Ok(body),
        bytes => Err(DecodeError::Trailing { bytes }),
    }
}
