//! An entry has one encoding, and so have what a snapshot says of itself and another device's word on it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::{
    entry::Entry,
    snapshot::{Attest, Cover},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(entry.encode(), bytes);
        std::hint::black_box(Cover::decode(entry.clear()).is_ok());
    }
    if let Ok(cover) = Cover::decode(bytes) {
        assert_eq!(cover.encode().as_deref(), Ok(bytes));
    }
    if let Ok(attest) = Attest::decode(bytes) {
        assert_eq!(attest.encode(), bytes);
    }
});
