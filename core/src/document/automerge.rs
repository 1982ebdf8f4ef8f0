//! An automerge document: how the common model lies on automerge, and how changes enter and leave.
//!
//! The root is automerge's root map; every kind of value has a native one. Text counts UTF-16. A
//! change is one raw, uncompressed change chunk. Automerge pays for the whole document in each
//! apply, so a batch is one call.

mod fold;
mod patches;
mod read;
mod reauthor;
mod scan;
mod session;

use ::automerge::transaction::CommitOptions;
pub use ::automerge::transaction::Transaction;
use ::automerge::{
    ActorId, Automerge, AutomergeError, Change, LoadOptions, PatchLog, ReadDoc as _, SaveOptions, TextEncoding,
};

use self::fold::Renamed;
pub(super) use self::fold::{Renames, fold};
pub(super) use self::read::AutomergeView;
pub(super) use self::reauthor::{is_own, reauthor};
use self::session::AutomergeSession;
use super::poison::guarded;
use super::saved::Saved;
use super::text::may_hold_pairs;
use super::view::{Inner as ViewInner, View};
use super::{
    Actor, ApplyError, ApplyReason, DocumentError, EditError, Edited, ForeignChange, LocalChange, MapEdit, Patch,
    PatchMode, Version,
};

pub(super) struct AutomergeDocument {
    document: Automerge,
    actor: Actor,
    damaged: bool,
    applied_bytes: usize,
    /// Whether any text may hold a character of two UTF-16 code units.
    pairs: bool,
    /// Set while what is held is not named as others know it.
    renamed: Option<Box<Renamed>>,
}

impl AutomergeDocument {
    pub(super) fn new(actor: Actor) -> Self {
        let document = Automerge::new_with_encoding(TextEncoding::Utf16CodeUnit).with_actor(actor_id(actor));
        Self { document, actor, damaged: false, applied_bytes: 0, pairs: false, renamed: None }
    }

