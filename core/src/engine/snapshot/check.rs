//! Vouching for another's snapshot: making its state again, and saying so, or setting it aside.
//!
//! Invariant: a device says that a state is right only if it has made the same bytes of entries that it holds, which
//! all count; where it lacks one of them, or knows another way of encoding, it says nothing. A false one is set aside
//! and changes nothing: its entry stays in its chain, and what it claims to cover stays as it is.

use tombolo_crypto::Body;
use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo_protocol::ids::Stream;
use tombolo_protocol::limits::CHANGE_BYTES_MAX;
use tombolo_protocol::snapshot::{Attest, Cover};

use super::{creation_of, payload};
use crate::document::{Crdt, Encoder};
use crate::engine::counting::OpenedEntry;
use crate::engine::{Engine, Now};
use crate::store::{About, DocumentRow, StoreError, Tx};
use crate::sync::reason::SetAsideReason;

/// What making a snapshot's state again has shown.
enum Verdict {
    Same,
    Other,
    /// Something is missing that it takes to say.
    Unknown,
}

impl Engine {
    /// Notes that another's newest snapshot of a document is to be made again, if this device has not said anything of
    /// it and vouches at all.
    pub(super) fn plan_check(&mut self, row: &DocumentRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some((_, last)) = tx.newest_snapshot(row.row, |_| Ok(true))? else {
            return Ok(());
        };
        if !self.has_judged(row, &last, tx)? {
            self.findings.to_check.insert(row.row);
            self.wake_channels(row.workspace);
        }
        Ok(())
    }

    /// Tells whether this device made a snapshot, has vouched for it, or has set it aside.
    fn has_judged(&self, row: &DocumentRow, last: &Entry, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let code = SetAsideReason::SnapshotMismatch.code();
        Ok(self.has_made(row, last) || tx.is_set_aside(row.workspace, &last.hash(), code)?)
    }

    /// Tells whether this device has made the state of a snapshot, as its author or to vouch for it.
    pub(super) fn has_made(&self, row: &DocumentRow, last: &Entry) -> bool {
        let (own, hash) = (self.device.id(), last.hash());
        let has_said = self.workspaces.get(&row.workspace).is_some_and(|held| held.attests.has(&hash, &own));
        last.header().chain.device == own || has_said
    }

    /// Makes the snapshots of a workspace again that wait for it, and says what came of it.
    pub(crate) fn check_due(&mut self, now: Now, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        for document in self.findings.to_check.clone() {
            let row = tx.document_by_row(document)?;
            if let Some(row) = row.filter(|row| row.workspace == workspace) {
                self.findings.to_check.remove(&document);
                self.check_newest(now, &row, tx)?;
            }
        }
        Ok(())
    }

    fn check_newest(&mut self, now: Now, row: &DocumentRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        let newest = tx.newest_snapshot(row.row, |_| Ok(true))?;
        let Some((chain, last)) = newest else {
            return Ok(());
        };
        if self.has_judged(row, &last, tx)? {
            return Ok(());
        }
        match self.judge_snapshot(now, row, (chain, &last), tx)? {
            Verdict::Same => self.vouch(row.workspace, &last, tx),
            Verdict::Other => {
                self.set_entry_aside(now, row, &last, None, SetAsideReason::SnapshotMismatch, tx)?;
                self.build_without(now, row, tx)
            }
            Verdict::Unknown => Ok(()),
        }
    }

    /// Builds a document anew that may have been opened from a snapshot which is set aside now.
    fn build_without(&mut self, now: Now, row: &DocumentRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.findings.to_save.remove(row.row);
        tx.delete_saved(row.row)?;
        if self.documents.is_open(row.row) { self.reopen(now, row, tx) } else { Ok(()) }
    }

