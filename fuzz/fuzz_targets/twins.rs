//! The same edits read the same on automerge and on yrs, or are refused on both.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_fuzz::twins::{Step, compare};

fuzz_target!(|steps: Vec<Step>| compare(&steps));
