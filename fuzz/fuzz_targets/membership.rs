#![no_main]
//! Log items (u16 length, bytes) mean the same forwards and backwards.
use tombolo_protocol::{membership::Membership, record::Record};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let pieces = tombolo_fuzz::pieces(bytes);
    let records: Vec<Record> = pieces
        .iter()
        .filter_map(|piece| Record::decode(piece).ok())
        .collect();
    let Some(first) = records.first() else { return };
    let (mut one, mut other) = (
        Membership::new(first.workspace()),
        Membership::new(first.workspace()),
    );
    records
        .iter()
        .for_each(|record| drop(one.insert(record.clone())));
    records
        .iter()
        .rev()
        .for_each(|record| drop(other.insert(record.clone())));
    assert_eq!((one.heads(), one.view()), (other.heads(), other.view()));
});
