//! Sealing: pending changes become entries.
//!
//! Changes are sealed late: only while a channel is level, and only when no earlier entry of the same
//! chain is on its way, so that everything typed during one round trip becomes one entry; what can be
//! said in fewer changes is folded first (`fold.rs`).
//!
//! Invariant: an entry is stored, and its pending changes deleted, in one commit that reaches the
//! platter before the entry leaves; a sealed entry is never sealed again.

mod publish;
mod reauthor;

use tombolo_crypto::{Body, CHANGES_MAX, Creation, Dep, EntryDraft};
use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind, Header};
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{ChainKey, DocumentId, EntryHash, Instance, RecordId, Stream};
use tombolo_protocol::limits::DEPS_MAX;

use crate::engine::{Engine, Now};
use crate::store::{About, ChainRow, DocumentRow, EntryState, Pending, PendingRow, StoreError, Tx};

/// Bytes of changes in one entry, before compression: whatever they compress to, it fits.
const CHUNK_BYTES_MAX: usize = 512 << 10;

/// No row of a relay: what is sealed for none waits for nothing that is on its way.
const NO_RELAY: i64 = 0;

/// What one entry of a document will carry.
struct Chunk {
    instance: Instance,
    wall_ms: i64,
    changes: Vec<Vec<u8>>,
    bytes: usize,
    continues: bool,
}

/// Where a chain of this device ends, and the next entry goes.
struct ChainEnd {
    key: ChainKey,
    /// Its row, once it has an entry.
    row: Option<i64>,
    head: (u64, EntryHash),
}

impl ChainEnd {
    fn of(key: ChainKey, chain: Option<&ChainRow>) -> Self {
        let head = chain.map_or((0, Header::NO_PREV), |chain| (chain.head_seq, chain.head_hash));
        Self { key, row: chain.map(|chain| chain.row), head }
    }
}

impl Engine {
    /// Seals the pending changes of a workspace's documents.
    pub(super) fn seal_workspace(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if !std::mem::take(&mut channel.has_changes) {
            return Ok(());
        }
        let Some(workspace) = self.workspaces.get(&at.1) else {
            return Ok(());
        };
        let unsealed: Vec<(i64, Stream)> = workspace.unsealed.iter().copied().collect();
        if !unsealed.is_empty() && workspace.needs_rotation() {
            self.heal_heads(now, at.1, tx)?;
        }
        for (document, stream) in unsealed {
            self.seal_document(now, at, document, stream, tx)?;
        }
        Ok(())
    }

