//! A link that parses is written as it was read, but for white space that a mail put into it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_crypto::InviteLink;

fuzz_target!(|text: &str| {
    if let Ok(link) = text.parse::<InviteLink>() {
        assert_eq!(link.to_string(), text.split_whitespace().collect::<String>());
    }
});
