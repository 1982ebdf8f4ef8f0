//! A yrs document: how the common model lies on yrs, and how changes enter and leave.
//!
//! The root is the root map named [`ROOT_NAME`]; `docs/document-model.md` describes the rest. Text
//! counts UTF-16. A change is one update in the v1 encoding. Yrs cannot roll a transaction back, so
//! a failed edit that had begun to write is undone by rebuilding the document without it.

mod apply;
mod fold;
mod patches;
mod reader;
mod reauthor;
mod rebuild;
mod scan;
mod session;
mod value;
mod waiting;

use std::sync::Arc;

pub use ::yrs::TransactionMut;
use ::yrs::{ClientID, DeepObservable, Doc, MapRef, OffsetKind, Options, ReadTxn, StateVector, Transact};

pub(super) use self::fold::fold;
pub(super) use self::reauthor::{is_own, reauthor};
use self::session::YrsSession;
pub(super) use self::value::YrsView;
use self::waiting::Waiting;
use super::poison::guarded;
use super::view::{Inner as ViewInner, View};
use super::{Actor, DocumentError, EditError, Edited, ForeignChange, LocalChange, MapEdit, PatchMode, Version};

pub(super) struct YrsDocument {
    document: Doc,
    root: MapRef,
    actor: Actor,
    damaged: bool,
    /// Whether any text may hold a character of two UTF-16 code units.
    pairs: bool,
    /// How deep containers may nest at most; a walk makes it exact when it grows too far.
    depth_bound: usize,
    waiting: Waiting,
    applied_bytes: usize,
}

impl YrsDocument {
    pub(super) fn new(actor: Actor) -> Self {
        let guid = Arc::from("tombolo");
        let mut options = Options::with_guid_and_client_id(guid, ClientID::new(actor.client_id()));
        options.offset_kind = OffsetKind::Utf16;
        options.cleanup_formatting = false;
        // What was collected when a change arrives would decide what a malicious one does; and
        // older versions can be read.
        options.skip_gc = true;
        let document = Doc::with_options(options);
        let root = document.get_or_insert_map(ROOT_NAME);
        Self {
            document,
            root,
            actor,
            damaged: false,
            pairs: false,
            depth_bound: 0,
            waiting: Waiting::default(),
            applied_bytes: 0,
        }
    }

    pub(super) fn load(actor: Actor, changes: &[ForeignChange<'_>]) -> Result<Self, DocumentError> {
        let mut loaded = Self::new(actor);
        for (batch, changes) in changes.chunks(LOAD_BATCH).enumerate() {
            loaded.apply(changes, PatchMode::Off).map_err(|error| DocumentError::Change {
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
        if self.damaged {
            return Err(EditError::ReloadRequired);
        }
        let bytes = self.document.transact().encode_state_as_update_v1(&StateVector::default());
        self.rebuild(actor, &bytes)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    pub(super) fn applied_bytes(&self) -> usize {
        self.applied_bytes
    }

    /// The canonical form of a snapshot, empty for a damaged document: clients and ranges in order, fixed-width numbers.
    pub(super) fn version(&self) -> Version {
        let Ok(transaction) = self.document.try_transact() else {
            return Version(Vec::new());
        };
        let snapshot = transaction.snapshot();
        let clocks = clocks(&snapshot.state_map);
        let mut deleted: Vec<_> = snapshot
            .delete_set
            .iter()
            .flat_map(|(client, ranges)| ranges.iter().map(|range| (client.get(), range.start, range.end)))
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
        let foreign = transaction.insert_set().iter().any(|(client, _)| *client != own);
        let result = match outcome {
            Ok(result) if !foreign => result,
            outcome => {
                let error = outcome.err().unwrap_or(EditError::ForeignChange);
                self.unobserve(mode);
                self.undo(transaction);
                return Err(error);
            }
        };
        let change = self.commit(transaction)?;
        self.unobserve(mode);
        Ok(Edited { result, change, patches: patches::take(&collected) })
    }

    fn commit(&mut self, transaction: TransactionMut<'_>) -> Result<Option<LocalChange>, EditError> {
        let bytes = transaction.has_changes().then(|| transaction.encode_update_v1());
        let clock = transaction.store().get_local_state();
        self.waiting.own(self.actor.client_id(), clock);
        if guarded(|| drop(transaction)).is_err() {
            self.damaged = true;
            return Err(EditError::ReloadRequired);
        }
        let written = bytes.as_ref().map_or(0, Vec::len);
        self.applied_bytes = self.applied_bytes.saturating_add(written);
        Ok(bytes.map(|bytes| LocalChange { bytes }))
    }

    fn observe(&self, mode: PatchMode) -> patches::Collected {
        let collected = patches::Collected::default();
        if mode == PatchMode::On {
            let sink = collected.clone();
            self.root.observe_deep(OBSERVER, move |transaction, events| patches::collect(&sink, transaction, events));
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
    let mut clocks: Vec<_> = known.map(|(client, clock)| (client.get(), *clock)).collect();
    clocks.sort_unstable();
    clocks
}

/// The root type that holds the common model.
const ROOT_NAME: &str = "root";

/// The key under which patches are collected; it never lives longer than one call.
const OBSERVER: &str = "patches";

/// Updates per transaction when loading: yrs gets slow in transactions of very many blocks.
const LOAD_BATCH: usize = 2048;
