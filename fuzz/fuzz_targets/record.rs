//! A record has one encoding.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::record::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::decode(bytes) {
        assert_eq!(record.encode(), bytes);
    }
});
