//! Decompressing with one context a thread: to make one takes longer than to decompress a small value with it.
//!
//! Invariant: no value that was decompressed before has a part in the next.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

thread_local! {
    static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Decompresses a zstd frame; `None` if it is none, or is longer than `length` bytes.
#[must_use]
pub fn unzip(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    CONTEXT.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(Decompressor::new().ok()?),
        };
        context.decompress(bytes, length).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_before_leaves_no_trace() {
        let value = b"high tide at six ".repeat(40);
        let bytes = zstd::bulk::compress(&value, 3).expect("it compresses");
        assert_eq!(unzip(&bytes, value.len()), Some(value.clone()));
        assert_eq!(unzip(&bytes[..bytes.len() / 2], value.len()), None);
        assert_eq!(unzip(&bytes, value.len() - 1), None);
        assert_eq!(unzip(b"tide", 100), None);
        assert_eq!(unzip(&bytes, value.len()), Some(value));
    }
}
