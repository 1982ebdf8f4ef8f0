//! How an encoded frame is cut for the WebSocket: as fragments (RFC 6455 §5.4).
//!
//! Invariant: the fragments of a frame are its bytes, in order, and there is always one. A WebSocket keeps room for the
//! largest piece that it has carried for as long as it lives; with these no frame makes that more than a small one does.

use std::ops::Range;

use crate::limits::FRAGMENT_BYTES_MAX;

/// One fragment of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which bytes of the frame it carries.
    pub bytes: Range<usize>,
    /// Whether the frame ends with it.
    pub is_last: bool,
}

/// Cuts a frame of so many bytes.
///
/// ```
/// use tombolo_protocol::frame::fragments;
/// use tombolo_protocol::limits::FRAGMENT_BYTES_MAX;
///
/// let cut: Vec<_> = fragments(FRAGMENT_BYTES_MAX + 5).collect();
/// assert_eq!(cut.len(), 2);
/// assert_eq!(cut[1].bytes.len(), 5);
/// assert!(cut[1].is_last && !cut[0].is_last);
/// ```
pub fn fragments(frame_bytes: usize) -> impl Iterator<Item = Fragment> {
    let starts = (0..frame_bytes.max(1)).step_by(FRAGMENT_BYTES_MAX);
    starts.map(move |start| {
        let end = start.saturating_add(FRAGMENT_BYTES_MAX).min(frame_bytes);
        Fragment { bytes: start..end, is_last: end == frame_bytes }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragments_of_a_frame_are_its_bytes_and_the_last_one_alone_is_its_end() {
        for frame in [0, 1, FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MAX + 1, 5 * FRAGMENT_BYTES_MAX + 7] {
            let cut: Vec<_> = fragments(frame).collect();
            let bytes: Vec<usize> = cut.iter().flat_map(|fragment| fragment.bytes.clone()).collect();
            assert!(bytes.iter().copied().eq(0..frame), "{frame} bytes");
            assert!(cut.iter().all(|fragment| fragment.bytes.len() <= FRAGMENT_BYTES_MAX));
            let ends: Vec<bool> = cut.iter().map(|fragment| fragment.is_last).collect();
            assert_eq!(ends.iter().filter(|last| **last).count(), 1, "{frame} bytes");
            assert_eq!(ends.last(), Some(&true), "{frame} bytes");
        }
    }
}
