//! Text positions: UTF-16 code units, which is what Yjs, Kotlin, Swift and editors count.
//!
//! Both libraries are configured to count so. Neither refuses a position inside a surrogate pair: automerge can be asked
//! what it finds there, yrs would replace the character, therefore [`splice_bounds`] reads the text.

use super::EditError;

/// Returns whether a text may contain a character of two UTF-16 code units: in UTF-8 it begins with a byte of 0xF0 or more.
pub(super) fn may_hold_pairs(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte >= 0xF0)
}

/// Checks that `index` and `index + removed` are positions between characters of `text`.
pub(super) fn splice_bounds(text: &str, index: usize, removed: usize) -> Result<(), EditError> {
    for wanted in [index, index.saturating_add(removed)] {
        let mut at = 0;
        for character in text.chars() {
            if at >= wanted {
                break;
            }
            at += character.len_utf16();
        }
        if at > wanted {
            return Err(EditError::SplitsCharacter { index: wanted });
        }
        if at < wanted {
            return Err(EditError::OutOfRange { index: wanted, len: at });
        }
    }
    Ok(())
}

/// Checks a splice against the length only.
pub(super) fn splice_range(len: usize, index: usize, removed: usize) -> Result<(), EditError> {
    let end = index.saturating_add(removed);
    if end > len {
        return Err(EditError::OutOfRange { index: end, len });
    }
    Ok(())
}

/// Returns the byte position of a UTF-16 position, if it lies between characters.
pub(super) fn byte_index(text: &str, index: usize) -> Option<usize> {
    let mut at = 0;
    for (byte, character) in text.char_indices() {
        if at >= index {
            return (at == index).then_some(byte);
        }
        at += character.len_utf16();
    }
    (at == index).then_some(text.len())
}
