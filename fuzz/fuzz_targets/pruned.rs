//! A device that is told that what it asks for is gone takes whatever follows, without trouble for its store.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tombolo_fuzz::compacted::play(tombolo_fuzz::pieces(bytes)));
