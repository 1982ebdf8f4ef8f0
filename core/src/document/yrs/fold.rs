//! Folding yrs updates: those of one client that follow each other become one update.
//!
//! Ids, clocks and what each letter stands beside stay, so nobody can tell the difference but by size, and an
//! open document need not know. The library's own merging leaves each letter a block of its own, and
//! loses content that is out of order; so what it makes of strings when it encodes a document is done
//! here, and each result is compared with what went in.

use std::collections::BTreeMap;

use super::reader::{Block, Reader};
use super::scan;
use super::scan::write_number;
use crate::document::ApplyReason;
use crate::document::fold::{Run, Unsent, joins};

/// Folds updates; where what they need may be `lacking`, only those that show wherever the first of them does.
pub(in crate::document) fn fold(changes: &[Unsent<'_>], lacking: bool) -> Result<Vec<Run>, ApplyReason> {
    let mut rest = Vec::with_capacity(changes.len());
    for unsent in changes {
        let shape = scan::check(unsent.bytes)?;
        rest.push(Made { unsent, section: Section::in_shape(&shape)?, needs: shape.needs });
    }
    let (mut runs, mut rest) = (Vec::new(), rest.as_slice());
    while let Some((count, section)) = run_length(rest, lacking) {
        let (run, after) = rest.split_at(count);
        let updates: Vec<&[u8]> = run.iter().map(|made| made.unsent.bytes).collect();
        let bytes = merge(&updates, &section)?;
        // Nothing that was made here may be missing, and others must accept what it became.
        if Section::of(&bytes)? != section {
            return Err(ApplyReason::Refused);
        }
        runs.push(Run { count, bytes });
        rest = after;
    }
    Ok(runs)
}

/// An update, what it contributes, and how far it needs each client.
struct Made<'a> {
    unsent: &'a Unsent<'a>,
    section: Section,
    needs: BTreeMap<u64, u32>,
}

impl Made<'_> {
    /// Tells whether what was made later shows exactly where this one does, which begins a run with these clocks.
    fn shows_as(&self, run: &Section, later: &Self) -> bool {
        let own = |client: &u64| run.client == Some(*client);
        let is_needed = |(client, need): (&u64, &u32)| own(client) || self.needs.get(client) >= Some(need);
        let builds_on_run =
            later.section.client.is_some() || later.needs.iter().any(|(client, need)| own(client) && *need > run.first);
        if run.client.is_some() && builds_on_run {
            return later.needs.iter().all(is_needed);
        }
        later.needs == self.needs
    }
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
        Self::in_shape(&scan::check(bytes)?)
    }

    fn in_shape(shape: &scan::Shape) -> Result<Self, ApplyReason> {
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
fn run_length(changes: &[Made<'_>], lacking: bool) -> Option<(usize, Section)> {
    let first = changes.first()?;
    let (mut section, mut bytes, mut count) = (first.section, first.unsent.bytes.len(), 1);
    for next in changes.iter().skip(1) {
        if bytes + next.unsent.bytes.len() > RUN_BYTES_MAX || lacking && !first.shows_as(&section, next) {
            break;
        }
        let Some(both) = section.then(next.section).filter(|_| joins(first.unsent, next.unsent)) else {
            break;
        };
        section = both;
        bytes += next.unsent.bytes.len();
        count += 1;
    }
    Some((count, section))
}

/// Writes updates of one client as one: letters that were typed one after another become one string, as
/// the library makes of them when it encodes a document.
fn merge(updates: &[&[u8]], section: &Section) -> Result<Vec<u8>, ApplyReason> {
    let mut blocks = Blocks::default();
    let mut deleted = BTreeMap::<u64, Vec<(u32, u32)>>::new();
    for update in updates {
        let mut reader = Reader::new(update);
        for _ in 0..reader.count()? {
            let count = reader.count()?;
            let (client, mut clock) = (reader.client()?, reader.number()?);
            for _ in 0..count {
                let before = reader.rest();
                let block = reader.block(client, clock)?;
                let raw = before.get(..before.len() - reader.rest().len()).unwrap_or_default();
                blocks.push((client, clock), &block, raw);
                clock += block.len;
            }
        }
        for _ in 0..reader.count()? {
            let ranges = deleted.entry(reader.client()?).or_default();
            for _ in 0..reader.count()? {
                ranges.push((reader.number()?, reader.number()?));
            }
        }
    }
    let mut merged = Vec::new();
    write_number(&mut merged, u64::from(section.client.is_some()));
    if let Some(client) = section.client {
        let blocks = blocks.finish();
        write_number(&mut merged, blocks.count);
        write_number(&mut merged, client);
        write_number(&mut merged, u64::from(section.first));
        merged.extend_from_slice(&blocks.bytes);
    }
    write_deleted(&mut merged, deleted);
    Ok(merged)
}

pub(super) fn write_deleted(merged: &mut Vec<u8>, deleted: BTreeMap<u64, Vec<(u32, u32)>>) {
    write_number(merged, deleted.len() as u64);
    for (client, mut ranges) in deleted {
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::new();
        for (clock, len) in ranges {
            match joined.last_mut().filter(|(from, so_far)| clock <= from.saturating_add(*so_far)) {
                Some((from, so_far)) => *so_far = (*so_far).max(clock.saturating_add(len) - *from),
                None => joined.push((clock, len)),
            }
        }
        write_number(merged, client);
        write_number(merged, joined.len() as u64);
        for (clock, len) in joined {
            write_number(merged, u64::from(clock));
            write_number(merged, u64::from(len));
        }
    }
}

/// Blocks on their way into one section.
#[derive(Default)]
struct Blocks {
    count: u64,
    bytes: Vec<u8>,
    string: Option<Growing>,
}

/// A string that the next block may go on.
struct Growing {
    /// What stands before the string.
    head: Vec<u8>,
    string: String,
    last: (u64, u32),
    right_origin: Option<(u64, u32)>,
}

impl Blocks {
    fn push(&mut self, id: (u64, u32), block: &Block<'_>, raw: &[u8]) {
        let last = (id.0, id.1 + (block.len - 1));
        if let (Some(string), Some(growing)) = (block.string, &mut self.string)
            && block.origin == Some(growing.last)
            && growing.last.1 + 1 == id.1
            && block.right_origin == growing.right_origin
        {
            growing.string.push_str(string);
            growing.last = last;
            return;
        }
        self.close();
        self.count += 1;
        match block.string {
            Some(string) => {
                let mut counted = Vec::new();
                write_number(&mut counted, string.len() as u64);
                let head = raw.len().saturating_sub(string.len() + counted.len());
                let head = raw.get(..head).unwrap_or_default().to_vec();
                let right_origin = block.right_origin;
                self.string = Some(Growing { head, string: string.to_owned(), last, right_origin });
            }
            None => self.bytes.extend_from_slice(raw),
        }
    }

    fn close(&mut self) {
        if let Some(Growing { head, string, .. }) = self.string.take() {
            self.bytes.extend_from_slice(&head);
            write_number(&mut self.bytes, string.len() as u64);
            self.bytes.extend_from_slice(string.as_bytes());
        }
    }

    fn finish(mut self) -> Self {
        self.close();
        self
    }
}

/// Bytes of updates that become one: yrs gets slow in transactions of very many blocks.
const RUN_BYTES_MAX: usize = 32 << 10;
