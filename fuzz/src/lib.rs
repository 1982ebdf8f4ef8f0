//! What the fuzz targets share: how a run of bytes becomes a sequence of messages, and randomness that
//! is none, so that a run can be repeated.

use tombolo_crypto::Entropy;

/// Randomness that is all zeros.
pub struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Splits `u16 length ‖ bytes` pieces; the last may be cut.
#[must_use]
pub fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, behind) = rest.split_at(length);
        pieces.push(piece);
        bytes = behind;
    }
    pieces
}
