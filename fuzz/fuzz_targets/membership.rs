//! Records mean the same forwards and backwards.
#![no_main]
use tombolo_protocol::{membership::Membership, record::Record};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let pieces = tombolo_fuzz::pieces(bytes);
    let records: Vec<Record> = pieces.iter().filter_map(|piece| Record::decode(piece).ok()).collect();
    let Some(first) = records.first() else { return };
    let (mut one, mut other) = (Membership::new(first.workspace()), Membership::new(first.workspace()));
    for (forth, back) in records.iter().zip(records.iter().rev()) {
        one.insert(forth.clone());
        other.insert(back.clone());
    }
    assert_eq!((one.heads(), one.view()), (other.heads(), other.view()));
});
