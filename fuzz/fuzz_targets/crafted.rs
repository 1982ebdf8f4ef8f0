//! A relay answers whatever entries a member signs, and serves the next one.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_fuzz::crafted::{Change, send};

fuzz_target!(|entries: Vec<Vec<Change>>| send(&entries));
