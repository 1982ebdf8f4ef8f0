//! Whom the relay takes: anybody, or devices that show a token.
//!
//! Invariant: a device that is a member somewhere here needs no token to come back, and one that proves the
//! key of an invite to a workspace here needs none to join it; tokens are compared in constant time and
//! never printed.

use std::fmt;

use ring::digest::{SHA256, digest};

/// Who may use the relay.
#[derive(Clone)]
pub enum Admission {
    /// Every device.
    Open,
    /// Devices that are members of a workspace here or hold an invite to one, and those that show one of these
    /// tokens.
    Token(Vec<Token>),
}

/// A secret that admits a device.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Takes the text that devices will show.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(fingerprint(text))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Token(tokens) => write!(f, "Token({} of them)", tokens.len()),
        }
    }
}

impl Admission {
    /// Tells whether a device that is a member nowhere is taken with what it showed.
    #[must_use]
    pub fn admits(&self, shown: Option<&str>) -> bool {
        match self {
            Self::Open => true,
            Self::Token(tokens) => shown.is_some_and(|shown| {
                let shown = fingerprint(shown);
                // Hashes are compared whole: the time tells nothing of how much fits.
                tokens.iter().fold(false, |found, token| found | same(&token.0, &shown))
            }),
        }
    }
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

fn fingerprint(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_admits_whoever_shows_it_and_is_never_printed() {
        let admission = Admission::Token(vec![Token::new("low-tide")]);
        assert!(admission.admits(Some("low-tide")));
        assert!(!admission.admits(Some("low-tidf")));
        assert!(!admission.admits(None));
        assert!(Admission::Open.admits(None));
        assert!(!format!("{admission:?}").contains("tide"));
    }
}
