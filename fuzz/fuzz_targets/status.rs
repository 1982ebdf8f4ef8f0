//! A status row has one encoding.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::status::StatusRow;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(row) = StatusRow::decode(bytes) {
        assert_eq!(row.encode(), bytes);
    }
});
