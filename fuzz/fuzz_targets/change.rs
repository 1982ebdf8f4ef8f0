//! A change that passes its trial can be loaded, read and encoded again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo::document::{Actor, Crdt, ForeignChange, OpenDocument, trial};

fuzz_target!(|bytes: &[u8]| {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        if trial(crdt, bytes, None).is_ok() {
            let change = ForeignChange { bytes, actor: None };
            if let Ok(document) = OpenDocument::load(crdt, Actor::from_bytes([1; 16]), &[change]) {
                std::hint::black_box((document.verify().is_ok(), document.read().to_value().is_ok()));
            }
        }
    }
});
