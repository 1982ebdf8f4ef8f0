//! Reads the v1 encoding without reserving memory for anything it announces.
//!
//! What the common model and rich text need is accepted: deleted, string, binary, embed, format,
//! `Any` and shared types, and blocks that stand for collected ones. JSON blocks (which the library
//! misreads), gaps, subdocuments and weak links are refused.

use crate::document::ApplyReason;
use crate::document::text::may_hold_pairs;

/// What a block is, as far as safety goes.
#[derive(Default)]
pub(super) struct Block<'b> {
    /// The byte that says what follows.
    pub(super) info: u8,
    pub(super) len: u32,
    pub(super) is_container: bool,
    /// The block that says where this one lies: its parent, or a neighbour.
    pub(super) near: Option<(u64, u32)>,
    pub(super) near_is_parent: bool,
    pub(super) origin: Option<(u64, u32)>,
    pub(super) right_origin: Option<(u64, u32)>,
    /// The string it holds, if it lies in a text.
    pub(super) string: Option<&'b str>,
    /// Whether it is a string that holds a surrogate pair.
    pub(super) holds_pairs: bool,
    /// What stands behind the blocks it names.
    pub(super) after_ids: &'b [u8],
}

pub(super) struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn rest(&self) -> &'b [u8] {
        self.bytes
    }

    /// Reads how many items follow, each of which takes at least a byte.
    pub(super) fn count(&mut self) -> Result<usize, ApplyReason> {
        let count = self.number()? as usize;
        if count > self.bytes.len() { Err(ApplyReason::TooLarge) } else { Ok(count) }
    }

    pub(super) fn client(&mut self) -> Result<u64, ApplyReason> {
        let client = self.unsigned()?;
        if client >> CLIENT_BITS == 0 { Ok(client) } else { Err(ApplyReason::Malformed) }
    }

    pub(super) fn number(&mut self) -> Result<u32, ApplyReason> {
        u32::try_from(self.unsigned()?).map_err(|_| ApplyReason::Malformed)
    }

    pub(super) fn block(&mut self, client: u64, clock: u32) -> Result<Block<'b>, ApplyReason> {
        let info = self.byte()?;
        if info == GC {
            let start = self.bytes;
            let len = self.nonzero()?;
            return Ok(Block { info, len, after_ids: read_of(start, self.bytes), ..Block::default() });
        }
        let origin = (info & HAS_ORIGIN != 0).then(|| self.id(client, clock)).transpose()?;
        let right_origin = (info & HAS_RIGHT_ORIGIN != 0).then(|| self.id(client, clock)).transpose()?;
        let neighbour = origin.or(right_origin);
        let mut behind = self.bytes;
        let mut near = neighbour;
        if neighbour.is_none() {
            near = self.parent(client, clock)?;
            behind = if near.is_some() { self.bytes } else { behind };
            if info & HAS_PARENT_SUB != 0 {
                self.string()?;
            }
        }
        let content = info & CONTENT;
        let start = self.bytes;
        let len = self.content(content)?;
        let read = read_of(start, self.bytes);
        Ok(Block {
            info,
            len,
            is_container: content == TYPE,
            near,
            near_is_parent: neighbour.is_none(),
            origin,
            right_origin,
            string: if content == STRING && info & HAS_PARENT_SUB == 0 { Reader::new(read).str().ok() } else { None },
            holds_pairs: content == STRING && may_hold_pairs(read),
            after_ids: read_of(behind, self.bytes),
        })
    }

    /// Reads what a block without neighbours lies in; a root type is no block.
    fn parent(&mut self, client: u64, clock: u32) -> Result<Option<(u64, u32)>, ApplyReason> {
        match self.number()? {
            0 => self.id(client, clock).map(Some),
            1 => self.string().map(|()| None),
            _ => Err(ApplyReason::Malformed),
        }
    }

    /// Reads a reference, which only points at what was there before.
    fn id(&mut self, client: u64, clock: u32) -> Result<(u64, u32), ApplyReason> {
        let id = (self.client()?, self.number()?);
        if id.0 == client && id.1 >= clock { Err(ApplyReason::Malformed) } else { Ok(id) }
    }

    fn content(&mut self, content: u8) -> Result<u32, ApplyReason> {
        match content {
            DELETED => return self.nonzero(),
            BINARY => drop(self.take_counted()?),
            STRING => {
                let units = self.str()?.encode_utf16().count();
                return u32::try_from(units).ok().filter(|len| *len > 0).ok_or(ApplyReason::Malformed);
            }
            EMBED => self.json()?,
            FORMAT => {
                self.string()?;
                self.json()?;
            }
            TYPE => match self.byte()? {
                ARRAY | MAP | TEXT | XML_FRAGMENT | XML_TEXT => {}
                XML_ELEMENT => self.string()?,
                _ => return Err(ApplyReason::Malformed),
            },
            ANY => {
                let count = self.nonzero()?;
                if count as usize > self.bytes.len() {
                    return Err(ApplyReason::TooLarge);
                }
                for _ in 0..count {
                    self.any(0)?;
                }
                return Ok(count);
            }
            _ => return Err(ApplyReason::Malformed),
        }
        Ok(1)
    }

    fn any(&mut self, depth: usize) -> Result<(), ApplyReason> {
        if depth > ANY_DEPTH_MAX {
            return Err(ApplyReason::TooDeep);
        }
        match self.byte()? {
            120 | 121 | 126 | 127 => Ok(()),
            125 => self.signed(),
            124 => self.take(4).map(drop),
            122 | 123 => self.take(8).map(drop),
            119 => self.string(),
            118 => {
                for _ in 0..self.count()? {
                    self.string()?;
                    self.any(depth + 1)?;
                }
                Ok(())
            }
            117 => {
                for _ in 0..self.count()? {
                    self.any(depth + 1)?;
                }
                Ok(())
            }
            116 => self.take_counted().map(drop),
            _ => Err(ApplyReason::Malformed),
        }
    }

    /// Reads an embedded JSON text; the parser bounds its depth as the library's does.
    fn json(&mut self) -> Result<(), ApplyReason> {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(self.str()?);
        parsed.map(drop).map_err(|_| ApplyReason::Malformed)
    }

    fn nonzero(&mut self) -> Result<u32, ApplyReason> {
        let number = self.number()?;
        if number == 0 { Err(ApplyReason::Malformed) } else { Ok(number) }
    }

    fn string(&mut self) -> Result<(), ApplyReason> {
        self.str().map(drop)
    }

    fn str(&mut self) -> Result<&'b str, ApplyReason> {
        std::str::from_utf8(self.take_counted()?).map_err(|_| ApplyReason::Malformed)
    }

    fn take_counted(&mut self) -> Result<&'b [u8], ApplyReason> {
        let len = self.number()? as usize;
        self.take(len)
    }

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
        for shift in (0..CLIENT_BITS + 7).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ApplyReason::Malformed)
    }

    /// Reads past a signed number, which has one bit less in its first byte.
    fn signed(&mut self) -> Result<(), ApplyReason> {
        for _ in 0..SIGNED_BYTES_MAX {
            if self.byte()? & 0x80 == 0 {
                return Ok(());
            }
        }
        Err(ApplyReason::Malformed)
    }
}

