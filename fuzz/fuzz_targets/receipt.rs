//! What a relay signs has one encoding, and is verified without a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_protocol::receipt::{Attestation, LogReset, Receipt, Signed, Statement};

fn read<T: Statement>(bytes: &[u8]) {
    if let Ok(signed) = Signed::<T>::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
        std::hint::black_box(signed.verify().is_ok());
    }
}

fuzz_target!(|bytes: &[u8]| {
    read::<Receipt>(bytes);
    read::<LogReset>(bytes);
    read::<Attestation>(bytes);
});
