//! A yrs document: how the common model lies on yrs, and how changes enter and leave.
//!
//! The root is the root map named [`ROOT_NAME`]; `docs/document-model.md` describes the rest. Text
//! counts UTF-16. A change is one update in the v1 encoding. Yrs cannot roll a transaction back, so
//! a failed edit that had begun to write is undone by rebuilding the document without it.

mod patches;
mod reader;
mod scan;
mod session;
mod value;

use std::sync::Arc;

pub use ::yrs::TransactionMut;
use ::yrs::updates::decoder::Decode;
use ::yrs::updates::encoder::{Encode, Encoder, EncoderV1};
use ::yrs::{
    ClientID, DeepObservable, Doc, IdSet, MapRef, OffsetKind, Options, ReadTxn, StateVector,
    Transact, Update,
};

use self::session::YrsSession;
pub(super) use self::value::YrsView;
use super::poison::guarded;
use super::text::may_hold_pairs;
use super::view::{Inner as ViewInner, View};
use super::{
    Actor, ApplyError, ApplyReason, DEPTH_MAX, DocumentError, EditError, Edited, ForeignChange,
    LocalChange, MapEdit, Patch, PatchMode, Version,
};

pub(super) struct YrsDocument {
    document: Doc,
    root: MapRef,
    actor: Actor,
    damaged: bool,
    /// Whether any text may hold a character of two UTF-16 code units.
    pairs: bool,
    /// How deep containers may nest at most; a walk makes it exact when it grows too far.
    depth_bound: usize,
    /// How deep the containers nest that wait for changes they depend on.
    pending_nesting: usize,
    applied_bytes: usize,
}

impl YrsDocument {
    pub(super) fn new(actor: Actor) -> Self {
        let guid = Arc::from("tombolo");
        let mut options = Options::with_guid_and_client_id(guid, ClientID::new(actor.client_id()));
        options.offset_kind = OffsetKind::Utf16;
        options.cleanup_formatting = false;
        let document = Doc::with_options(options);
        let root = document.get_or_insert_map(ROOT_NAME);
        Self {
            document,
            root,
            actor,
            damaged: false,
            pairs: false,
            depth_bound: 0,
            pending_nesting: 0,
            applied_bytes: 0,
        }
    }

    pub(super) fn load(actor: Actor, changes: &[&[u8]]) -> Result<Self, DocumentError> {
        let mut loaded = Self::new(actor);
        for (batch, changes) in changes.chunks(LOAD_BATCH).enumerate() {
            let changes: Vec<_> = changes
                .iter()
                .map(|bytes| ForeignChange { bytes, actor: None })
                .collect();
            loaded
                .apply(&changes, PatchMode::Off)
                .map_err(|error| DocumentError::Change {
                    index: error.index.map(|index| batch * LOAD_BATCH + index),
                    reason: error.reason,
                })?;
        }
        Ok(loaded)
    }

    pub(super) fn actor(&self) -> Actor {
        self.actor
    }

    pub(super) fn set_actor(&mut self, actor: Actor) -> Result<(), EditError> {
        if self.damaged || self.document.transact().has_missing_updates() {
            return Err(EditError::ReloadRequired);
        }
        let bytes = self
            .document
            .transact()
            .encode_state_as_update_v1(&StateVector::default());
        self.rebuild(actor, &bytes)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    pub(super) fn applied_bytes(&self) -> usize {
        self.applied_bytes
    }

    /// The canonical form of a snapshot: clients and ranges in order, fixed-width numbers.
    pub(super) fn version(&self) -> Version {
        let snapshot = self.document.transact().snapshot();
        let clocks = clocks(&snapshot.state_map);
        let mut deleted: Vec<_> = snapshot
            .delete_set
            .iter()
            .flat_map(|(client, ranges)| {
                ranges
                    .iter()
                    .map(|range| (client.get(), range.start, range.end))
            })
            .collect();
        deleted.sort_unstable();
        let mut bytes = (clocks.len() as u32).to_be_bytes().to_vec();
        for (client, clock) in clocks {
            bytes.extend(client.to_be_bytes());
            bytes.extend(clock.to_be_bytes());
        }
        for (client, start, end) in deleted {
            bytes.extend(client.to_be_bytes());
            bytes.extend(start.to_be_bytes());
            bytes.extend(end.to_be_bytes());
        }
        Version(bytes)
    }

    pub(super) fn read(&self) -> View<'_> {
        View(if self.damaged {
            ViewInner::Damaged
        } else {
            ViewInner::Yrs(YrsView::new(self.document.transact(), &self.root))
        })
    }

    pub(super) fn edit<R>(
        &mut self,
        patches: PatchMode,
        closure: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        let (pairs, root, actor) = (self.pairs, self.root.clone(), self.actor);
        let mut pairs_after = pairs;
        let mut deepest = 0;
        let edited = self.transact(patches, |transaction| {
            let mut session = YrsSession::new(transaction, root, actor, pairs);
            let result = closure(&mut MapEdit::root(&mut session))?;
            (pairs_after, deepest) = session.finish();
            Ok(result)
        })?;
        self.pairs = pairs_after;
        self.depth_bound = self.depth_bound.max(deepest);
        Ok(edited)
    }

