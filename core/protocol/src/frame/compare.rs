//! What a device and a relay say of a log's chains: what it holds, what is wanted of it, what is gone.
//!
//! Invariant: as for all frames, what is not understood is refused, and nothing is allocated beyond a small multiple
//! of the message.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::bounded;
use crate::ids::{ChainId, DocumentTag};

/// Asks for entries of one chain, with full headers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fetch {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// Which chain.
    #[n(1)]
    pub chain: ChainId,
    /// The first wanted.
    #[cbor(n(2), decode_with = "bounded::position")]
    pub from_seq: u64,
    /// The last wanted; the relay may send fewer.
    #[cbor(n(3), decode_with = "bounded::position")]
    pub to_seq: u64,
}

/// Entries of one chain, with full headers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fetched {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// Which chain.
    #[n(1)]
    pub chain: ChainId,
    /// Encoded entries, by seq; empty if the log holds none of them.
    #[cbor(n(2), decode_with = "bounded::items")]
    pub entries: Vec<ByteVec>,
}

/// The answer to a [`Fetch`] of entries that are gone from the log: a snapshot stands for them, and who asks for this
/// run of the snapshot's chain gets it whole.
///
/// It proves nothing: what the snapshot covers, and who vouched for it, the snapshot and members' words say.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pruned {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// The chain that was asked for.
    #[n(1)]
    pub chain: ChainId,
    /// The chain of the snapshot.
    #[n(2)]
    pub snapshot: ChainId,
    /// The first entry of that chain that the log still holds.
    #[cbor(n(3), decode_with = "bounded::position")]
    pub from_seq: u64,
    /// The snapshot's last part.
    #[cbor(n(4), decode_with = "bounded::position")]
    pub to_seq: u64,
}

/// Asks what the log holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reconcile {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// How to compare: [`Reconcile::LIST`] or [`Reconcile::NARROW`].
    #[n(1)]
    pub method: u8,
    /// The documents whose entries are wanted from here on, as in [`Open`](super::Open); absent for all.
    #[cbor(n(2), decode_with = "bounded::documents")]
    pub documents: Option<Vec<DocumentTag>>,
    /// Chains of other documents that the device holds: with those of the documents that are wanted they are listed. Absent
    /// for all chains.
    #[cbor(n(3), decode_with = "bounded::held_chains")]
    pub held: Option<Vec<ChainId>>,
}

impl Reconcile {
    /// The relay lists chains, and sends the entries of what is wanted from there on.
    pub const LIST: u8 = 0;
    /// It lists nothing, and only sends the entries of fewer documents from here on. (1 is kept for fingerprints.)
    pub const NARROW: u8 = 2;
}

/// What the log holds at one position; sent after the [`Ground`](super::Ground) of the same moment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Summary {
    /// Which workspace.
    #[n(0)]
    pub channel: u32,
    /// The log's Merkle frontier ([`crate::log::Frontier`]); items follow from the next position.
    #[n(1)]
    pub frontier: ByteVec,
    /// The chains of the log.
    #[cbor(n(2), decode_with = "bounded::chains")]
    pub chains: Vec<ChainSummary>,
    /// Whether more frames follow.
    #[n(3)]
    pub more: bool,
    /// Set if only what was asked for is listed, and sent from here on; absent if a relay knows nothing of that.
    #[n(4)]
    pub chosen: Option<bool>,
}

/// One chain, as a log holds it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ChainSummary {
    /// Which chain.
    #[n(0)]
    pub chain: ChainId,
    /// Its last seq.
    #[cbor(n(1), decode_with = "bounded::position")]
    pub seq: u64,
    /// First eight bytes of the last entry's hash.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: [u8; 8],
    /// Position of the item that later entries are elided against.
    #[cbor(n(3), decode_with = "bounded::position")]
    pub declared_at: u64,
    /// Seq of that item.
    #[cbor(n(4), decode_with = "bounded::position")]
    pub declared_seq: u64,
}
