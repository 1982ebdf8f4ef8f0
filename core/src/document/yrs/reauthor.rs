//! Yrs updates under another client: blocks, what they stand beside and what they delete are named anew.

use std::collections::BTreeMap;

use ::yrs::{ClientID, ReadTxn, StateVector, Transact};

use super::YrsDocument;
use super::fold::{Section, write_deleted};
use super::reader::{Block, Reader};
use super::scan::write_number;
use crate::document::reauthor::{Former, HeirsOf, Reauthored};
use crate::document::{Actor, ApplyReason};

/// Re-authors updates for a document that holds what its entries bring.
pub(in crate::document) fn reauthor(
    received: &YrsDocument,
    changes: &[Former<'_>],
    heirs: HeirsOf<'_>,
) -> Result<Vec<Reauthored>, ApplyReason> {
    let transaction = received.document.try_transact().map_err(|_| ApplyReason::ReloadRequired)?;
    let known = transaction.state_vector();
    let mut names = Names { known, unknown_from: BTreeMap::new(), given: BTreeMap::new(), moved: BTreeMap::new() };
    changes.iter().map(|former| names.take(former, heirs)).collect()
}

/// Tells whether an update is of the client it would have in this life, or of none: to delete belongs to nobody.
pub(in crate::document) fn is_own(former: &Former<'_>) -> Result<bool, ApplyReason> {
    Ok(older(former)?.is_none())
}

/// Returns what an update brings of another client than it would have in this life.
fn older(former: &Former<'_>) -> Result<Option<(u64, Section)>, ApplyReason> {
    let section = Section::of(former.bytes)?;
    Ok(section.client.filter(|client| *client != former.actor.client_id()).map(|client| (client, section)))
}

/// How what was made before is named now.
struct Names {
    known: StateVector,
    /// The first clock of an older client that is not known as that client made it: there its heirs begin.
    unknown_from: BTreeMap<u64, u32>,
    /// How many clocks were given to a client here.
    given: BTreeMap<u64, u32>,
    moved: BTreeMap<u64, Vec<Moved>>,
}

/// Where some clocks of an older client went.
struct Moved {
    first: u32,
    end: u32,
    /// The new client, and its clock for the first.
    to: (u64, u32),
}

impl Names {
    fn take(&mut self, former: &Former<'_>, heirs: HeirsOf<'_>) -> Result<Reauthored, ApplyReason> {
        let Some((client, section)) = older(former)? else {
            return Ok(Reauthored::Own(self.renamed(former.bytes)?));
        };
        let Section { first, end, .. } = section;
        if self.clock_of(client) >= end {
            return Ok(Reauthored::Known);
        }
        let from = *self.unknown_from.entry(client).or_insert(first);
        // An heir's clocks begin at zero, for one of the older client's: that is part of its name.
        let heirs = heirs(&[client.to_be_bytes().as_slice(), &from.to_be_bytes()].concat());
        let moved = self.moved.entry(client).or_default();
        let known = |heir: &&Actor| self.known.get(&ClientID::new(heir.client_id())) >= end.saturating_sub(from);
        if let Some(heir) = heirs.others.iter().find(known) {
            moved.push(Moved { first, end, to: (heir.client_id(), first.saturating_sub(from)) });
            return Ok(Reauthored::Known);
        }
        let given = self.given.entry(heirs.own.client_id()).or_default();
        moved.push(Moved { first, end, to: (heirs.own.client_id(), *given) });
        *given = given.saturating_add(end.saturating_sub(first));
        let bytes = self.renamed(former.bytes)?;
        // What others would refuse is not said.
        let said = Section::of(&bytes)?.client;
        if said == Some(heirs.own.client_id()) {
            Ok(Reauthored::Moved(heirs.own, bytes))
        } else {
            Err(ApplyReason::Refused)
        }
    }

    fn clock_of(&self, client: u64) -> u32 {
        self.known.get(&ClientID::new(client))
    }

    fn renamed(&self, update: &[u8]) -> Result<Vec<u8>, ApplyReason> {
        let mut reader = Reader::new(update);
        let mut said = Vec::with_capacity(update.len());
        let sections = reader.count()?;
        write_number(&mut said, sections as u64);
        for _ in 0..sections {
            let count = reader.count()?;
            let (client, mut clock) = (reader.client()?, reader.number()?);
            write_number(&mut said, count as u64);
            self.write_id(&mut said, (client, clock));
            for _ in 0..count {
                let block = reader.block(client, clock)?;
                self.write_block(&mut said, &block);
                clock += block.len;
            }
        }
        write_deleted(&mut said, self.deleted(&mut reader)?);
        Ok(said)
    }

    fn deleted(&self, reader: &mut Reader<'_>) -> Result<BTreeMap<u64, Vec<(u32, u32)>>, ApplyReason> {
        let mut deleted = BTreeMap::<u64, Vec<(u32, u32)>>::new();
        for _ in 0..reader.count()? {
            let client = reader.client()?;
            for _ in 0..reader.count()? {
                let (mut clock, len) = (reader.number()?, reader.number()?);
                let end = clock.saturating_add(len);
                while clock < end {
                    // As far as what went to one place reaches.
                    let until = self.same_until((client, clock)).min(end);
                    let (client, first) = self.id((client, clock));
                    deleted.entry(client).or_default().push((first, until - clock));
                    clock = until;
                }
            }
        }
        Ok(deleted)
    }

    /// Returns the next clock that may have gone elsewhere than this one.
    fn same_until(&self, (client, clock): (u64, u32)) -> u32 {
        let edges = self.moved.get(&client).into_iter().flatten().flat_map(|moved| [moved.first, moved.end]);
        edges.filter(|edge| *edge > clock).min().unwrap_or(u32::MAX)
    }

    fn write_block(&self, said: &mut Vec<u8>, block: &Block<'_>) {
        said.push(block.info);
        for id in block.origin.into_iter().chain(block.right_origin) {
            self.write_id(said, id);
        }
        if let Some(parent) = block.near.filter(|_| block.near_is_parent) {
            write_number(said, 0);
            self.write_id(said, parent);
        }
        said.extend_from_slice(block.after_ids);
    }

    fn write_id(&self, said: &mut Vec<u8>, id: (u64, u32)) {
        let (client, clock) = self.id(id);
        write_number(said, client);
        write_number(said, u64::from(clock));
    }

    fn id(&self, (client, clock): (u64, u32)) -> (u64, u32) {
        let holds = |moved: &&Moved| (moved.first..moved.end).contains(&clock);
        match self.moved.get(&client).and_then(|moved| moved.iter().find(holds)) {
            Some(moved) => (moved.to.0, moved.to.1 + (clock - moved.first)),
            None => (client, clock),
        }
    }
}
