//! Yrs updates under another client: blocks, what they stand beside and what they delete are named anew.

use std::collections::BTreeMap;

use ::yrs::{ReadTxn, StateVector, Transact};

use super::YrsDocument;
use super::fold::{Section, write_deleted};
use super::reader::{Block, Reader};
use super::scan::write_number;
use crate::document::reauthor::{Former, Reauthored};
use crate::document::{Actor, ApplyReason};

/// Re-authors updates for a document that holds what its entries bring.
pub(in crate::document) fn reauthor(
    received: &YrsDocument,
    changes: &[Former<'_>],
    fresh: &mut dyn FnMut() -> Actor,
) -> Result<Vec<Reauthored>, ApplyReason> {
    let transaction = received.document.try_transact().map_err(|_| ApplyReason::ReloadRequired)?;
    let mut names = Names { known: transaction.state_vector(), moved: BTreeMap::new() };
    changes.iter().map(|former| names.take(former, fresh)).collect()
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
    moved: BTreeMap<u64, Moved>,
}

/// Where the work of an older client went.
struct Moved {
    /// From which clock on, which is the new client's first.
    from: u32,
    to: Actor,
}

impl Names {
    fn take(&mut self, former: &Former<'_>, fresh: &mut dyn FnMut() -> Actor) -> Result<Reauthored, ApplyReason> {
        let Some((client, section)) = older(former)? else {
            return Ok(Reauthored::Own(self.renamed(former.bytes)?));
        };
        if self.known.get(&::yrs::ClientID::new(client)) >= section.end {
            return Ok(Reauthored::Known);
        }
        let moved = self.moved.entry(client).or_insert_with(|| Moved { from: section.first, to: fresh() });
        let to = moved.to;
        let bytes = self.renamed(former.bytes)?;
        // What others would refuse is not said.
        let said = Section::of(&bytes)?;
        if said.client == Some(to.client_id()) { Ok(Reauthored::Moved(to, bytes)) } else { Err(ApplyReason::Refused) }
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
            let from = self.moved.get(&client).map_or(u32::MAX, |moved| moved.from);
            for _ in 0..reader.count()? {
                let (clock, len) = (reader.number()?, reader.number()?);
                let end = clock.saturating_add(len);
                for (first, end) in [(clock, end.min(from)), (clock.max(from), end)] {
                    if first < end {
                        let (client, first_now) = self.id((client, first));
                        deleted.entry(client).or_default().push((first_now, end - first));
                    }
                }
            }
        }
        Ok(deleted)
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
        match self.moved.get(&client).filter(|moved| clock >= moved.from) {
            Some(moved) => (moved.to.client_id(), clock - moved.from),
            None => (client, clock),
        }
    }
}
