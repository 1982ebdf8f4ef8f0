//! Base32 (RFC 4648) that a person types from paper or from another screen.
//!
//! Invariant: what was written reads back in either case, with any spaces and hyphens, and with the
//! digits 0, 1 and 8, which the alphabet lacks, in place of the letters they are taken for.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

/// Letters between two hyphens: what one keeps in mind while looking from one place to another.
const GROUP_CHARS: usize = 4;

/// Writes bytes in groups.
pub(crate) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(BASE32_NOPAD.encode(bytes));
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 2));
    for (nth, letter) in text.chars().enumerate() {
        if nth > 0 && nth % GROUP_CHARS == 0 {
            out.push('-');
        }
        out.push(letter);
    }
    out
}

/// Reads them, or nothing if it is no base32.
pub(crate) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut letters = Zeroizing::new(String::with_capacity(text.len()));
    for letter in text.chars().filter(|letter| *letter != '-' && !letter.is_whitespace()) {
        letters.push(match letter.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'I',
            '8' => 'B',
            letter => letter,
        });
    }
    BASE32_NOPAD.decode(letters.as_bytes()).ok().map(Zeroizing::new)
}
