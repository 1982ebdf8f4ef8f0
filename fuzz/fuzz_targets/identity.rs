//! An identity log has one encoding, and is judged without a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::{
    bytes::Reader,
    identity::{Identity, IdentityLog},
};

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    if let Ok(log) = IdentityLog::read(&mut reader) {
        let mut out = Vec::new();
        log.write(&mut out);
        assert_eq!(out, bytes[..bytes.len() - reader.remaining()]);
        drop(Identity::evaluate(&log));
    }
});
