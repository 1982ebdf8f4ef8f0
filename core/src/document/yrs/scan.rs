//! A bounded look at a v1 update before the library decodes it.
//!
//! The library reserves memory for the counts an update announces and accepts blocks that it later
//! cannot encode. This scan walks the update once, in time and memory bounded by its length, and
//! accepts only what it fully understands: contiguous blocks of known content whose references
//! point backwards. It also says who contributes and how deep new containers nest.

use std::collections::BTreeMap;

use super::reader::{Block, Reader};
use crate::document::{ApplyReason, CHANGE_BYTES_MAX, DEPTH_MAX};

/// What a scan found.
pub(super) struct Shape {
    /// The clocks each contributing client goes through: from, and up to but not including.
    pub(super) sections: BTreeMap<u64, (u32, u32)>,
    /// How far each client must be known before the update can be integrated.
    pub(super) needs: BTreeMap<u64, u32>,
    /// How deep the update's containers nest in each other.
    pub(super) nesting: usize,
    /// The strings that hold surrogate pairs, which must lie in texts.
    pub(super) strings: Vec<(u64, u32)>,
}

/// Accepts an update whose structure is sound.
pub(super) fn check(bytes: &[u8]) -> Result<Shape, ApplyReason> {
    if bytes.len() > CHANGE_BYTES_MAX {
        return Err(ApplyReason::TooLarge);
    }
    let mut reader = Reader::new(bytes);
    let mut shape = Shape { sections: BTreeMap::new(), needs: BTreeMap::new(), nesting: 0, strings: Vec::new() };
    let mut nesting = Nesting::default();
    for _ in 0..reader.count()? {
        section(&mut reader, &mut shape, &mut nesting)?;
    }
    deletions(&mut reader, &mut shape)?;
    if !reader.is_empty() {
        return Err(ApplyReason::Malformed);
    }
    shape.nesting = nesting.deepest()?;
    shape.settle_needs();
    Ok(shape)
}

fn section<'b>(reader: &mut Reader<'b>, shape: &mut Shape, nesting: &mut Nesting<'b>) -> Result<(), ApplyReason> {
    let blocks = reader.count()?;
    let client = reader.client()?;
    if blocks == 0 {
        return Err(ApplyReason::Malformed);
    }
    let first = reader.number()?;
    let mut clock = first;
    for _ in 0..blocks {
        let block = reader.block(client, clock)?;
        for (client, clock) in block.near.into_iter().chain(block.right_origin) {
            shape.need(client, clock.saturating_add(1));
        }
        if block.holds_pairs {
            shape.strings.push((client, clock));
        }
        let end = clock.checked_add(block.len).filter(|end| *end <= CLOCK_MAX);
        nesting.add(client, clock, block)?;
        clock = end.ok_or(ApplyReason::Malformed)?;
    }
    match shape.sections.insert(client, (first, clock)) {
        None => Ok(()),
        Some(_) => Err(ApplyReason::Malformed),
    }
}

fn deletions(reader: &mut Reader<'_>, shape: &mut Shape) -> Result<(), ApplyReason> {
    for _ in 0..reader.count()? {
        let client = reader.client()?;
        for _ in 0..reader.count()? {
            let (clock, len) = (reader.number()?, reader.number()?);
            let end = clock.checked_add(len).filter(|end| len > 0 && *end <= CLOCK_MAX);
            shape.need(client, end.ok_or(ApplyReason::Malformed)?);
        }
    }
    Ok(())
}

impl Shape {
    fn need(&mut self, client: u64, clock: u32) {
        let need = self.needs.entry(client).or_default();
        *need = clock.max(*need);
    }

    /// Leaves out what the update brings itself, and adds that its sections leave no gap.
    fn settle_needs(&mut self) {
        for (client, (first, end)) in &self.sections {
            let need = self.needs.entry(*client).or_default();
            if *need <= *end {
                *need = *first;
            }
        }
        self.needs.retain(|_, need| *need > 0);
    }
}

