//! A share has one text, words one list, and a file whose hash is cheap never opens.
#![no_main]
use tombolo_crypto::{KitShare, RecoveryKit};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(share) = text.parse::<KitShare>() {
        assert_eq!(share.to_text().parse::<KitShare>().map(|again| again.to_text()), Ok(share.to_text()));
    } else if let Ok(kit) = RecoveryKit::from_words(&text) {
        assert_eq!(RecoveryKit::from_words(&kit.words()).map(|again| again.user()), Ok(kit.user()));
    }
    let cheap: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| if at / 4 == 1 { 0 } else { *byte }).collect();
    assert!(RecoveryKit::from_file(&cheap, "").is_err());
});
