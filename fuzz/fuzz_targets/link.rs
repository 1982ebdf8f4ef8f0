//! A request has one text; a new device goes on for a fitting commitment and offer, and no further.
#![no_main]
use tombolo_crypto::{DeviceSecrets, LinkRequest, LinkToken, NewDevice};
use tombolo_fuzz::{Zeros, pieces};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = String::from_utf8_lossy(bytes).parse::<LinkRequest>() {
        assert_eq!(request.to_text().parse().map(|again: LinkRequest| again.to_message()), Ok(request.to_message()));
    }
    let (device, token) = (DeviceSecrets::generate(&mut Zeros), LinkToken::generate(&mut Zeros));
    let mut new = NewDevice::begin(&device, 1, "relay", token, 0, &mut Zeros).expect("an address");
    let heard = pieces(bytes).into_iter().map(|piece| new.receive(piece, &device, 1, &mut Zeros));
    assert!(heard.filter(Result::is_ok).count() <= 2);
});