/// Rewrites the blocks of an update without those from `limit` of their client on, and with other
/// deletions. The update is the library's own, so that a block begins at each limit.
pub(super) fn truncated(bytes: &[u8], limit: impl Fn(u64) -> u32, deletions: &[u8]) -> Result<Vec<u8>, ApplyReason> {
    let mut reader = Reader::new(bytes);
    let mut kept = Vec::new();
    for _ in 0..reader.count()? {
        let blocks = reader.count()?;
        let client = reader.client()?;
        let first = reader.number()?;
        let start = reader.rest();
        let (mut clock, mut count, mut kept_bytes) = (first, 0_u64, 0);
        for _ in 0..blocks {
            clock += reader.block(client, clock)?.len;
            if clock <= limit(client) {
                count += 1;
                kept_bytes = start.len() - reader.rest().len();
            }
        }
        if count > 0 {
            kept.push((count, client, first, start.get(..kept_bytes).unwrap_or_default()));
        }
    }
    let mut rewritten = Vec::with_capacity(bytes.len());
    write_number(&mut rewritten, kept.len() as u64);
    for (count, client, first, blocks) in kept {
        write_number(&mut rewritten, count);
        write_number(&mut rewritten, client);
        write_number(&mut rewritten, u64::from(first));
        rewritten.extend_from_slice(blocks);
    }
    rewritten.extend_from_slice(deletions);
    Ok(rewritten)
}

pub(super) fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The blocks of an update and what each lies in.
#[derive(Default)]
struct Nesting<'b>(BTreeMap<(u64, u32), Placed<'b>>);

struct Placed<'b> {
    block: Block<'b>,
    /// How many containers of this update the block lies in, once known.
    around: Option<usize>,
    visited: bool,
}

impl<'b> Nesting<'b> {
    fn add(&mut self, client: u64, clock: u32, block: Block<'b>) -> Result<(), ApplyReason> {
        if self.0.len() >= BLOCKS_MAX {
            return Err(ApplyReason::TooLarge);
        }
        self.0.insert((client, clock), Placed { block, around: None, visited: false });
        Ok(())
    }

    /// Returns the depth of the deepest container, following each block to what it lies in.
    fn deepest(mut self) -> Result<usize, ApplyReason> {
        if !self.0.values().any(|placed| placed.block.is_container) {
            return Ok(0);
        }
        let keys: Vec<_> = self.0.keys().copied().collect();
        for key in keys {
            let mut open = vec![key];
            while let Some(key) = open.last().copied() {
                if let Some(next) = self.step(key)? {
                    open.push(next);
                } else {
                    open.pop();
                }
            }
        }
        let depths = self.0.values().filter(|placed| placed.block.is_container).filter_map(|placed| placed.around);
        let deepest = depths.max().map_or(0, |around| around + 1);
        if deepest > DEPTH_MAX { Err(ApplyReason::TooDeep) } else { Ok(deepest) }
    }

    /// Places a block, or returns the block that must be placed before it.
    fn step(&mut self, key: (u64, u32)) -> Result<Option<(u64, u32)>, ApplyReason> {
        let Some(placed) = self.0.get(&key) else {
            return Ok(None);
        };
        if placed.around.is_some() {
            return Ok(None);
        }
        let near = placed.block.near.and_then(|near| self.containing(near));
        let around = match near.and_then(|near| Some((near, self.0.get(&near)?))) {
            None => 0,
            Some((_, Placed { around: Some(around), .. })) => around + usize::from(placed.block.near_is_parent),
            // Whoever waits for a block that waits for it stands in a circle.
            Some((_, Placed { visited: true, .. })) => return Err(ApplyReason::Malformed),
            Some((near, _)) => {
                self.0.entry(key).and_modify(|placed| placed.visited = true);
                return Ok(Some(near));
            }
        };
        self.0.entry(key).and_modify(|placed| placed.around = Some(around));
        Ok(None)
    }

    fn containing(&self, (client, clock): (u64, u32)) -> Option<(u64, u32)> {
        let (key, placed) = self.0.range(..=(client, clock)).next_back()?;
        let end = u64::from(key.1) + u64::from(placed.block.len);
        (key.0 == client && u64::from(clock) < end).then_some(*key)
    }
}

/// The greatest clock: the library computes with signed 32-bit differences of clocks.
const CLOCK_MAX: u32 = i32::MAX as u32;

/// Blocks in one update; each takes the library some 150 bytes. No edit writes as many.
const BLOCKS_MAX: usize = 2 << 20;
