//! Vouching for another's snapshot: making its state again, and saying so, or setting it aside.
//!
//! Invariant: a device says that a state is right only if it has made the same bytes of entries that it holds, which
//! all count, and of the snapshot that it goes on from, which the device has made too or has nothing below of; where it lacks
//! one of them, or knows another way of encoding, it says nothing. A false one is set aside and changes nothing: its entry
//! stays in its chain, and what it claims to cover stays as it is.

use tombolo_crypto::Body;
use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo_protocol::ids::Stream;
use tombolo_protocol::limits::CHANGE_BYTES_MAX;
use tombolo_protocol::snapshot::{Attest, Cover};

use super::base::Base;
use super::{creation_of, payload};
use crate::document::{Crdt, Encoder};
use crate::engine::counting::OpenedEntry;
use crate::engine::{Engine, Now};
use crate::store::{About, DocumentRow, StoreError, Tx};
use crate::sync::reason::SetAsideReason;

/// What making a snapshot's state again has shown.
#[derive(PartialEq, Eq)]
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

    /// Makes the newest snapshot of a document again, after those that it goes on from: one a turn, for a member may publish
    /// many.
    fn check_newest(&mut self, now: Now, row: &DocumentRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some((chain, last)) = self.next_to_check(row, tx)? else {
            return Ok(());
        };
        let is_right = self.make_again(now, row, (chain, &last), tx)?;
        // Who may not vouch leaves what goes on from it.
        if is_right && self.has_made(row, &last) {
            self.findings.to_check.insert(row.row);
            self.wake_channels(row.workspace);
        }
        Ok(())
    }

    /// Makes the state of a snapshot again, and vouches for it or sets it aside; returns whether it is known to be right.
    pub(super) fn make_again(
        &mut self,
        now: Now,
        row: &DocumentRow,
        (chain, last): (i64, &Entry),
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let verdict = self.judge_snapshot(now, row, (chain, last), tx)?;
        match verdict {
            Verdict::Same => self.vouch(row.workspace, last, tx)?,
            Verdict::Other => {
                self.set_entry_aside(now, row, last, None, SetAsideReason::SnapshotMismatch, tx)?;
                self.build_without(now, row, tx)?;
            }
            Verdict::Unknown => {}
        }
        Ok(verdict == Verdict::Same)
    }

    /// Returns the newest snapshot of a document, or the first of those that it goes on from of which this device has said
    /// nothing and has what is below.
    fn next_to_check(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Option<(i64, Entry)>, StoreError> {
        let holds_all = tx.horizon(row.row)?.is_none();
        let mut next = None;
        let mut found = tx.newest_snapshot(row.row, |_| Ok(true))?;
        while let Some((chain, last)) = found {
            if self.has_judged(row, &last, tx)? {
                break;
            }
            found = match Cover::decode(last.clear()) {
                Ok(cover) if holds_all => self.named_by(row, &cover, tx)?,
                _ => None,
            };
            next = Some((chain, last));
        }
        Ok(next)
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
        let base = self.base_of(row, &cover, tx)?;
        if base.is_none() && cover.base.is_some() || !cover.excluded.is_empty() {
            return Ok(Verdict::Unknown);
        }
        let Some((about, opened)) = self.open_above(now, row, base.as_ref(), tx)? else {
            return Ok(Verdict::Unknown);
        };
        let encoder = Crdt::from_u8(about.crdt).map(Encoder::of).filter(|encoder| encoder.as_u8() == cover.encoder);
        let covered = covered(base.as_ref(), opened, &cover);
        let before = self.payload_of(row, base.as_ref(), tx)?;
        let (Some(encoder), Some(covered), Some(before)) = (encoder, covered, before) else {
            return Ok(Verdict::Unknown);
        };
        let Some(bodies) = self.parts_of(row.workspace, (chain, last), tx)? else {
            return Ok(Verdict::Unknown);
        };
        let Some(ours) = payload(encoder, &about, &before, covered) else {
            return Ok(Verdict::Unknown);
        };
        let is_same = says(&bodies, &about) && carried(&bodies) == ours;
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

/// Returns the entries that a cover names above its base; `None` unless all of them are here, up to the very entries it
/// names.
fn covered(base: Option<&Base>, opened: Vec<OpenedEntry>, cover: &Cover) -> Option<Vec<OpenedEntry>> {
    let is_covered = |one: &OpenedEntry| {
        let header = one.entry.header();
        cover.chains.get(&header.chain.id()).is_some_and(|(seq, _)| header.seq <= *seq)
    };
    let covered: Vec<OpenedEntry> = opened.into_iter().filter(is_covered).collect();
    let is_all = super::ends(base, &covered) == cover.chains && super::is_without_gaps(base, &covered);
    is_all.then_some(covered)
}

/// Puts together what the parts of a snapshot carry.
pub(in crate::engine) fn carried(bodies: &[Body]) -> Vec<u8> {
    bodies.iter().flat_map(|body| &body.changes).flatten().copied().collect()
}

/// Tells whether a snapshot's first part says what the document is, as its first entry does.
pub(in crate::engine) fn says(bodies: &[Body], about: &About) -> bool {
    let first = bodies.first().is_some_and(|first| first.creation == Some(creation_of(about)));
    first && bodies.iter().all(|body| body.crdt == about.crdt)
}