    /// Runs the native escape hatch, whose work is scanned afterwards for its depth.
    pub(super) fn native<R>(
        &mut self,
        mode: PatchMode,
        closure: impl FnOnce(&mut TransactionMut<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        let edited = self.transact(mode, closure)?;
        if let Some(change) = &edited.change {
            self.pairs = self.pairs || may_hold_pairs(&change.bytes);
            self.depth_bound += scan::check(&change.bytes).map_or(DEPTH_MAX, |shape| shape.nesting);
        }
        Ok(edited)
    }

    fn transact<R>(
        &mut self,
        mode: PatchMode,
        closure: impl FnOnce(&mut TransactionMut<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        if self.damaged {
            return Err(EditError::ReloadRequired);
        }
        let collected = self.observe(mode);
        let document = self.document.clone();
        let mut transaction = document.transact_mut();
        let outcome = guarded(|| closure(&mut transaction)).unwrap_or(Err(EditError::Panicked));
        let own = ClientID::new(self.actor.client_id());
        let foreign = transaction
            .insert_set()
            .iter()
            .any(|(client, _)| *client != own);
        let result = match outcome {
            Ok(result) if !foreign => result,
            outcome => {
                let error = outcome.err().unwrap_or(EditError::ForeignChange);
                self.unobserve(mode);
                self.undo(transaction);
                return Err(error);
            }
        };
        let bytes = transaction
            .has_changes()
            .then(|| transaction.encode_update_v1());
        if guarded(|| drop(transaction)).is_err() {
            self.damaged = true;
            return Err(EditError::ReloadRequired);
        }
        self.unobserve(mode);
        self.applied_bytes = self
            .applied_bytes
            .saturating_add(bytes.as_ref().map_or(0, Vec::len));
        Ok(Edited {
            result,
            change: bytes.map(|bytes| LocalChange { bytes }),
            patches: patches::take(&collected),
        })
    }

    pub(super) fn apply(
        &mut self,
        changes: &[ForeignChange<'_>],
        mode: PatchMode,
    ) -> Result<Vec<Patch>, ApplyError> {
        if self.damaged {
            return Err(ApplyError {
                index: None,
                reason: ApplyReason::ReloadRequired,
            });
        }
        let mut decoded = Vec::with_capacity(changes.len());
        let mut nesting = 0;
        for (index, change) in changes.iter().enumerate() {
            let (update, depth) = decode(change).map_err(|reason| ApplyError {
                index: Some(index),
                reason,
            })?;
            decoded.push(update);
            nesting += depth;
        }
        if self.depth_bound + nesting > DEPTH_BOUND_MAX {
            self.depth_bound = self.deepest() + self.pending_nesting;
        }
        if self.depth_bound + nesting > DEPTH_BOUND_MAX {
            return self.apply_halves(changes, mode);
        }
        let collected = self.observe(mode);
        let applied = self.integrate(decoded);
        self.unobserve(mode);
        let index = (changes.len() == 1).then_some(0);
        if let Err(reason) = applied.and_then(|()| self.bound_depth(nesting)) {
            self.damaged = true;
            return Err(ApplyError { index, reason });
        }
        for change in changes {
            self.pairs = self.pairs || may_hold_pairs(change.bytes);
            self.applied_bytes = self.applied_bytes.saturating_add(change.bytes.len());
        }
        Ok(patches::take(&collected))
    }

    /// Applies a batch that nests much in two parts, so that its depth is measured in between.
    fn apply_halves(
        &mut self,
        changes: &[ForeignChange<'_>],
        mode: PatchMode,
    ) -> Result<Vec<Patch>, ApplyError> {
        let (first, second) = changes.split_at(changes.len() / 2);
        if first.is_empty() {
            return Err(ApplyError {
                index: Some(0),
                reason: ApplyReason::TooDeep,
            });
        }
        let mut patches = self.apply(first, mode)?;
        let later = self.apply(second, mode).map_err(|error| {
            // The first part stays applied, which the caller was not told.
            self.damaged = true;
            ApplyError {
                index: error.index.map(|index| index + first.len()),
                reason: error.reason,
            }
        })?;
        patches.extend(later);
        Ok(patches)
    }

    fn integrate(&mut self, updates: Vec<Update>) -> Result<(), ApplyReason> {
        let document = self.document.clone();
        guarded(|| {
            let mut transaction = document.transact_mut();
            for update in updates {
                transaction
                    .apply_update(update)
                    .map_err(|_| ApplyReason::Refused)?;
            }
            Ok(())
        })?
    }

    /// Accounts for containers that just came; walks the document when they may nest too deep.
    fn bound_depth(&mut self, nesting: usize) -> Result<(), ApplyReason> {
        if nesting == 0 && self.pending_nesting == 0 {
            return Ok(());
        }
        let waiting = self.document.transact().has_missing_updates();
        self.pending_nesting = if waiting {
            self.pending_nesting + nesting
        } else {
            0
        };
        self.depth_bound += nesting;
        if self.depth_bound <= DEPTH_MAX {
            return Ok(());
        }
        let deepest = self.deepest();
        self.depth_bound = deepest + self.pending_nesting;
        if deepest > DEPTH_MAX {
            Err(ApplyReason::TooDeep)
        } else {
            Ok(())
        }
    }

    fn deepest(&self) -> usize {
        value::deepest(&self.document.transact())
    }

    pub(super) fn encode_and_reload(&self) -> Result<(), ApplyReason> {
        guarded(|| {
            let bytes = self
                .document
                .transact()
                .encode_state_as_update_v1(&StateVector::default());
            let mut reloaded = Self::new(self.actor);
            let update = Update::decode_v1(&bytes).map_err(|_| ApplyReason::Refused)?;
            reloaded.integrate(vec![update])
        })?
    }

    /// Takes back what an open transaction did.
    fn undo(&mut self, transaction: TransactionMut<'_>) {
        if !transaction.has_changes() {
            return;
        }
        let before = transaction.before_state().clone();
        let kept = guarded(|| {
            let mut encoder = EncoderV1::new();
            transaction.encode_state_as_update(&StateVector::default(), &mut encoder);
            let mut deleted: IdSet = transaction.snapshot().delete_set;
            deleted.diff_with(transaction.delete_set());
            let limit = |client| before.get(&ClientID::new(client));
            scan::truncated(&encoder.to_vec(), limit, &deleted.encode_v1())
        });
        let waiting = transaction.has_missing_updates();
        let closed = guarded(|| drop(transaction));
        match (kept, closed) {
            (Ok(Ok(bytes)), Ok(())) if !waiting => {
                let rebuilt = self.rebuild(self.actor, &bytes);
                self.damaged = rebuilt.is_err()
                    || clocks(&self.document.transact().state_vector()) != clocks(&before);
            }
            _ => self.damaged = true,
        }
    }

    /// Replaces the document by one that an encoded state makes.
    fn rebuild(&mut self, actor: Actor, state: &[u8]) -> Result<(), EditError> {
        let mut rebuilt = Self::new(actor);
        let update = guarded(|| Update::decode_v1(state));
        let integrated = match update {
            Ok(Ok(update)) => rebuilt.integrate(vec![update]),
            _ => Err(ApplyReason::Refused),
        };
        if integrated.is_err() || rebuilt.document.transact().has_missing_updates() {
            self.damaged = true;
            return Err(EditError::ReloadRequired);
        }
        (self.document, self.root, self.actor) = (rebuilt.document, rebuilt.root, actor);
        Ok(())
    }

    fn observe(&self, mode: PatchMode) -> patches::Collected {
        let collected = patches::Collected::default();
        if mode == PatchMode::On {
            let sink = collected.clone();
            self.root
                .observe_deep(OBSERVER, move |transaction, events| {
                    patches::collect(&sink, transaction, events)
                });
        }
        collected
    }

    fn unobserve(&self, mode: PatchMode) {
        if mode == PatchMode::On {
            self.root.unobserve_deep(OBSERVER);
        }
    }
}

/// The clocks of a state vector in order, without the clients that have done nothing.
fn clocks(state: &StateVector) -> Vec<(u64, u32)> {
    let known = state.iter().filter(|(_, clock)| **clock > 0);
    let mut clocks: Vec<_> = known
        .map(|(client, clock)| (client.get(), *clock))
        .collect();
    clocks.sort_unstable();
    clocks
}

/// Scans, decodes and checks one foreign change; says how deep its own containers nest.
fn decode(change: &ForeignChange<'_>) -> Result<(Update, usize), ApplyReason> {
    let shape = scan::check(change.bytes)?;
    if let Some(actor) = change.actor
        && shape
            .clients
            .iter()
            .any(|client| *client != actor.client_id())
    {
        return Err(ApplyReason::ActorMismatch);
    }
    let update =
        guarded(|| Update::decode_v1(change.bytes))?.map_err(|_| ApplyReason::Malformed)?;
    Ok((update, shape.nesting))
}

/// The root type that holds the common model.
const ROOT_NAME: &str = "root";

/// The key under which patches are collected; it never lives longer than one call.
const OBSERVER: &str = "patches";

/// Updates per transaction when loading: yrs gets slow in transactions of very many blocks.
const LOAD_BATCH: usize = 2048;

/// How deep containers may nest before the depth is measured; the library recurses this deep when
/// it deletes, at well under 1 KiB of stack a level.
const DEPTH_BOUND_MAX: usize = 1000;
