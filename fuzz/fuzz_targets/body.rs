//! A body that reads reads again from what it writes.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_crypto::Body;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = Body::decode(bytes) {
        let again = body.encode().map(|bytes| Body::decode(&bytes));
        assert!(again.is_ok_and(|again| again.as_ref() == Ok(&body)));
    }
});
