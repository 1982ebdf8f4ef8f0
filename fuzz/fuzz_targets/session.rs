//! A device takes any frames of a relay without a panic, and without trouble for its store.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_fuzz::device::Device;

fuzz_target!(|bytes: &[u8]| {
    let mut device = Device::connected();
    for piece in tombolo_fuzz::pieces(bytes) {
        device.take(piece);
    }
});
