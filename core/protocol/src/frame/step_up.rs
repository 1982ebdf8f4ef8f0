//! The frames by which a session shows a second factor, and is told that it needs one.
//!
//! Invariant: a proof answers the challenge of its own session, once; what it is worth ends with the
//! session at the latest.

use minicbor::{Decode, Encode};

use super::bounded;
use crate::ids::WorkspaceTag;

/// How a device shows more than its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum StepUpMethod {
    /// The device's own word that it has verified its user: level 2. It is an audit hint.
    #[n(0)]
    UserVerified,
    /// A code by time (RFC 6238) of a secret that the relay and the user's authenticator share.
    #[n(1)]
    Totp,
    /// An id token of a login provider, bound to the device.
    #[n(2)]
    Oidc,
}

/// Asks for a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StepUp {
    /// A workspace that the device is a member of: it says whose the second factor is.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// Which second factor.
    #[n(1)]
    pub method: StepUpMethod,
}

/// What the second factor is to answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StepUpChallenge {
    /// Which second factor.
    #[n(0)]
    pub method: StepUpMethod,
    /// Fresh random bytes, good for one proof ([`crate::auth::oidc_nonce`]).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// For [`StepUpMethod::Totp`] of a user who has none yet: the `otpauth` URI, shown this once.
    #[n(2)]
    pub enrolment: Option<String>,
    /// For [`StepUpMethod::Oidc`]: whose tokens count.
    #[n(3)]
    pub issuer: Option<String>,
    /// For [`StepUpMethod::Oidc`]: whom the token must be for.
    #[n(4)]
    pub audience: Option<String>,
}

/// The second factor.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StepUpProof {
    /// Which second factor.
    #[n(0)]
    pub method: StepUpMethod,
    /// A code's digits, or an id token in its compact form; empty for [`StepUpMethod::UserVerified`].
    #[cbor(n(1), decode_with = "bounded::proof")]
    pub proof: String,
}

/// What the session is worth now.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SteppedUp {
    /// The level that the session has.
    #[n(0)]
    pub level: u8,
    /// Until when, by the relay's clock; zero for as long as the session lives.
    #[n(1)]
    pub until_ms: i64,
    /// Set if the proof was not taken.
    #[n(2)]
    pub refused: Option<StepUpRefusal>,
}

/// Why a second factor is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum StepUpRefusal {
    /// The relay does not offer this one, or the user has none.
    #[n(0)]
    NotOffered,
    /// There is no challenge that it answers.
    #[n(1)]
    NoChallenge,
    /// The code, or the token's signature or claims, are wrong.
    #[n(2)]
    Wrong,
    /// The code was used before.
    #[n(3)]
    Replayed,
    /// Too many were wrong; the next is looked at in a minute.
    #[n(4)]
    TooMany,
    /// The token is for another device, or answers another challenge.
    #[n(5)]
    OtherDevice,
    /// The token, or the login it speaks of, is too old.
    #[n(6)]
    Stale,
    /// The relay can not look at it at the moment.
    #[n(7)]
    Unavailable,
}

/// A level of authentication that is asked for, and the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct LevelGap {
    /// The level that the act needs.
    #[n(0)]
    pub needed: u8,
    /// The level that the session has.
    #[n(1)]
    pub have: u8,
}

/// The answer to an Open or a Seed that needs a second factor; the device asks again after it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MfaRequired {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// What is missing.
    #[n(1)]
    pub levels: LevelGap,
}