    fn vouch(&mut self, workspace: i64, last: &Entry, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(());
        };
        let may = held.role(&self.device).is_some_and(|role| role.may_write(Stream::CONTENT));
        let Some((head, _)) = held.sealing().filter(|_| may) else {
            return Ok(());
        };
        let attest = Attest::sign(held.id, last.hash(), self.device.id(), head, self.device.sign_key());
        self.keep_attest(workspace, attest, tx)?;
        self.wake_channels(workspace);
        Ok(())
    }

    fn judge_snapshot(
        &mut self,
        now: Now,
        row: &DocumentRow,
        (chain, last): (i64, &Entry),
        tx: &Tx<'_>,
    ) -> Result<Verdict, StoreError> {
        let Ok(cover) = Cover::decode(last.clear()) else {
            return Ok(Verdict::Other);
        };
        let Some((about, opened)) = self.open_whole(now, row, tx)? else {
            return Ok(Verdict::Unknown);
        };
        let encoder = Crdt::from_u8(about.crdt).map(Encoder::of).filter(|encoder| encoder.as_u8() == cover.encoder);
        let Some(encoder) = encoder.filter(|_| cover.base.is_none() && cover.excluded.is_empty()) else {
            return Ok(Verdict::Unknown);
        };
        let Some(covered) = covered(opened, &cover) else {
            return Ok(Verdict::Unknown);
        };
        let Some(bodies) = self.parts_of(row.workspace, (chain, last), tx)? else {
            return Ok(Verdict::Unknown);
        };
        let Some(ours) = payload(encoder, &about, covered) else {
            return Ok(Verdict::Unknown);
        };
        let is_same = says(&bodies, &about) && bodies.iter().flat_map(|body| &body.changes).flatten().eq(ours.iter());
        Ok(if is_same { Verdict::Same } else { Verdict::Other })
    }

    /// Opens the parts of a snapshot, from the first to the last; `None` if one can not be opened now.
    pub(in crate::engine) fn parts_of(
        &self,
        workspace: i64,
        (chain, last): (i64, &Entry),
        tx: &Tx<'_>,
    ) -> Result<Option<Vec<Body>>, StoreError> {
        let (mut bodies, mut bytes) = (Vec::new(), 0);
        let mut part = Some(last.clone());
        while let Some(entry) = part {
            let Some(body) = self.open_part(workspace, &entry) else {
                return Ok(None);
            };
            bytes += body.changes.iter().map(Vec::len).sum::<usize>();
            bodies.push(body);
            if bytes > CHANGE_BYTES_MAX {
                return Ok(None);
            }
            let before = if entry.header().seq > 1 { tx.entry(chain, entry.header().seq - 1)? } else { None };
            part = before.filter(|before| {
                let header = before.header();
                header.kind == EntryKind::Snapshot && header.flags.has(EntryFlags::CONTINUES)
            });
        }
        bodies.reverse();
        Ok(Some(bodies))
    }

    fn open_part(&self, workspace: i64, entry: &Entry) -> Option<Body> {
        let held = self.workspaces.get(&workspace)?.epochs.get(&entry.header().epoch)?;
        Body::decode(&held.keys.open_entry(entry).ok()?).ok()
    }
}

/// Returns the entries that a cover names; `None` unless all of them are here, up to the very entries it names.
fn covered(opened: Vec<OpenedEntry>, cover: &Cover) -> Option<Vec<OpenedEntry>> {
    let is_covered = |one: &OpenedEntry| {
        let header = one.entry.header();
        cover.chains.get(&header.chain.id()).is_some_and(|(seq, _)| header.seq <= *seq)
    };
    let covered: Vec<OpenedEntry> = opened.into_iter().filter(is_covered).collect();
    (super::ends(&covered) == cover.chains && super::is_without_gaps(&covered)).then_some(covered)
}

/// Tells whether a snapshot's first part says what the document is, as its first entry does.
pub(in crate::engine) fn says(bodies: &[Body], about: &About) -> bool {
    let first = bodies.first().is_some_and(|first| first.creation == Some(creation_of(about)));
    first && bodies.iter().all(|body| body.crdt == about.crdt)
}
