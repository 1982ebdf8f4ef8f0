//! Reading and writing the fixed layouts: big-endian integers, arrays, bounded runs of bytes.
//!
//! Invariant: a [`Reader`] never allocates more than what is left of its input, never panics, and
//! [`Reader::finish`] refuses trailing bytes, so each value has one encoding.

use std::fmt;

use crate::limits::POSITION_MAX;

/// Why bytes are not a value of this protocol: always the fault of who made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended inside a field.
    Truncated,
    /// Bytes follow the last field.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The magic number is another one.
    Magic,
    /// A field holds a value that this version does not know.
    Unknown {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A length or count is over its limit; refused before anything is allocated.
    TooLarge {
        /// The field.
        field: &'static str,
        /// What it claims.
        claimed: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Two fields contradict each other, or a field breaks its own rule.
    Invalid {
        /// The field.
        field: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end inside a field"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes follow the last field"),
            Self::Magic => f.write_str("the magic number is not one of Tombolo's"),
            Self::Unknown { field, value } => {
                write!(f, "{field} {value} is not known to this version")
            }
            Self::TooLarge { field, claimed, limit } => {
                write!(f, "{field} claims {claimed}, the limit is {limit}")
            }
            Self::Invalid { field } => write!(f, "{field} is not valid"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A cursor over bytes that somebody else wrote.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes all that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Takes an array of `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a big-endian `u16`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer than two bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a big-endian `u32`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a big-endian `u64`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer than eight bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a big-endian `u64` that counts something: at most [`POSITION_MAX`].
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::TooLarge`] over the limit.
    pub fn position(&mut self) -> Result<u64, DecodeError> {
        let claimed = self.u64()?;
        check_limit("position", claimed, POSITION_MAX)?;
        Ok(claimed)
    }

    /// Takes a big-endian `i64`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer than eight bytes are left.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Takes a LEB128 variable-length integer of at most ten bytes, in its shortest form.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::Invalid`] if it is overlong or over 64 bits.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let invalid = DecodeError::Invalid { field: "varint" };
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(invalid);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(invalid) } else { Ok(value) };
            }
        }
        Err(invalid)
    }

    /// Takes a run of bytes behind its `u32` length, which may be at most `limit`.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] over the limit, [`DecodeError::Truncated`] if fewer are left.
    pub fn run(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let claimed = self.u32()?;
        check_limit(field, u64::from(claimed), limit as u64)?;
        self.take(claimed as usize)
    }

    /// Takes a `u16` count of items that need at least `item_bytes` each.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] over the limit, [`DecodeError::Truncated`] if they can not fit.
    pub fn count(&mut self, field: &'static str, limit: usize, item_bytes: usize) -> Result<usize, DecodeError> {
        let claimed = usize::from(self.u16()?);
        check_limit(field, claimed as u64, limit as u64)?;
        if claimed.saturating_mul(item_bytes) > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        Ok(claimed)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}

/// Refuses a claimed size over its limit.
pub(crate) fn check_limit(field: &'static str, claimed: u64, limit: u64) -> Result<(), DecodeError> {
    if claimed > limit {
        return Err(DecodeError::TooLarge { field, claimed, limit });
    }
    Ok(())
}

/// Appends `value` as a LEB128 variable-length integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a run of bytes behind its `u32` length.
pub fn put_run(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_have_one_form() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
        let overlong = DecodeError::Invalid { field: "varint" };
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(overlong));
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(overlong));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_length_is_judged_before_its_bytes_are_looked_for() {
        let mut huge = u32::MAX.to_be_bytes().to_vec();
        huge.push(1);
        let refused = Reader::new(&huge).run("body", 16);
        assert_eq!(refused, Err(DecodeError::TooLarge { field: "body", claimed: u64::from(u32::MAX), limit: 16 }));
        assert_eq!(Reader::new(&[0, 9, 1]).count("deps", 10, 4), Err(DecodeError::Truncated));
    }
}