/// Returns what was read between two points of the same bytes.
fn read_of<'b>(from: &'b [u8], to: &[u8]) -> &'b [u8] {
    from.get(..from.len() - to.len()).unwrap_or_default()
}

const HAS_ORIGIN: u8 = 0b1000_0000;
const HAS_RIGHT_ORIGIN: u8 = 0b0100_0000;
const HAS_PARENT_SUB: u8 = 0b0010_0000;
const CONTENT: u8 = 0b0000_1111;

const GC: u8 = 0;
const DELETED: u8 = 1;
const BINARY: u8 = 3;
const STRING: u8 = 4;
const EMBED: u8 = 5;
const FORMAT: u8 = 6;
const TYPE: u8 = 7;
const ANY: u8 = 8;

const ARRAY: u8 = 0;
const MAP: u8 = 1;
const TEXT: u8 = 2;
const XML_ELEMENT: u8 = 3;
const XML_FRAGMENT: u8 = 4;
const XML_TEXT: u8 = 6;

/// Client ids have 53 bits.
const CLIENT_BITS: u32 = 53;

/// How deep a plain value may nest; the library recurses this deep when it decodes.
const ANY_DEPTH_MAX: usize = 100;

/// The library reads numbers of 31 bits and a sign here; more bytes would overflow its shift.
const SIGNED_BYTES_MAX: usize = 5;