    /// Notes that changes which waited for an epoch can be sealed now.
    pub(super) fn seal_again(&mut self, at: (i64, i64)) {
        let Some(workspace) = self.workspaces.get(&at.1) else {
            return;
        };
        let waited = !workspace.unsealed.is_empty() && workspace.sealing().is_some();
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.has_changes |= waited;
        }
    }

    /// Returns the chain in which this device writes a stream of a document.
    fn own_chain(&self, row: &DocumentRow, stream: Stream) -> ChainKey {
        let incarnation = self.incarnation_in(row.workspace);
        ChainKey { document: row.tag, stream, device: self.device.id(), incarnation }
    }

    /// Seals all pending changes of a workspace, whether a session is level or not: this device's keys go.
    pub(crate) fn seal_all(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(workspace) = self.workspaces.get(&row) else {
            return Ok(());
        };
        let unsealed: Vec<(i64, Stream)> = workspace.unsealed.iter().copied().collect();
        if !unsealed.is_empty() && workspace.needs_rotation() {
            self.heal_heads(now, row, tx)?;
        }
        for (document, stream) in unsealed {
            self.seal_document(now, (NO_RELAY, row), document, stream, tx)?;
        }
        Ok(())
    }

    fn seal_document(
        &mut self,
        now: Now,
        at: (i64, i64),
        document: i64,
        stream: Stream,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(row) = tx.document_by_row(document)? else {
            return Ok(());
        };
        let key = self.own_chain(&row, stream);
        let chain = tx.chain_by_key(document, &key)?.map(|(chain, _)| chain);
        if let (Some(chain), Some(relay)) = (&chain, self.relays.get_mut(&at.0))
            && relay.channel_mut(at.1).is_some_and(|channel| channel.is_in_flight(chain.row))
        {
            return Ok(());
        }
        let Some(workspace) = self.workspaces.get(&at.1) else {
            return Ok(());
        };
        let may = workspace.role(&self.device).is_some_and(|role| role.may_write(stream));
        if !may || workspace.sealing().is_none() {
            return Ok(());
        }
        let Some(Pending { rows, damaged }) = self.pending_to_seal(now, &row, stream, tx)? else {
            return Ok(());
        };
        let sealed: Vec<i64> = rows.iter().map(|pending| pending.row).collect();
        let (chain, head_seq) = self.seal_pending(now, &row, key, chain, rows, tx)?;
        let arrived = self.retire_pending(at.1, (document, stream), sealed, &damaged, tx)?;
        self.note_sealed(document, arrived, (chain, head_seq), tx)?;
        self.owe(at.1, (document, chain));
        self.note_entry(document, tx)
    }

    /// Notes that something of a document was sealed, which no relay has yet.
    fn owe(&mut self, workspace: i64, (document, chain): (i64, i64)) {
        self.touched.insert(document);
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                channel.unplaced.insert(chain);
            }
        }
    }

    /// Returns what there is to seal of a document, all of it this life's own.
    fn pending_to_seal(
        &mut self,
        now: Now,
        row: &DocumentRow,
        stream: Stream,
        tx: &Tx<'_>,
    ) -> Result<Option<Pending>, StoreError> {
        if row.about.is_none() || !self.reauthor_pending(now, row, stream, tx)? {
            return Ok(None);
        }
        let pending = tx.pending_of_document(row.row, stream)?;
        self.note_damaged_changes(row, pending.damaged.len());
        Ok(Some(pending).filter(|pending| !pending.rows.is_empty()))
    }

    /// Deletes the changes that an entry carries now, and none that the disk has changed; returns up to
    /// which row all is sealed: who waits for a damaged one is not told that it has arrived.
    fn retire_pending(
        &mut self,
        workspace: i64,
        of: (i64, Stream),
        sealed: Vec<i64>,
        damaged: &[i64],
        tx: &Tx<'_>,
    ) -> Result<i64, StoreError> {
        let last = sealed.last().copied().unwrap_or(0);
        if let Some(first) = damaged.first() {
            sealed.into_iter().try_for_each(|pending| tx.delete_pending_row(pending))?;
            return Ok(last.min(first - 1));
        }
        tx.delete_pending(of.0, of.1, last)?;
        if let Some(workspace) = self.workspaces.get_mut(&workspace) {
            workspace.unsealed.remove(&of);
        }
        Ok(last)
    }

    /// Seals pending changes into as many entries as they need; returns the chain and its new head.
    fn seal_pending(
        &mut self,
        now: Now,
        row: &DocumentRow,
        key: ChainKey,
        chain: Option<ChainRow>,
        pending: Vec<PendingRow>,
        tx: &Tx<'_>,
    ) -> Result<(i64, u64), StoreError> {
        let mut deps = self.dependencies(row, chain.as_ref(), key.stream, tx)?;
        let named: Vec<_> = deps.0.iter().map(|dep| dep.chain).collect();
        let mut creation = self.creation(row, tx)?;
        let mut end = ChainEnd::of(key, chain.as_ref());
        let crdt = row.about.as_ref().map_or(0, |about| about.crdt);
        for chunk in chunks(self.fold_pending(row, pending, tx)?, now) {
            let mut flags = if creation.is_some() { EntryFlags::CREATION } else { EntryFlags::NONE };
            if chunk.continues {
                flags = flags.with(EntryFlags::CONTINUES);
            }
            let body = Body {
                creation: creation.take(),
                crdt,
                instance: chunk.instance,
                wall_ms: chunk.wall_ms,
                deps: std::mem::take(&mut deps.0),
                changes: chunk.changes,
            };
            self.seal_behind(row, &mut end, (EntryKind::Changes, flags, Vec::new()), &body, tx)?;
        }
        let written = end.row.ok_or(StoreError::Corrupt { table: "pending" })?;
        self.sealed_on(row, named.into_iter());
        deps.1.into_iter().try_for_each(|(other, seq)| tx.set_dependency(written, other, seq))?;
        Ok((written, end.head.0))
    }

    /// Seals an entry behind the end of a chain of this device, stores it, and moves the end there.
    fn seal_behind(
        &mut self,
        row: &DocumentRow,
        end: &mut ChainEnd,
        what: (EntryKind, EntryFlags, Vec<u8>),
        body: &Body,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let entry = self.seal_entry(row, end.key, what, end.head, body)?;
        let next = (entry.header().seq, entry.hash(), entry.header().members_head);
        let chain = match end.row {
            Some(chain) => tx.move_chain(chain, next).map(|()| chain)?,
            None => tx.insert_chain(row.workspace, row.row, &end.key, next)?,
        };
        tx.insert_entry(chain, &entry, EntryState::Proven)?;
        (end.row, end.head) = (Some(chain), (next.0, next.1));
        Ok(())
    }

    fn seal_entry(
        &mut self,
        row: &DocumentRow,
        chain: ChainKey,
        (kind, flags, clear): (EntryKind, EntryFlags, Vec<u8>),
        head: (u64, EntryHash),
        body: &Body,
    ) -> Result<Entry, StoreError> {
        const UNSEALABLE: StoreError = StoreError::Corrupt { table: "pending" };
        let workspace = self.workspaces.get(&row.workspace).ok_or(UNSEALABLE)?;
        let (members_head, keys): (RecordId, _) = workspace.sealing().ok_or(UNSEALABLE)?;
        let draft = EntryDraft {
            kind,
            flags,
            workspace: workspace.tag,
            chain,
            seq: head.0 + 1,
            prev: head.1,
            members_head,
            clear,
        };
        let body = body.encode().map_err(|_| UNSEALABLE)?;
        keys.seal_entry(draft, &body, &self.device, self.entropy.as_mut()).map_err(|_| UNSEALABLE)
    }

    /// Returns the entries of other chains that this device has seen since its own last entry.
    #[expect(clippy::type_complexity, reason = "dependencies, and the rows that remember them")]
    fn dependencies(
        &self,
        row: &DocumentRow,
        chain: Option<&ChainRow>,
        stream: Stream,
        tx: &Tx<'_>,
    ) -> Result<(Vec<Dep>, Vec<(i64, u64)>), StoreError> {
        let own = chain.map_or(0, |chain| chain.row);
        let mut others = tx.dependencies_since(own, row.row, stream)?;
        others.truncate(DEPS_MAX);
        let dep = |(id, other): &(_, ChainRow)| Dep {
            chain: *id,
            seq: other.head_seq,
            hash_prefix: prefix(other.head_hash.as_bytes()),
        };
        let mut deps: Vec<Dep> = others.iter().map(dep).collect();
        // Of a chain with two branches the one that counts goes on behind what both have in common.
        deps.sort_by_key(|dep| (dep.chain, std::cmp::Reverse(dep.seq)));
        deps.dedup_by_key(|dep| dep.chain);
        Ok((deps, others.iter().map(|(_, other)| (other.row, other.head_seq)).collect()))
    }

    /// Returns what the very first entry of a document by the device that made it says of its creation, whatever
    /// others have written into it before.
    fn creation(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Option<Creation>, StoreError> {
        let own = self.device.id();
        let is_own = |about: &&About| {
            let app_type = about.app_type.as_bytes();
            DocumentId::derive(&own, about.incarnation, &about.random, about.crdt, app_type) == about.id
        };
        let Some(about) = row.about.as_ref().filter(is_own) else {
            return Ok(None);
        };
        if tx.chains_of_document(row.row)?.iter().any(|(_, device, _)| *device == own) {
            return Ok(None);
        }
        let app_type = about.app_type.clone();
        Ok(Some(Creation { incarnation: about.incarnation, random: about.random, app_type }))
    }
}

