//! Folding yrs updates: those of one client that follow each other become one update.
//!
//! Ids, clocks and what each letter stands beside stay, so nobody can tell the difference but by size, and an
//! open document need not know. The library's own merging leaves each letter a block of its own, and
//! loses content that is out of order; so what it makes of strings when it encodes a document is done
//! here, and each result is compared with what went in.

use std::collections::BTreeMap;

use super::reader::{Block, CONTENT, DELETED, HAS_ORIGIN, Reader, STRING};
use super::scan;
use super::scan::write_number;
use crate::document::ApplyReason;
use crate::document::fold::{Run, Unsent, joins};

/// Folds updates.
pub(in crate::document) fn fold(changes: &[Unsent<'_>]) -> Result<Vec<Run>, ApplyReason> {
    let mut rest = Vec::with_capacity(changes.len());
    for unsent in changes {
        rest.push((unsent, Section::of(unsent.bytes)?));
    }
    let (mut runs, mut rest) = (Vec::new(), rest.as_slice());
    while let Some((count, section)) = run_length(rest) {
        let (run, after) = rest.split_at(count);
        let updates: Vec<&[u8]> = run.iter().map(|(unsent, _)| unsent.bytes).collect();
        let mut bytes = merge(&updates, &section, true)?;
        if bytes.len() > updates.iter().map(|update| update.len()).sum() {
            // So many letters here and there that what stands between them takes more than they did.
            bytes = merge(&updates, &section, false)?;
        }
        // Nothing that was made here may be missing, and others must accept what it became.
        if Section::of(&bytes)? != section {
            return Err(ApplyReason::Refused);
        }
        runs.push(Run { count, bytes });
        rest = after;
    }
    Ok(runs)
}

/// What an update contributes: the clocks of at most one client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) client: Option<u64>,
    pub(super) first: u32,
    pub(super) end: u32,
}

impl Section {
    pub(super) fn of(bytes: &[u8]) -> Result<Self, ApplyReason> {
        let shape = scan::check(bytes)?;
        match (shape.sections.first_key_value(), shape.sections.len()) {
            (None, _) => Ok(Self { client: None, first: 0, end: 0 }),
            (Some((client, (first, end))), 1) => Ok(Self { client: Some(*client), first: *first, end: *end }),
            _ => Err(ApplyReason::ActorMismatch),
        }
    }

    /// Returns both as one, if the second goes on where the first ends.
    fn then(self, next: Self) -> Option<Self> {
        match (self.client, next.client) {
            (_, None) => Some(self),
            (None, _) => Some(next),
            (Some(ours), Some(theirs)) if ours == theirs && self.end == next.first => {
                Some(Self { end: next.end, ..self })
            }
            _ => None,
        }
    }
}

