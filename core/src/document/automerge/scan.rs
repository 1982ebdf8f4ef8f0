//! A bounded look at an automerge change before the library decodes it.
//!
//! The library trusts run lengths: a few bytes may announce 2^60 operations. This scan walks the
//! chunk once, in time and memory bounded by its length, and refuses what announces more than
//! [`OPS_FREE_MAX`] plus its own size. It does not judge whether operations make sense.

use crate::document::text::may_hold_pairs;
use crate::document::{ApplyReason, CHANGE_BYTES_MAX};

/// Accepts a change chunk whose announced sizes are bounded; tells whether its values may hold a character of two UTF-16
/// code units.
pub(super) fn check(bytes: &[u8]) -> Result<bool, ApplyReason> {
    if bytes.len() > CHANGE_BYTES_MAX {
        return Err(ApplyReason::TooLarge);
    }
    let mut reader = Reader { bytes };
    if reader.take(4)? != MAGIC {
        return Err(ApplyReason::Malformed);
    }
    reader.take(4)?;
    // Only plain changes: a document or bundle chunk panics the library, a compressed one is a bomb.
    if reader.take(1)? != [CHUNK_CHANGE] {
        return Err(ApplyReason::Malformed);
    }
    if reader.unsigned()? != reader.bytes.len() as u64 {
        return Err(ApplyReason::Malformed);
    }
    header(&mut reader)?;
    columns(&mut reader, OPS_FREE_MAX + bytes.len() as u64)
}

fn header(reader: &mut Reader<'_>) -> Result<(), ApplyReason> {
    let dependencies = reader.count(PARTIES_MAX)?;
    reader.take(dependencies * HASH_BYTES)?;
    reader.actor()?;
    let seq = reader.unsigned()?;
    let start_op = reader.unsigned()?;
    if seq == 0 || start_op == 0 || seq > OP_COUNTER_MAX || start_op > OP_COUNTER_MAX {
        return Err(ApplyReason::Malformed);
    }
    reader.signed()?;
    let message_bytes = reader.count(MESSAGE_BYTES_MAX)?;
    reader.take(message_bytes)?;
    let actors = reader.count(PARTIES_MAX)?;
    for _ in 0..actors {
        reader.actor()?;
    }
    Ok(())
}

fn columns(reader: &mut Reader<'_>, items_max: u64) -> Result<bool, ApplyReason> {
    let count = reader.count(COLUMNS_MAX)?;
    let mut specs = Vec::with_capacity(count);
    for _ in 0..count {
        let spec = reader.unsigned()?;
        let len = usize::try_from(reader.unsigned()?).map_err(|_| ApplyReason::TooLarge)?;
        specs.push((spec, len));
    }
    let mut holds_pairs = false;
    for (spec, len) in specs {
        let column = Reader { bytes: reader.take(len)? };
        if spec & COLUMN_DEFLATED != 0 {
            return Err(ApplyReason::Malformed);
        }
        match spec & COLUMN_TYPE {
            0 => runs(column, items_max, Item::Count)?,
            6 => runs(column, items_max, Item::Metadata)?,
            1 | 2 => runs(column, items_max, Item::Unsigned)?,
            3 => runs(column, items_max, Item::Signed)?,
            4 => booleans(column, items_max)?,
            5 => runs(column, items_max, Item::String)?,
            // The values as they are: each character of a text is one.
            _ => holds_pairs |= may_hold_pairs(column.bytes),
        }
    }
    Ok(holds_pairs)
}

/// What a run-length encoded column holds.
#[derive(Clone, Copy, PartialEq)]
enum Item {
    /// A number that says how many items another column holds for each item here.
    Count,
    /// The type and length of a value in the column of raw values.
    Metadata,
    Unsigned,
    Signed,
    String,
}

fn runs(mut column: Reader<'_>, items_max: u64, item: Item) -> Result<(), ApplyReason> {
    let mut items = 0_u64;
    let mut counted = 0_u64;
    let counted_max = if item == Item::Metadata { items_max.saturating_mul(METADATA_FACTOR) } else { items_max };
    while !column.bytes.is_empty() {
        let run = column.signed()?;
        let length = if run == 0 { column.unsigned()? } else { run.unsigned_abs() };
        items = items.checked_add(length).filter(|items| *items <= items_max).ok_or(ApplyReason::TooLarge)?;
        let literals = if run < 0 { length } else { u64::from(run > 0) };
        for _ in 0..literals {
            let value = column.item(item)?;
            if matches!(item, Item::Count | Item::Metadata) {
                let repeated = if run > 0 { value.checked_mul(length) } else { Some(value) };
                counted = repeated
                    .and_then(|repeated| counted.checked_add(repeated))
                    .filter(|counted| *counted <= counted_max)
                    .ok_or(ApplyReason::TooLarge)?;
            }
        }
    }
    Ok(())
}

