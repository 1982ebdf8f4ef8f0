//! A frame that reads reads again from what it writes.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::frame::Frame;

fuzz_target!(|bytes: &[u8]| {
    assert!(Frame::decode_unauthenticated(bytes).is_err() || Frame::decode(bytes).is_ok());
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
});
