//! How a pending change lies in its row: compressed if it is long, and bound to all that the row says of it.
//!
//! Invariant: a change opens at its own place only; rows of older versions open as well.

use tombolo_crypto::{Entropy, StoreCipher};
use tombolo_protocol::ids::Stream;

use super::packed::{pack, unpack};

/// Where a pending change stands: document, stream, instance, wall clock.
pub(super) type Place = (i64, Stream, u64, i64);

/// Changes below this length are stored as they are: a single keystroke does not compress.
const PACKED_FROM: usize = 256;

/// Seals a pending change.
pub(super) fn seal_pending(cipher: &StoreCipher, place: Place, change: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
    let packed = if change.len() < PACKED_FROM { None } else { pack(change) };
    let (column, value) = packed.as_deref().map_or(("change", change), |packed| ("packed", packed));
    cipher.seal("pending", column, &pending_key(place), value, entropy)
}

/// Opens a pending change at its place: rows of older versions were bound to their document only.
pub(super) fn open_pending(cipher: &StoreCipher, place: Place, sealed: &[u8]) -> Option<Vec<u8>> {
    let key = pending_key(place);
    let plain = || cipher.open("pending", "change", &key, sealed).ok();
    let packed = || unpack(&cipher.open("pending", "packed", &key, sealed).ok()?);
    // What is likelier first: each takes time, and there are many keystrokes.
    let opened = if sealed.len() < PACKED_FROM { plain().or_else(packed) } else { packed().or_else(plain) };
    opened.or_else(|| cipher.open("pending", "change", &place.0.to_be_bytes(), sealed).ok())
}

/// What a pending change is bound to: all that its row says of it.
fn pending_key((document, stream, instance, wall_ms): Place) -> Vec<u8> {
    let mut key = document.to_be_bytes().to_vec();
    key.push(stream.0);
    key.extend_from_slice(&instance.to_be_bytes());
    key.extend_from_slice(&wall_ms.to_be_bytes());
    key
}
