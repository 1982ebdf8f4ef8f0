//! Building a document from the work of its entries, and finding what stands in the way.
//!
//! Invariant: the same admitted entries build the same document, whatever the order of their arrival;
//! foreign work that was never looked into must also encode and reload.

use std::collections::BTreeMap;

use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo_protocol::hash::hash;
use tombolo_protocol::ids::{ChainKey, DeviceId, DocumentId, Instance, Stream};

use super::Engine;
use crate::document::{
    Actor, ApplyReason, Crdt, DocumentError, Encoder, ForeignChange, OpenDocument, PatchMode, trial,
};
use crate::store::{DocumentRow, EntryState, StoreError, Tx};
use crate::workspace::Workspace;

/// The work of one entry, opened: its changes, and where they came from.
pub(super) struct Piece {
    pub(super) arrival: i64,
    pub(super) state: EntryState,
    pub(super) author: DeviceId,
    pub(super) actor: Option<Actor>,
    pub(super) changes: Vec<Vec<u8>>,
    pub(super) entry: Entry,
}

/// Which piece stands in the way of building a document, and why.
pub(super) struct Blame {
    pub(super) piece: usize,
    pub(super) reason: ApplyReason,
}

/// Builds a document, on a snapshot's state if one stands for what is not here; foreign work that was never looked into must
/// also encode and reload.
pub(super) fn build(
    (crdt, actor): (Crdt, Actor),
    base: Option<&[u8]>,
    pieces: &[Piece],
    own: &[Vec<u8>],
) -> Result<OpenDocument, Option<Blame>> {
    let mut changes = foreign(pieces);
    changes.extend(own.iter().map(|bytes| ForeignChange { bytes, actor: None }));
    let document = match begin(crdt, actor, base, &changes) {
        Ok(document) => document,
        Err(DocumentError::Change { index, reason }) => {
            return Err(index.and_then(|index| piece_of(pieces, index)).map(|piece| Blame { piece, reason }));
        }
    };
    let unproven = pieces.iter().any(|piece| piece.state == EntryState::Stored);
    if unproven && document.verify().is_err() {
        return Err(None);
    }
    Ok(document)
}

/// Makes a document of changes, on a snapshot's state if there is one.
fn begin(
    crdt: Crdt,
    actor: Actor,
    base: Option<&[u8]>,
    changes: &[ForeignChange<'_>],
) -> Result<OpenDocument, DocumentError> {
    match base {
        Some(base) => Encoder::of(crdt).go_on(base, actor, changes),
        None => OpenDocument::load(crdt, actor, changes),
    }
}

/// Finds the piece that a build fails on: by trial, and if all pass, by applying one after the other.
pub(super) fn find_culprit((crdt, actor): (Crdt, Actor), base: Option<&[u8]>, pieces: &[Piece]) -> Option<Blame> {
    for (piece, candidate) in pieces.iter().enumerate().filter(|(_, piece)| piece.state == EntryState::Stored) {
        for change in &candidate.changes {
            if let Err(poison) = trial(crdt, change, candidate.actor) {
                return Some(Blame { piece, reason: poison.0 });
            }
        }
    }
    let mut document = begin(crdt, actor, base, &[]).ok()?;
    for (piece, candidate) in pieces.iter().enumerate() {
        let one = foreign(std::slice::from_ref(candidate));
        let applied = document.apply(&one, PatchMode::Off).map_err(|error| error.reason);
        if let Err(reason) = applied.and_then(|_| document.verify()) {
            return Some(Blame { piece, reason });
        }
    }
    None
}

pub(super) fn foreign(pieces: &[Piece]) -> Vec<ForeignChange<'_>> {
    let of = |piece: &'_ Piece| piece.actor.filter(|_| piece.state == EntryState::Stored);
    let changes = pieces.iter().flat_map(|piece| piece.changes.iter().map(move |bytes| (bytes, of(piece))));
    changes.map(|(bytes, actor)| ForeignChange { bytes, actor }).collect()
}

pub(super) fn piece_of(pieces: &[Piece], change: usize) -> Option<usize> {
    let mut seen = 0;
    pieces.iter().position(|piece| {
        seen += piece.changes.len();
        change < seen
    })
}

/// Puts the parts of a large change together; the changes of an entry that is no part stay as they are. The parts of a
/// snapshot are no change, and a change that one of them interrupts lacks its end for good.
pub(super) fn join_parts(
    parts: &mut BTreeMap<ChainKey, Vec<u8>>,
    entry: &Entry,
    changes: Vec<Vec<u8>>,
) -> Vec<Vec<u8>> {
    let chain = entry.header().chain;
    let continues = entry.header().flags.has(EntryFlags::CONTINUES);
    let begun = parts.remove(&chain);
    if entry.header().kind == EntryKind::Snapshot {
        return Vec::new();
    }
    match begun {
        None if !continues => changes,
        begun => {
            let mut whole = begun.unwrap_or_default();
            whole.extend(changes.into_iter().flatten());
            if continues {
                parts.insert(chain, whole);
                return Vec::new();
            }
            vec![whole]
        }
    }
}

impl Engine {
    /// Returns the changes that this device made and that no entry carries yet, unless they are kept aside: who may
    /// not write any more sees what the others see.
    pub(super) fn own_changes(&mut self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Vec<Vec<u8>>, StoreError> {
        let own = self.pending_changes(row, tx)?;
        let kept = self.workspaces.get(&row.workspace).is_some_and(Workspace::keeps_own_aside);
        Ok(if kept { Vec::new() } else { own })
    }

    /// Returns the changes that this device made and that no entry carries yet, whether they count or not.
    pub(super) fn pending_changes(&mut self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Vec<Vec<u8>>, StoreError> {
        let pending = tx.pending_of_document(row.row, Stream::CONTENT)?;
        self.note_damaged_changes(row, pending.damaged.len());
        Ok(pending.rows.into_iter().map(|pending| pending.change).filter(|change| !change.is_empty()).collect())
    }

    /// Returns the actor under which this device writes a document in one instance.
    pub(crate) fn own_actor(&self, workspace: i64, document: &DocumentId, instance: Instance) -> Actor {
        let chain = ChainKey {
            document: tombolo_protocol::ids::DocumentTag::from_bytes([0; 16]),
            stream: Stream::CONTENT,
            device: self.device.id(),
            incarnation: self.incarnation_in(workspace),
        };
        derive_actor(&chain, document, instance)
    }
}

/// Returns the actor under which an instance in a life of a device writes a document.
pub(crate) fn derive_actor(chain: &ChainKey, document: &DocumentId, instance: Instance) -> Actor {
    let parts: [&[u8]; 5] = [
        chain.device.as_bytes(),
        &chain.incarnation.0.to_be_bytes(),
        document.as_bytes(),
        &[chain.stream.0],
        &instance.0.to_be_bytes(),
    ];
    let digest = hash("actor", &parts);
    let mut actor = [0; 16];
    for (to, from) in actor.iter_mut().zip(digest) {
        *to = from;
    }
    Actor::from_bytes(actor)
}