fn booleans(mut column: Reader<'_>, items_max: u64) -> Result<(), ApplyReason> {
    let mut items = 0_u64;
    while !column.bytes.is_empty() {
        let run = column.unsigned()?;
        items = items.checked_add(run).filter(|items| *items <= items_max).ok_or(ApplyReason::TooLarge)?;
    }
    Ok(())
}

struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Result<&'b [u8], ApplyReason> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(ApplyReason::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ApplyReason> {
        let (byte, rest) = self.bytes.split_first().ok_or(ApplyReason::Malformed)?;
        self.bytes = rest;
        Ok(*byte)
    }

    fn unsigned(&mut self) -> Result<u64, ApplyReason> {
        let mut value = 0_u64;
        for shift in (0..LEB_BITS).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(ApplyReason::Malformed);
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ApplyReason::Malformed)
    }

    fn signed(&mut self) -> Result<i64, ApplyReason> {
        let mut value = 0_i64;
        for shift in (0..LEB_BITS).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7F).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                let used = shift + 7;
                let negative = byte & 0x40 != 0 && used < 64;
                return Ok(if negative { value | (-1_i64).wrapping_shl(used) } else { value });
            }
        }
        Err(ApplyReason::Malformed)
    }

    fn count(&mut self, max: usize) -> Result<usize, ApplyReason> {
        let count = usize::try_from(self.unsigned()?).map_err(|_| ApplyReason::TooLarge)?;
        if count > max { Err(ApplyReason::TooLarge) } else { Ok(count) }
    }

    fn actor(&mut self) -> Result<(), ApplyReason> {
        if self.unsigned()? != ACTOR_BYTES {
            return Err(ApplyReason::Malformed);
        }
        self.take(ACTOR_BYTES as usize).map(drop)
    }

    fn item(&mut self, item: Item) -> Result<u64, ApplyReason> {
        match item {
            Item::Count | Item::Metadata | Item::Unsigned => self.unsigned(),
            Item::Signed => self.signed().map(|_| 0),
            Item::String => {
                let len = usize::try_from(self.unsigned()?).map_err(|_| ApplyReason::TooLarge)?;
                self.take(len).map(|_| 0)
            }
        }
    }
}

const MAGIC: [u8; 4] = [0x85, 0x6F, 0x4A, 0x83];
const CHUNK_CHANGE: u8 = 1;
const HASH_BYTES: usize = 32;
const LEB_BITS: u32 = 64;

/// Every actor of a Tombolo document has 16 bytes; a base may bring others, which are re-authored.
const ACTOR_BYTES: u64 = 16;

/// Column types sit in the low three bits of a column's specification.
const COLUMN_TYPE: u64 = 0b111;

/// The bit that says a column is deflated.
const COLUMN_DEFLATED: u64 = 0b1000;

/// How many dependencies or other actors a change may name: the limit of an entry's dependencies.
const PARTIES_MAX: usize = 4096;

/// The edit path writes no message; other programs write a line.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A change has 14 columns today; unknown ones are kept by the library.
const COLUMNS_MAX: usize = 64;

/// Operation counters are 32 bits in the library's memory.
const OP_COUNTER_MAX: u64 = u32::MAX as u64;

/// Operations a change may announce whatever its size: deleting a long text takes few bytes. An
/// edit deletes no more than this within its budget.
const OPS_FREE_MAX: u64 = 2 << 20;

/// A value's metadata is its length times 16 plus its type, so sums run higher than items.
const METADATA_FACTOR: u64 = 32;

#[cfg(test)]
mod tests {
    use automerge::transaction::Transactable as _;
    use automerge::{ActorId, AutoCommit, ObjType, ROOT};

    /// What the scan says of a change that writes a text, by an actor whose bytes all look like a pair's first.
    fn holds_pairs(written: &str) -> bool {
        let mut document = AutoCommit::new().with_actor(ActorId::from([0xF0; 16]));
        let text = document.put_object(ROOT, "body", ObjType::Text).unwrap();
        document.splice_text(&text, 0, 0, written).unwrap();
        let mut change = document.get_last_local_change().unwrap();
        super::check(&change.bytes()).unwrap()
    }

    #[test]
    fn only_what_is_written_may_be_a_character_of_two_units() {
        assert!(!holds_pairs("a slow day, été 日本"));
        assert!(holds_pairs("a slow 🦥 day"));
    }
}
