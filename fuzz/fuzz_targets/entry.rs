//! An entry has one encoding.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::entry::Entry;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(entry.encode(), bytes);
    }
});