    pub(super) fn load(actor: Actor, changes: &[ForeignChange<'_>]) -> Result<Self, DocumentError> {
        let mut loaded = Self::new(actor);
        loaded
            .apply(changes, PatchMode::Off)
            .map_err(|error| DocumentError::Change { index: error.index, reason: error.reason })?;
        Ok(loaded)
    }

    /// Makes a document of what [`AutomergeDocument::save`] gave.
    pub(super) fn restore(actor: Actor, saved: &Saved<'_>) -> Result<Self, ApplyReason> {
        let options = LoadOptions::new().text_encoding(TextEncoding::Utf16CodeUnit);
        let loaded = guarded(|| Automerge::load_with_options(saved.state, options))?;
        let document = loaded.map_err(|_| ApplyReason::Malformed)?.with_actor(actor_id(actor));
        let applied_bytes = usize::try_from(saved.applied_bytes).unwrap_or(usize::MAX);
        Ok(Self { document, applied_bytes, pairs: saved.pairs, ..Self::new(actor) })
    }

    /// Makes a document of a state that somebody else may have made.
    pub(super) fn from_state(actor: Actor, state: &[u8]) -> Result<Self, ApplyReason> {
        let applied_bytes = state.len() as u64;
        let saved = Saved { pairs: may_hold_pairs(state), depth: 0, applied_bytes, state };
        let restored = Self::restore(actor, &saved)?;
        if state.is_empty() || !restored.is_whole()? { Err(ApplyReason::Malformed) } else { Ok(restored) }
    }

    fn is_whole(&self) -> Result<bool, ApplyReason> {
        guarded(|| self.renamed.is_none() && self.document.get_missing_deps(&[]).is_empty())
    }

    /// Encodes the document with its history, unless something waits in it or it is named otherwise now.
    pub(super) fn save(&self) -> Result<Option<Vec<u8>>, ApplyReason> {
        if self.is_whole()? { self.encode().map(Some) } else { Ok(None) }
    }

    /// Encodes the document with its history, and without what waits in it.
    pub(super) fn encode(&self) -> Result<Vec<u8>, ApplyReason> {
        if self.damaged {
            return Err(ApplyReason::ReloadRequired);
        }
        // The store compresses what it keeps, better than in pieces.
        guarded(|| self.document.save_with_options(SaveOptions { deflate: false, retain_orphans: false }))
    }

    /// Tells whether texts may hold pairs; says nothing of the depth, which the library does not mind.
    pub(super) fn shape(&self) -> (bool, u32) {
        (self.pairs, 0)
    }

    pub(super) fn actor(&self) -> Actor {
        self.actor
    }

    pub(super) fn set_actor(&mut self, actor: Actor) -> Result<(), EditError> {
        self.renew().map_err(|_| EditError::ReloadRequired)?;
        self.document.set_actor(actor_id(actor));
        self.actor = actor;
        Ok(())
    }

    /// Takes over what changes of this document were folded into.
    pub(super) fn adopt(&mut self, renames: &Renames) {
        self.renamed.get_or_insert_default().adopt(&self.document, renames);
    }

    /// Makes the document anew, if what it holds is named otherwise now.
    fn renew(&mut self) -> Result<(), ApplyReason> {
        if let Some(renamed) = self.renamed.take() {
            let renewed = renamed.renew(&self.document, self.actor);
            self.damaged = renewed.is_err();
            self.document = renewed?;
        }
        Ok(())
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    pub(super) fn applied_bytes(&self) -> usize {
        self.applied_bytes
    }

    pub(super) fn version(&self) -> Version {
        let said = |head| self.renamed.as_ref().map_or(head, |renamed| renamed.head(head));
        let mut heads: Vec<_> = self.document.get_heads().into_iter().map(|head| said(head).0).collect();
        heads.sort_unstable();
        Version(heads.concat())
    }

    pub(super) fn read(&self) -> View<'_> {
        View(if self.damaged { ViewInner::Damaged } else { ViewInner::Automerge(AutomergeView::new(&self.document)) })
    }

    pub(super) fn edit<R>(
        &mut self,
        wall_ms: i64,
        patches: PatchMode,
        closure: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        let pairs = self.pairs;
        self.transact(wall_ms, patches, |transaction| {
            let mut session = AutomergeSession::new(transaction, pairs);
            closure(&mut MapEdit::root(&mut session))
        })
    }

    /// Runs the native escape hatch.
    pub(super) fn native<R>(
        &mut self,
        wall_ms: i64,
        patches: PatchMode,
        closure: impl FnOnce(&mut Transaction<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        self.transact(wall_ms, patches, closure)
    }

    fn transact<R>(
        &mut self,
        wall_ms: i64,
        patches: PatchMode,
        closure: impl FnOnce(&mut Transaction<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        if self.damaged {
            return Err(EditError::ReloadRequired);
        }
        let log = PatchLog::new(patches == PatchMode::On);
        let mut transaction = self.document.transaction_log_patches(log).map_err(|_| EditError::Library)?;
        let outcome = guarded(|| closure(&mut transaction)).unwrap_or(Err(EditError::Panicked));
        let result = match outcome {
            Ok(result) => result,
            Err(error) => {
                self.damaged = guarded(|| transaction.rollback()).is_err();
                return Err(error);
            }
        };
        let options = CommitOptions::default().with_time(wall_ms.div_euclid(1000));
        let Ok((hash, log)) = guarded(|| transaction.commit_with(options)) else {
            self.damaged = true;
            return Err(EditError::ReloadRequired);
        };
        if hash.is_none() {
            return Ok(Edited { result, change: None, patches: Vec::new() });
        }
        self.committed(result, patches, log)
    }

    /// Takes the bytes and patches of the change that was just committed.
    fn committed<R>(&mut self, result: R, mode: PatchMode, mut log: PatchLog) -> Result<Edited<R>, EditError> {
        let Some(change) = self.document.get_last_local_change() else {
            self.damaged = true;
            return Err(EditError::ReloadRequired);
        };
        let said = self.renamed.as_mut().map(|renamed| renamed.publish(&change)).transpose();
        let Ok(said) = said else {
            self.damaged = true;
            return Err(EditError::ReloadRequired);
        };
        let bytes = said.as_ref().unwrap_or(&change).raw_bytes().to_vec();
        self.pairs = self.pairs || scan::check(&bytes).unwrap_or(true);
        self.applied_bytes = self.applied_bytes.saturating_add(bytes.len());
        let patches = match mode {
            PatchMode::On => patches::from_log(&self.document, &mut log),
            PatchMode::Off => Vec::new(),
        };
        Ok(Edited { result, change: Some(LocalChange { bytes }), patches })
    }

    pub(super) fn apply(&mut self, changes: &[ForeignChange<'_>], mode: PatchMode) -> Result<Vec<Patch>, ApplyError> {
        if self.damaged {
            return Err(ApplyError { index: None, reason: ApplyReason::ReloadRequired });
        }
        let mut decoded = Vec::with_capacity(changes.len());
        let mut pairs = self.pairs;
        for (index, change) in changes.iter().enumerate() {
            let at = |reason| ApplyError { index: Some(index), reason };
            let (change, holds_pairs) = look_into(change).map_err(at)?;
            decoded.push(change);
            pairs |= holds_pairs;
        }
        let patches = self.renew().and_then(|()| self.integrate(decoded, mode)).map_err(|reason| {
            self.damaged = true;
            let index = (changes.len() == 1).then_some(0);
            ApplyError { index, reason }
        })?;
        self.pairs = pairs;
        for change in changes {
            self.applied_bytes = self.applied_bytes.saturating_add(change.bytes.len());
        }
        Ok(patches)
    }

    fn integrate(&mut self, changes: Vec<Change>, mode: PatchMode) -> Result<Vec<Patch>, ApplyReason> {
        let mut log = PatchLog::new(mode == PatchMode::On);
        let document = &mut self.document;
        guarded(|| {
            document.apply_changes_log_patches(changes, &mut log).map_err(|_| ApplyReason::Refused)?;
            Ok(match mode {
                PatchMode::On => patches::from_log(document, &mut log),
                PatchMode::Off => Vec::new(),
            })
        })?
    }

    pub(super) fn verify(&self) -> Result<(), ApplyReason> {
        guarded(|| {
            let bytes = self.document.save();
            Automerge::load(&bytes).map(drop).map_err(|_| ApplyReason::Refused)
        })?
    }
}

/// Scans, decodes and checks one foreign change.
fn decode(change: &ForeignChange<'_>) -> Result<Change, ApplyReason> {
    look_into(change).map(|(change, _)| change)
}

/// As [`decode`]; tells as well whether the change may put a pair into a text.
fn look_into(change: &ForeignChange<'_>) -> Result<(Change, bool), ApplyReason> {
    let holds_pairs = scan::check(change.bytes)?;
    let decoded = guarded(|| Change::try_from(change.bytes))?.map_err(|_| ApplyReason::Malformed)?;
    // The library computes the hash but does not compare it with the checksum.
    if change.bytes.get(4..8) != decoded.hash().0.get(..4) {
        return Err(ApplyReason::Malformed);
    }
    match change.actor {
        Some(actor) if decoded.actor_id() != &actor_id(actor) => Err(ApplyReason::ActorMismatch),
        _ => Ok((decoded, holds_pairs)),
    }
}

fn actor_id(actor: Actor) -> ActorId {
    ActorId::from(actor.0)
}

impl From<AutomergeError> for EditError {
    fn from(_: AutomergeError) -> Self {
        Self::Library
    }
}