/// Divides pending changes into the entries they need: one instance each, and not too large.
fn chunks(pending: Vec<PendingRow>, now: Now) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for row in pending {
        if row.change.len() > CHUNK_BYTES_MAX {
            let parts: Vec<Vec<u8>> = row.change.chunks(CHUNK_BYTES_MAX).map(<[u8]>::to_vec).collect();
            let last = parts.len() - 1;
            for (nth, part) in parts.into_iter().enumerate() {
                let mut chunk = Chunk::new(row.instance, row.wall_ms);
                chunk.add(part);
                chunk.continues = nth < last;
                chunk.bytes = CHUNK_BYTES_MAX;
                chunks.push(chunk);
            }
            continue;
        }
        let fits = |chunk: &&mut Chunk| {
            chunk.instance == row.instance
                && chunk.bytes + row.change.len() <= CHUNK_BYTES_MAX
                && chunk.changes.len() < CHANGES_MAX
        };
        match chunks.last_mut().filter(fits) {
            Some(chunk) => chunk.add(row.change),
            None if row.change.is_empty() => {}
            None => {
                let mut chunk = Chunk::new(row.instance, row.wall_ms);
                chunk.add(row.change);
                chunks.push(chunk);
            }
        }
    }
    if chunks.is_empty() {
        // Only the creation of a document that nobody has written into.
        chunks.push(Chunk::new(Instance(0), now.wall_ms));
    }
    chunks
}

impl Chunk {
    fn new(instance: Instance, wall_ms: i64) -> Self {
        Self { instance, wall_ms, changes: Vec::new(), bytes: 0, continues: false }
    }

    fn add(&mut self, change: Vec<u8>) {
        if !change.is_empty() {
            self.bytes += change.len();
            self.changes.push(change);
        }
    }
}

fn prefix(digest: &Digest) -> [u8; 8] {
    let mut prefix = [0; 8];
    for (to, from) in prefix.iter_mut().zip(digest) {
        *to = *from;
    }
    prefix
}
