//! PADME padding: `u32 length | content | zeros`, so that a length tells little of the content.
//!
//! Invariant: content has exactly one padded form; any other is refused.

use zeroize::Zeroizing;

use crate::derive::{OpenError, TAG_BYTES};

const LENGTH_BYTES: usize = 4;

/// Returns how many bytes the padded form of `content` bytes has.
pub(crate) fn padded_len(content: usize) -> usize {
    padme(content.saturating_add(LENGTH_BYTES))
}

/// Pads; the buffer has room for the tag, so sealing in place never moves plaintext.
pub(crate) fn pad(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = padded_len(content.len());
    let mut out = Zeroizing::new(Vec::with_capacity(length + TAG_BYTES));
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend_from_slice(content);
    out.resize(length, 0);
    out
}

/// Takes the content out of its padded form.
pub(crate) fn unpad(mut padded: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>().ok_or(OpenError::Padding)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (_, zeros) = rest.split_at_checked(length).ok_or(OpenError::Padding)?;
    if padded_len(length) != padded.len() || zeros.iter().any(|byte| *byte != 0) {
        return Err(OpenError::Padding);
    }
    padded.copy_within(LENGTH_BYTES..LENGTH_BYTES + length, 0);
    padded.truncate(length);
    Ok(padded)
}

/// Rounds up so that at most `log2(log2(length))` bits of the length show; at most 12 % are added.
fn padme(length: usize) -> usize {
    let Some(exponent) = length.checked_ilog2().filter(|exponent| *exponent > 0) else {
        return length;
    };
    let kept = exponent.ilog2() + 1;
    let mask = (1_usize << exponent.saturating_sub(kept)) - 1;
    length.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_up_as_padme_says() {
        for (length, padded) in [(0, 0), (1, 1), (8, 8), (9, 10), (100, 104), (1025, 1088)] {
            assert_eq!(padme(length), padded, "{length}");
        }
    }

    #[test]
    fn any_other_padding_than_the_one_is_refused() {
        for length in [0, 1, 5, 63, 64, 200, 5000] {
            let content = vec![7; length];
            assert_eq!(unpad(pad(&content)).map(|got| got.to_vec()), Ok(content));
        }
        let mut long = pad(&[7; 20]);
        long.push(0);
        let mut dirty = pad(&[7; 21]);
        *dirty.last_mut().unwrap() = 1;
        let mut beyond = pad(&[7; 20]);
        beyond[0] = 0xff;
        let short = Zeroizing::new(vec![0; 3]);
        for wrong in [long, dirty, beyond, short] {
            assert_eq!(unpad(wrong), Err(OpenError::Padding));
        }
    }
}
