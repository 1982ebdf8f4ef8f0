//! How a pending change lies in its row: compressed if it is long, and bound to all that the row says of it.
//!
//! Invariant: a change opens at its own place only; rows of older versions, which are not bound to their order, open as well.

use tombolo_crypto::{Entropy, StoreCipher};
use tombolo_protocol::ids::Stream;

use super::packed::{pack, unpack};

/// Bits of a row's number that count the changes of one document; the others are the document. A trillion changes are more
/// than anybody makes before they are sealed.
pub(crate) const PENDING_BITS: u32 = 40;
/// Documents that a store can have.
pub(super) const DOCUMENTS_MAX: i64 = (1 << (63 - PENDING_BITS)) - 1;

/// Where a pending change stands: row, stream, instance, wall clock.
pub(super) type Place = (i64, Stream, u64, i64);

/// Changes below this length are stored as they are: a single keystroke does not compress.
const PACKED_FROM: usize = 256;

/// Seals a pending change.
pub(super) fn seal_pending(cipher: &StoreCipher, place: Place, change: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
    let packed = if change.len() < PACKED_FROM { None } else { pack(change) };
    let (column, value) = packed.as_deref().map_or(("change", change), |packed| ("packed", packed));
    cipher.seal("pending", column, &pending_key(place), value, entropy)
}

/// Opens a pending change at its place: rows of older versions were bound to their document and not to their row, and the
/// oldest to nothing else.
pub(super) fn open_pending(cipher: &StoreCipher, place: Place, sealed: &[u8]) -> Option<Vec<u8>> {
    let open = |key: &[u8]| {
        let plain = || cipher.open("pending", "change", key, sealed).ok();
        let packed = || unpack(&cipher.open("pending", "packed", key, sealed).ok()?);
        // What is likelier first: each takes time, and there are many keystrokes.
        if sealed.len() < PACKED_FROM { plain().or_else(packed) } else { packed().or_else(plain) }
    };
    let (row, stream, instance, wall_ms) = place;
    let document = row >> PENDING_BITS;
    let oldest = || cipher.open("pending", "change", &document.to_be_bytes(), sealed).ok();
    open(&pending_key(place)).or_else(|| open(&pending_key((document, stream, instance, wall_ms)))).or_else(oldest)
}

/// What a pending change is bound to: all that its row says of it.
fn pending_key((row, stream, instance, wall_ms): Place) -> Vec<u8> {
    let mut key = row.to_be_bytes().to_vec();
    key.push(stream.0);
    key.extend_from_slice(&instance.to_be_bytes());
    key.extend_from_slice(&wall_ms.to_be_bytes());
    key
}
