//! A file of any bytes is a store, or is refused and left as it is.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo::{Durability, Store, StoreError, SystemEntropy, crypto::MemoryVault};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let path = folder.path().join("store");
    std::fs::write(&path, bytes).expect("a file");
    let opened = Store::open(&path, &MemoryVault::default(), Durability::Process, &mut SystemEntropy::new());
    if let Err(StoreError::NotAStore { .. } | StoreError::TooNew { .. }) = opened {
        assert_eq!(std::fs::read(&path).expect("the file"), bytes);
    }
});
