//! Pending changes of an older life become this life's own before they are sealed (ADR 0015).
//!
//! Invariant: nothing is sealed under an actor that others do not take from this life's chains; it is looked into
//! only when a session has caught up, so what the original of a copy had sent is known and not said again. What the
//! library can not re-author stays pending, and the debt says so.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tombolo_protocol::hash::hash;
use tombolo_protocol::ids::{ChainKey, Instance, Stream};

use crate::document::{Actor, Crdt, Former, Heirs, Reauthored};
use crate::engine::{Engine, Now, derive_actor};
use crate::error::Error;
use crate::store::{DocumentRow, PendingRow, StoreError, Tx};

impl Engine {
    /// Makes pending changes of an older life this life's; tells whether all are.
    pub(super) fn reauthor_pending(
        &mut self,
        now: Now,
        row: &DocumentRow,
        stream: Stream,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let place = (row.row, stream);
        if !self.workspaces.get(&row.workspace).is_some_and(|held| held.former.contains(&place)) {
            return Ok(true);
        }
        let pending = tx.pending_of_document(row.row, stream)?;
        let after = match self.reauthored(now, row, &pending.rows, tx) {
            Ok(after) => after,
            Err(Error::Store(error)) => return Err(error),
            Err(_) => return Ok(false),
        };
        if let Some(after) = after {
            let before: Vec<i64> = pending.rows.iter().map(|pending| pending.row).collect();
            tx.replace_pending(stream, &before, &after, self.entropy.as_mut())?;
            if self.documents.is_open(row.row) {
                self.reopen(now, row, tx)?;
            }
        }
        if let Some(held) = self.workspaces.get_mut(&row.workspace) {
            held.former.remove(&place);
        }
        Ok(true)
    }

    /// Returns what pending changes are in this life; nothing, if they are this life's already.
    fn reauthored(
        &mut self,
        now: Now,
        row: &DocumentRow,
        pending: &[PendingRow],
        tx: &Tx<'_>,
    ) -> Result<Option<Vec<PendingRow>>, Error> {
        let Some((about, crdt)) = row.about.as_ref().and_then(|about| Some((about, Crdt::from_u8(about.crdt)?))) else {
            return Ok(None);
        };
        // An empty change says no more than that the document was made.
        let written: Vec<&PendingRow> = pending.iter().filter(|pending| !pending.change.is_empty()).collect();
        let actor = |pending: &PendingRow| self.own_actor(row.workspace, &about.id, pending.instance);
        let changes: Vec<Former<'_>> =
            written.iter().map(|pending| Former { bytes: &pending.change, actor: actor(pending) }).collect();
        if changes
            .iter()
            .try_fold(true, |all, former| former.is_own(crdt).map(|own| all && own))
            .map_err(Error::Document)?
        {
            return Ok(None);
        }
        // Under this actor nothing is written.
        let reader = self.own_actor(row.workspace, &about.id, Instance(0));
        let received = self.assemble(now, row, (crdt, reader), Vec::new(), tx)?;
        let lives = self.other_lives(row, tx)?;
        let instances = RefCell::new(BTreeMap::<Actor, Instance>::new());
        let heirs = |older: &[u8]| {
            let instance = heir_instance(older);
            let own = self.own_actor(row.workspace, &about.id, instance);
            instances.borrow_mut().insert(own, instance);
            Heirs { own, others: lives.iter().map(|life| derive_actor(life, &about.id, instance)).collect() }
        };
        let reauthored = received.reauthor(&changes, &heirs).map_err(Error::Document)?;
        Ok(Some(rows(&written, reauthored, &instances.take())))
    }

    /// Returns the chains in which other lives of this device wrote a document.
    fn other_lives(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Vec<ChainKey>, StoreError> {
        let (device, life) = (self.device.id(), self.incarnation_in(row.workspace));
        let mut lives = Vec::new();
        for (chain, author, _) in tx.chains_of_document(row.row)? {
            if author == device
                && let Some((key, _)) = tx.chain_key(chain)?
            {
                lives.extend(Some(key).filter(|key| key.incarnation != life && key.stream == Stream::CONTENT));
            }
        }
        Ok(lives)
    }
}

/// Returns the instance that the work of an older actor goes to: it follows from that actor, so that of two lives
/// that both had the work pending the second finds what the first has said.
fn heir_instance(older: &[u8]) -> Instance {
    let [a, b, c, d, e, f, g, h, ..] = hash("heir", &[older]);
    Instance(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// Returns the rows that say what is not known yet; the newest row stays, for somebody may wait for it.
fn rows(
    written: &[&PendingRow],
    reauthored: Vec<Reauthored>,
    instances: &BTreeMap<Actor, Instance>,
) -> Vec<PendingRow> {
    let mut rows = Vec::with_capacity(reauthored.len());
    let newest = written.last().map_or(0, |newest| newest.row);
    for (pending, reauthored) in written.iter().zip(reauthored) {
        let (instance, change) = match reauthored {
            Reauthored::Own(change) => (Some(&pending.instance), change),
            Reauthored::Moved(actor, change) => (instances.get(&actor), change),
            Reauthored::Known if pending.row == newest => (Some(&pending.instance), Vec::new()),
            Reauthored::Known => continue,
        };
        if let Some(instance) = instance.copied() {
            rows.push(PendingRow { row: pending.row, instance, wall_ms: pending.wall_ms, change });
        }
    }
    rows
}
