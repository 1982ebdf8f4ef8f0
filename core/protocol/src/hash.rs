//! The one hash of the protocol: SHA-256 with a length-prefixed label and length-prefixed parts.
//!
//! Invariant: two different lists of parts, or two labels, never feed the same bytes to SHA-256,
//! so an id of one kind can not be mistaken for an id of another (domain separation).

use ring::digest::{Context, SHA256};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

const LABEL_PREFIX: &[u8] = b"tombolo/v1/";

/// Hashes `parts` under `label`; the label is written without its `tombolo/v1/` prefix.
///
/// The input of SHA-256 is `u8 len(label) ‖ label ‖ (u32 len(part) ‖ part)…` with the full label.
#[must_use]
pub fn hash(label: &str, parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&label_bytes(label));
    for part in parts {
        context.update(&(part.len() as u32).to_be_bytes());
        context.update(part);
    }
    finish(context)
}

/// Hashes bytes as they are, without a label: only where an outside format says so (RFC 9162).
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    finish(context)
}

/// Returns the length-prefixed full label, as every hash, HKDF info and HMAC input starts with it.
#[must_use]
pub fn label_bytes(label: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + LABEL_PREFIX.len() + label.len());
    bytes.push((LABEL_PREFIX.len() + label.len()) as u8);
    bytes.extend_from_slice(LABEL_PREFIX);
    bytes.extend_from_slice(label.as_bytes());
    bytes
}

fn finish(context: Context) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Keeps the first `N` bytes of a digest.
pub(crate) fn prefix<const N: usize>(digest: &Digest) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_labels_can_not_slide_into_each_other() {
        assert_ne!(hash("a", &[b"bc"]), hash("a", &[b"b", b"c"]));
        assert_ne!(hash("ab", &[b"c"]), hash("a", &[b"bc"]));
        assert_eq!(label_bytes("x"), b"\x0ctombolo/v1/x");
    }
}
