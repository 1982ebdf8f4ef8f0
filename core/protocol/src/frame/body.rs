//! The bodies of the frames: CBOR maps with integer keys.
//!
//! Invariant: a key keeps its number and meaning for ever; new keys are optional. Runs of bytes that
//! are signed or stored (items, records, statements) travel as they are; their own module parses them.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::bounded;
use crate::ids::{DocumentTag, LogId, RecordId, RelayId, WorkspaceId, WorkspaceTag};

/// First frame of a session, by the device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// Protocol version.
    #[n(0)]
    pub version: u16,
    /// Ed25519 public key of the device.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sign_public: [u8; 32],
    /// X25519 public key of the device.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub box_public: [u8; 32],
    /// Fresh random bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// Optional features that the device speaks.
    #[cbor(n(4), decode_with = "bounded::features")]
    pub features: Vec<u16>,
    /// An invite token, where the relay admits by token.
    #[n(5)]
    pub token: Option<String>,
}

/// How the relay ties a session to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum TlsMode {
    /// No TLS: loopback only.
    #[n(0)]
    Plain,
    /// The relay ends TLS itself and demands the exporter.
    #[n(1)]
    Exporter,
    /// A proxy ends TLS; a device accepts it only if it dialled with `allow_proxy`.
    #[n(2)]
    Proxy,
}

/// The relay's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Challenge {
    /// Protocol version that the session will speak.
    #[n(0)]
    pub version: u16,
    /// The relay's key.
    #[n(1)]
    pub relay: RelayId,
    /// Fresh random bytes, good for one proof and 30 seconds.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// How the session is tied to TLS.
    #[n(3)]
    pub tls: TlsMode,
    /// Optional features that both speak.
    #[cbor(n(4), decode_with = "bounded::features")]
    pub features: Vec<u16>,
}

/// The device's proof ([`crate::auth::Transcript`]).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Auth {
    /// The signature.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub proof: [u8; 64],
}

/// The relay's proof and its terms.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The signature.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub proof: [u8; 64],
    /// Bytes of items that the device may have under way without a receipt.
    #[n(1)]
    pub credit_bytes: u32,
    /// The relay's clock, milliseconds since 1970.
    #[n(2)]
    pub time_ms: i64,
    /// The relay pings after this silence, and drops a session after twice as long.
    #[n(3)]
    pub ping_ms: u32,
}

/// Last frame of a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Close {
    /// A [`crate::close::CloseCode`].
    #[n(0)]
    pub code: u16,
    /// Do not dial again before this long.
    #[n(1)]
    pub retry_after_ms: Option<u32>,
    /// For `UnsupportedVersion`: what the sender speaks.
    #[n(2)]
    pub version: Option<u16>,
}

/// Opens a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Open {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// The history that the cursor belongs to; absent without a cursor.
    #[n(1)]
    pub log: Option<LogId>,
    /// The last position that the device holds; items follow from the next.
    #[cbor(n(2), decode_with = "bounded::position")]
    pub cursor: u64,
    /// The newest receipt that the device holds of this relay and history.
    #[n(3)]
    pub receipt: Option<ByteVec>,
    /// The documents whose entries are wanted; absent for all. Of others only the hashes come
    /// ([`crate::item::LeftOut`]).
    #[cbor(n(4), decode_with = "bounded::documents")]
    pub documents: Option<Vec<DocumentTag>>,
}

/// A workspace is open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Opened {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// Its short name, the same for all sessions until the relay restarts.
    #[n(1)]
    pub channel: u32,
    /// The present history.
    #[n(2)]
    pub log: LogId,
    /// The signed head at this moment.
    #[n(3)]
    pub head: ByteVec,
    /// Set if the device's cursor belongs to a history that the relay lost: a signed reset. Nothing
    /// follows; the device reconciles.
    #[n(4)]
    pub reset: Option<ByteVec>,
    /// Whether items will follow from the cursor; if not, the cursor is not usable here.
    #[n(5)]
    pub resumed: bool,
}

/// One side is done with a workspace; nothing of it follows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Shut {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// Set by a relay: why the device may not have it open any more.
    #[n(1)]
    pub ended: Option<RightEnded>,
}

/// Why a device is no member any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum RightEnded {
    /// Its user was removed, or left.
    #[n(0)]
    Removed,
    /// Its user gave the device up.
    #[n(1)]
    Revoked,
    /// Its user's role has ended, by the relay's clock.
    #[n(2)]
    Expired,
}

/// Records for a workspace that is not open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Seed {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceId,
    /// Records, parents first.
    #[cbor(n(1), decode_with = "bounded::items")]
    pub records: Vec<ByteVec>,
    /// Attestations on them.
    #[cbor(n(2), decode_with = "bounded::items")]
    pub attestations: Vec<ByteVec>,
    /// Whether more frames of the same seed follow.
    #[n(3)]
    pub more: bool,
    /// In the last frame the documents whose entries are wanted, as in [`Open`].
    #[cbor(n(4), decode_with = "bounded::documents")]
    pub documents: Option<Vec<DocumentTag>>,
}

/// The holder of an invite asks for the records.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Enter {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// The invite.
    #[n(1)]
    pub invite: RecordId,
    /// The invite key's signature over this session's transcript.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub proof: [u8; 64],
}

/// The relay's records.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ground {
    /// Which workspace.
    #[n(0)]
    pub workspace: WorkspaceTag,
    /// Records, parents first.
    #[cbor(n(1), decode_with = "bounded::items")]
    pub records: Vec<ByteVec>,
    /// Attestations on them.
    #[cbor(n(2), decode_with = "bounded::items")]
    pub attestations: Vec<ByteVec>,
    /// Whether more frames follow.
    #[n(3)]
    pub more: bool,
    /// Members' words on snapshots ([`crate::snapshot::Attest`]); none for who enters.
    #[cbor(n(4), decode_with = "bounded::items", skip_if = "Vec::is_empty")]
    pub attests: Vec<ByteVec>,
}

/// Items for the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Append {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// Counts the session's appends on this channel, from 1.
    #[n(1)]
    pub batch: u32,
    /// The items ([`crate::item::LogItem`]).
    #[cbor(n(2), decode_with = "bounded::items")]
    pub items: Vec<ByteVec>,
}

/// Items are durable.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Received {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// The first append that is acknowledged.
    #[n(1)]
    pub first_batch: u32,
    /// The last append that is acknowledged.
    #[n(2)]
    pub last_batch: u32,
    /// Where the items of these appends stand, in their order: runs of `(first position, count)`.
    /// Refused items are left out; an item that the log already held stands at its old position.
    #[cbor(n(3), decode_with = "bounded::runs")]
    pub positions: Vec<(u64, u32)>,
    /// The signed receipt; its `acknowledged` covers the same items.
    #[n(4)]
    pub receipt: ByteVec,
}

/// A run of the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Items {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// Position of the first.
    #[cbor(n(1), decode_with = "bounded::position")]
    pub first_position: u64,
    /// The items, at consecutive positions.
    #[cbor(n(2), decode_with = "bounded::items")]
    pub items: Vec<ByteVec>,
}

/// The signed head, sent when the device has everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Head {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// A receipt that acknowledges nothing.
    #[n(1)]
    pub receipt: ByteVec,
}

/// A sealed status row; newest wins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Status {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// The sealed, signed row ([`crate::status`]).
    #[n(1)]
    pub row: ByteVec,
}
