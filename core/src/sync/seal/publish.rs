//! Publishing a snapshot: a document's state becomes entries of this device's own chain (ADR 0018).
//!
//! Who has written most into a document, and may still write, publishes it; what is typed meanwhile is sealed first
//! and goes on as ever. A snapshot changes nothing for who reads it before enough others have vouched for it.
//!
//! Invariant: as for all that is sealed, a snapshot is stored in one commit that reaches the platter before it leaves.

use tombolo_crypto::Body;
use tombolo_protocol::entry::{EntryFlags, EntryKind};
use tombolo_protocol::ids::{ChainKey, Instance, Stream};

use super::{CHUNK_BYTES_MAX, ChainEnd};
use crate::engine::{Engine, Made, Now, creation_of};
use crate::store::{ChainRow, DocumentRow, StoreError, Tx};

impl Engine {
    /// Publishes the documents of a workspace that are due; a channel of it is level.
    pub(in crate::sync) fn publish_due(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        for document in self.findings.to_publish.clone() {
            let row = tx.document_by_row(document)?;
            if let Some(row) = row.filter(|row| row.workspace == at.1) {
                self.publish(now, at, &row, tx)?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, now: Now, at: (i64, i64), row: &DocumentRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        let key = self.own_chain(row, Stream::CONTENT);
        let chain = tx.chain_by_key(row.row, &key)?.map(|(chain, _)| chain);
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1));
        let under_way = |chain: &ChainRow| channel.is_some_and(|channel| channel.is_in_flight(chain.row));
        let Some(held) = self.workspaces.get(&at.1) else {
            return Ok(());
        };
        if held.unsealed.contains(&(row.row, Stream::CONTENT)) || chain.as_ref().is_some_and(under_way) {
            return Ok(());
        }
        // Whatever comes of it, it is looked at again when the document is opened the next time.
        self.findings.to_publish.remove(&row.row);
        let may = held.role(&self.device).is_some_and(|role| role.may_write(Stream::CONTENT));
        if !may || held.sealing().is_none() || !self.publishes(row, tx)? {
            return Ok(());
        }
        let Some(made) = self.make_snapshot(now, row, tx)? else {
            return Ok(());
        };
        let chain = self.seal_snapshot(now, row, (key, chain), &made, tx)?;
        self.owe(at.1, (row.row, chain));
        Ok(())
    }

    /// Tells whether it is this device that publishes a document: of those that may write, the one of the longest chain.
    fn publishes(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Some(held) = self.workspaces.get(&row.workspace) else {
            return Ok(false);
        };
        let writes = |device| {
            let active = held.view.device(device).is_some_and(|standing| standing.is_active());
            active && held.view.role_of_device(device).is_some_and(|role| role.may_write(Stream::CONTENT))
        };
        let chains = tx.chains_of_document(row.row)?;
        let longest =
            chains.iter().filter(|(_, device, _)| writes(device)).max_by_key(|(_, device, seq)| (*seq, *device));
        Ok(longest.is_some_and(|(_, device, _)| *device == self.device.id()))
    }

    /// Seals a snapshot into as many parts as it needs; returns the chain.
    fn seal_snapshot(
        &mut self,
        now: Now,
        row: &DocumentRow,
        (key, chain): (ChainKey, Option<ChainRow>),
        made: &Made,
        tx: &Tx<'_>,
    ) -> Result<i64, StoreError> {
        const UNSEALABLE: StoreError = StoreError::Corrupt { table: "document" };
        let about = row.about.as_ref().ok_or(UNSEALABLE)?;
        let clear = made.cover.encode().map_err(|_| UNSEALABLE)?;
        let mut end = ChainEnd::of(key, chain.as_ref());
        let last = made.payload.chunks(CHUNK_BYTES_MAX).len().saturating_sub(1);
        for (nth, part) in made.payload.chunks(CHUNK_BYTES_MAX).enumerate() {
            let flags = if nth < last { EntryFlags::CONTINUES } else { EntryFlags::NONE };
            let clear = if nth < last { Vec::new() } else { clear.clone() };
            let body = Body {
                creation: (nth == 0).then(|| creation_of(about)),
                crdt: about.crdt,
                instance: Instance(0),
                wall_ms: now.wall_ms,
                deps: Vec::new(),
                changes: vec![part.to_vec()],
            };
            self.seal_behind(row, &mut end, (EntryKind::Snapshot, flags, clear), &body, tx)?;
        }
        end.row.ok_or(UNSEALABLE)
    }
}