/// Returns how many changes at the front become one, and what that contributes.
fn run_length(changes: &[(&Unsent<'_>, Section)]) -> Option<(usize, Section)> {
    let (first, mut section) = changes.first().copied()?;
    let (mut bytes, mut count) = (first.bytes.len(), 1);
    for (unsent, next) in changes.iter().skip(1) {
        if bytes + unsent.bytes.len() > RUN_BYTES_MAX {
            break;
        }
        let Some(both) = section.then(*next).filter(|_| joins(first, unsent)) else {
            break;
        };
        section = both;
        bytes += unsent.bytes.len();
        count += 1;
    }
    Some((count, section))
}

/// Writes updates of one client as one: letters that were typed one after another become one string, and what was
/// taken back within them is a mark without its letters if it `erases`, as the library makes of both when it encodes a document.
fn merge(updates: &[&[u8]], section: &Section, erases: bool) -> Result<Vec<u8>, ApplyReason> {
    let mut blocks = Vec::new();
    let mut deleted = BTreeMap::<u64, Ranges>::new();
    for update in updates {
        let mut reader = Reader::new(update);
        for _ in 0..reader.count()? {
            let count = reader.count()?;
            let (client, mut clock) = (reader.client()?, reader.number()?);
            for _ in 0..count {
                let before = reader.rest();
                let block = reader.block(client, clock)?;
                let raw = before.get(..before.len() - reader.rest().len()).unwrap_or_default();
                let len = block.len;
                blocks.push(((client, clock), block, raw));
                clock += len;
            }
        }
        for _ in 0..reader.count()? {
            let ranges = deleted.entry(reader.client()?).or_default();
            for _ in 0..reader.count()? {
                ranges.push((reader.number()?, reader.number()?));
            }
        }
    }
    deleted.values_mut().for_each(|ranges| *ranges = joined(std::mem::take(ranges)));
    let mut merged = Vec::new();
    write_number(&mut merged, u64::from(section.client.is_some()));
    if let Some(client) = section.client {
        let erased = deleted.get(&client).filter(|_| erases).map(Vec::as_slice).unwrap_or_default();
        let blocks = Blocks::of(&blocks, erased);
        write_number(&mut merged, blocks.count);
        write_number(&mut merged, client);
        write_number(&mut merged, u64::from(section.first));
        merged.extend_from_slice(&blocks.bytes);
    }
    write_deleted(&mut merged, deleted);
    Ok(merged)
}

/// Clocks of one client: from, and how many.
type Ranges = Vec<(u32, u32)>;

/// Returns the same clocks, in order and in as few ranges as there can be.
fn joined(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut joined = Ranges::new();
    for (clock, len) in ranges {
        match joined.last_mut().filter(|(from, so_far)| clock <= from.saturating_add(*so_far)) {
            Some((from, so_far)) => *so_far = (*so_far).max(clock.saturating_add(len) - *from),
            None => joined.push((clock, len)),
        }
    }
    joined
}

pub(super) fn write_deleted(merged: &mut Vec<u8>, deleted: BTreeMap<u64, Ranges>) {
    write_number(merged, deleted.len() as u64);
    for (client, ranges) in deleted {
        let joined = joined(ranges);
        write_number(merged, client);
        write_number(merged, joined.len() as u64);
        for (clock, len) in joined {
            write_number(merged, u64::from(clock));
            write_number(merged, u64::from(len));
        }
    }
}

/// A block's client and clock.
type Id = (u64, u32);

/// Blocks on their way into one section.
#[derive(Default)]
struct Blocks {
    count: u64,
    bytes: Vec<u8>,
    growing: Option<Growing>,
}

/// A block that the next one may go on.
struct Growing {
    /// What stands before its content, without the byte that comes first.
    ids: Vec<u8>,
    info: u8,
    content: Content,
    last: Id,
    right_origin: Option<Id>,
}

/// What such a block holds.
enum Content {
    String(String),
    /// So many that were taken back.
    Erased(u32),
}

impl Blocks {
    /// Writes blocks, in order, of which some clocks are erased.
    fn of(blocks: &[(Id, Block<'_>, &[u8])], erased: &[(u32, u32)]) -> Self {
        let mut written = Self::default();
        for (id, block, raw) in blocks {
            match block.string {
                Some(string) => written.push_string(*id, block, (raw, string), erased),
                None if block.is_erased() => {
                    let ids = raw.get(1..raw.len() - number_len(block.len)).unwrap_or_default();
                    written.push(*id, block, (block.origin, ids), Content::Erased(block.len));
                }
                None => {
                    written.close();
                    written.count += 1;
                    written.bytes.extend_from_slice(raw);
                }
            }
        }
        written.close();
        written
    }

    /// Writes a string in pieces: those that stand, and those that were taken back. No character is split.
    fn push_string(&mut self, id: Id, block: &Block<'_>, (raw, string): (&[u8], &str), erased: &[(u32, u32)]) {
        let head = raw.len().saturating_sub(string.len() + number_len(string.len() as u32));
        let head = raw.get(1..head).unwrap_or_default();
        let (mut clock, mut rest) = (id.1, string);
        while !rest.is_empty() {
            let (piece, units, is_erased) = piece(rest, clock, erased);
            rest = rest.get(piece.len()..).unwrap_or_default();
            let content = if is_erased { Content::Erased(units) } else { Content::String(piece.to_owned()) };
            if clock == id.1 {
                self.push(id, block, (block.origin, head), content);
            } else {
                let origin = (id.0, clock - 1);
                let mut ids = Vec::new();
                for id in [Some(origin), block.right_origin].into_iter().flatten() {
                    write_number(&mut ids, id.0);
                    write_number(&mut ids, u64::from(id.1));
                }
                self.push((id.0, clock), block, (Some(origin), &ids), content);
            }
            clock += units;
        }
    }

    /// Writes a block that lies behind its origin, or makes the last one longer.
    fn push(&mut self, id: Id, block: &Block<'_>, (origin, ids): (Option<Id>, &[u8]), content: Content) {
        let last = (id.0, id.1 + content.len() - 1);
        if let Some(growing) = &mut self.growing
            && origin == Some(growing.last)
            && growing.last.1 + 1 == id.1
            && block.right_origin == growing.right_origin
            && growing.content.take(&content)
        {
            growing.last = last;
            return;
        }
        self.close();
        self.count += 1;
        let mut info = block.info & !(CONTENT | HAS_ORIGIN);
        info |= if matches!(content, Content::String(_)) { STRING } else { DELETED };
        info |= if origin.is_some() { HAS_ORIGIN } else { 0 };
        self.growing = Some(Growing { ids: ids.to_vec(), info, content, last, right_origin: block.right_origin });
    }

    fn close(&mut self) {
        let Some(Growing { ids, info, content, .. }) = self.growing.take() else {
            return;
        };
        self.bytes.push(info);
        self.bytes.extend_from_slice(&ids);
        match content {
            Content::String(string) => {
                write_number(&mut self.bytes, string.len() as u64);
                self.bytes.extend_from_slice(string.as_bytes());
            }
            Content::Erased(len) => write_number(&mut self.bytes, u64::from(len)),
        }
    }
}

impl Content {
    /// Returns how many clocks it takes.
    fn len(&self) -> u32 {
        match self {
            Self::String(string) => string.encode_utf16().count() as u32,
            Self::Erased(len) => *len,
        }
    }

    /// Goes on with content of the same kind; returns whether it is.
    fn take(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::String(string), Self::String(next)) => string.push_str(next),
            (Self::Erased(len), Self::Erased(next)) => *len += next,
            _ => return false,
        }
        true
    }
}

/// Returns the longest piece at the front of a string of which all is erased, or nothing, with its clocks.
fn piece<'s>(string: &'s str, clock: u32, erased: &[(u32, u32)]) -> (&'s str, u32, bool) {
    let is_erased = |from: u32, to: u32| {
        let at = erased.partition_point(|(first, _)| *first <= from);
        at.checked_sub(1).and_then(|at| erased.get(at)).is_some_and(|(first, len)| to <= first.saturating_add(*len))
    };
    let (mut units, mut first) = (0, None);
    for (at, letter) in string.char_indices() {
        let from = clock + units;
        let erased = is_erased(from, from + letter.len_utf16() as u32);
        if *first.get_or_insert(erased) != erased {
            return (string.get(..at).unwrap_or_default(), units, !erased);
        }
        units += letter.len_utf16() as u32;
    }
    (string, units, first.unwrap_or(false))
}

/// Returns how many bytes a number is written in.
fn number_len(number: u32) -> usize {
    let mut bytes = Vec::new();
    write_number(&mut bytes, u64::from(number));
    bytes.len()
}

/// Bytes of updates that become one: yrs gets slow in transactions of very many blocks.
const RUN_BYTES_MAX: usize = 32 << 10;
