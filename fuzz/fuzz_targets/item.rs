//! A short entry expands to one that shortens to the same bytes.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::{
    entry::Entry,
    ids::EntryHash,
    item::{Declaration, LogItem},
};

const DECLARING: &[u8] = include_bytes!("../corpus/entry/changes");

fuzz_target!(|bytes: &[u8]| {
    let declaration = Declaration::of(Entry::decode(DECLARING).expect("a vector").header());
    if let Ok(LogItem::Elided(short)) = LogItem::decode(bytes)
        && let Ok(entry) = short.expand(&declaration, EntryHash::from_bytes([7; 32]))
    {
        assert_eq!(LogItem::encode_entry(&entry, Some((short.declared_at, &declaration))), bytes);
    }
});
