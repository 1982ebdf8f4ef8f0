//! Values that are compressed before they are sealed under the store key.
//!
//! Invariant: what is unpacked is what was packed, and never longer than the bound; other bytes give `None`.

/// Compresses a value, if that makes it shorter; `None` if it is longer than what is unpacked again.
pub(super) fn pack(value: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(value.len()).ok().filter(|_| value.len() <= PACKED_BYTES_MAX)?;
    let compressed = zstd::bulk::compress(value, COMPRESSION_LEVEL).ok().filter(|bytes| bytes.len() < value.len());
    let mut packed = vec![if compressed.is_some() { COMPRESSED } else { PLAIN }];
    packed.extend_from_slice(&length.to_be_bytes());
    packed.extend_from_slice(compressed.as_deref().unwrap_or(value));
    Some(packed)
}

/// Returns what was packed.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (method, rest) = packed.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= PACKED_BYTES_MAX)?;
    let value = match *method {
        PLAIN => rest.to_vec(),
        COMPRESSED => tombolo_crypto::unzip(rest, length)?,
        _ => return None,
    };
    (value.len() == length).then_some(value)
}

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;

/// The longest value that is packed, before it is compressed: beyond what a change may have, and what a document
/// that is opened at once should take.
const PACKED_BYTES_MAX: usize = 256 << 20;

/// zstd's own default: a good share of what is to be had, at hundreds of megabytes a second.
const COMPRESSION_LEVEL: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_nothing_else_is() {
        for value in [b"".to_vec(), b"short".to_vec(), b"tide ".repeat(1000)] {
            let packed = pack(&value).unwrap();
            assert!(packed.len() <= value.len() + 5);
            assert_eq!(unpack(&packed), Some(value));
            for end in 0..packed.len() {
                assert_eq!(unpack(&packed[..end]), None, "{end}");
            }
            assert_eq!(unpack(&[&[2], &packed[1..]].concat()), None);
        }
        // A length that is announced and not there takes no room.
        assert_eq!(unpack(&[1, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }
}
