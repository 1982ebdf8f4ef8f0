//! The bodies of the frames by which a user's devices find each other, and what is theirs.
//!
//! Invariant: as for all bodies, a key keeps its number and meaning for ever. What two devices say to
//! each other at a rendezvous is opaque here; an identity log proves itself.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::bounded;
use crate::ids::{RendezvousId, WorkspaceId, WorkspaceTag};

/// Asks for the workspaces of the user whose device sends it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claim {
    /// The identity log that makes the session's device the user's.
    #[n(0)]
    pub identity: ByteVec,
}

/// The user's workspaces on this relay.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claimed {
    /// Their ids; none for who proved nothing.
    #[cbor(n(0), decode_with = "bounded::workspaces")]
    pub workspaces: Vec<WorkspaceId>,
}

/// A member's device that the workspace does not know yet asks for the records to be stated on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Return {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// The identity log that makes the session's device the member's.
    #[n(1)]
    pub identity: ByteVec,
}

/// Takes one of the two ends of a rendezvous.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Meet {
    /// Where.
    #[n(0)]
    pub rendezvous: RendezvousId,
    /// Whether the sender is the one who waits there: the new device.
    #[n(1)]
    pub waits: bool,
}

/// A message from one end of a rendezvous to the other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pass {
    /// Where.
    #[n(0)]
    pub rendezvous: RendezvousId,
    /// What ([`crate::limits::LINK_MESSAGE_BYTES_MAX`]; the last may be longer).
    #[n(1)]
    pub message: ByteVec,
}

/// The end of a rendezvous, from either side.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Part {
    /// Where.
    #[n(0)]
    pub rendezvous: RendezvousId,
    /// Why.
    #[n(1)]
    pub reason: PartReason,
}

/// Why a rendezvous is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PartReason {
    /// The other end is gone, or gave up.
    #[n(0)]
    Gone,
    /// Nobody waits there, or no longer.
    #[n(1)]
    NotThere,
    /// Two were there already, or somebody else waits there.
    #[n(2)]
    Taken,
    /// The relay has too many; try again later.
    #[n(3)]
    Full,
    /// A message was too long, or there were too many.
    #[n(4)]
    TooMuch,
}
