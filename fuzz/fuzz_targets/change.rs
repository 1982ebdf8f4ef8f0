//! A change that passes its trial can be loaded, read and encoded again.
//!
//! A panic inside a CRDT library that the trial catches is what the trial is for, so the hook that
//! would end the process at any panic is taken out; one that nothing catches still ends it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo::document::{Actor, Crdt, ForeignChange, OpenDocument, trial};

fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |bytes: &[u8]| {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        if trial(crdt, bytes, None).is_ok() {
            let change = ForeignChange { bytes, actor: None };
            if let Ok(document) = OpenDocument::load(crdt, Actor::from_bytes([1; 16]), &[change]) {
                std::hint::black_box((document.verify().is_ok(), document.read().to_value().is_ok()));
            }
        }
    }
});
