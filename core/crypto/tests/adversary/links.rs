//! Invite links that were mistyped, cut, or are something else.

use tombolo_crypto::{InviteLink, InviteLinkError};

use crate::support::{Counter, link};

fn parse(text: &str) -> Result<InviteLink, InviteLinkError> {
    text.parse()
}

#[test]
fn a_mistyped_or_cut_link_says_so() {
    let text = link(&mut Counter::default()).to_string();
    let start = "tombolo:1:".len();
    for at in start..text.len() {
        let mut typed = text.clone().into_bytes();
        typed[at] = if typed[at] == b'A' { b'B' } else { b'A' };
        let typed = String::from_utf8(typed).unwrap();
        assert_eq!(parse(&typed), Err(InviteLinkError::Checksum), "at {at}");
        assert_eq!(parse(&text[..at]), Err(InviteLinkError::Checksum), "cut {at}");
    }
    assert_eq!(parse(&format!(" {text}\n")), parse(&text));
    assert_eq!(parse(&format!("{text}!")), Err(InviteLinkError::Checksum));
    let endless = format!("{text}{}", "A".repeat(1 << 20));
    assert_eq!(parse(&endless), Err(InviteLinkError::Checksum));
}

#[test]
fn another_text_or_version_is_named_for_what_it_is() {
    let text = link(&mut Counter::default()).to_string();
    let newer = text.replace("tombolo:1:", "tombolo:2:");
    assert_eq!(parse(&newer), Err(InviteLinkError::Version));
    for other in ["", "https://example.org", "tombolo", &text[3..]] {
        assert_eq!(parse(other), Err(InviteLinkError::NotALink), "{other}");
    }
}
