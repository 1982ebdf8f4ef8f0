//! The list of relay addresses that invite links, recovery kits and links carry:
//! `u8 n | (u8 length | address)ⁿ`.
//!
//! Invariant: a list that is read has at most [`INVITE_RELAYS_MAX`] addresses, each of 1 to 255 bytes
//! of UTF-8.

use tombolo_protocol::bytes::{DecodeError, Reader};
use tombolo_protocol::limits::{ADDRESS_BYTES_MAX, INVITE_RELAYS_MAX};

/// Appends addresses that [`check`] found sound.
pub(crate) fn write(addresses: &[impl AsRef<str>], out: &mut Vec<u8>) {
    out.push(addresses.len() as u8);
    for address in addresses {
        out.push(address.as_ref().len() as u8);
        out.extend_from_slice(address.as_ref().as_bytes());
    }
}

/// Reads a list.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let count = usize::from(reader.u8()?);
    check_count(count)?;
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        addresses.push(read_one(reader)?);
    }
    Ok(addresses)
}

/// Reads one address behind its length.
pub(crate) fn read_one(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let invalid = DecodeError::Invalid { field: "address" };
    let length = usize::from(reader.u8()?);
    let address = String::from_utf8(reader.take(length)?.to_vec()).map_err(|_| invalid)?;
    if address.is_empty() { Err(invalid) } else { Ok(address) }
}

/// Judges addresses that are about to be written or printed: none may break a line.
pub(crate) fn check(addresses: &[String]) -> Result<(), DecodeError> {
    check_count(addresses.len())?;
    let sound = |address: &String| {
        (1..=ADDRESS_BYTES_MAX).contains(&address.len()) && !address.chars().any(|letter| letter.is_control())
    };
    if addresses.iter().all(sound) { Ok(()) } else { Err(DecodeError::Invalid { field: "address" }) }
}

fn check_count(count: usize) -> Result<(), DecodeError> {
    if count > INVITE_RELAYS_MAX {
        let (claimed, limit) = (count as u64, INVITE_RELAYS_MAX as u64);
        return Err(DecodeError::TooLarge { field: "addresses", claimed, limit });
    }
    Ok(())
}
