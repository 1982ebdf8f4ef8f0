//! Changes of others entering a yrs document, and what must be checked once they are in.
//!
//! The scan has seen the bytes; it cannot see the document. Two dangers need both: containers that
//! nest too deep for a library that recurses, and a string placed in a list, which the library's
//! list iterator never gets past if it holds a surrogate pair.

use ::yrs::types::TypeRef;
use ::yrs::updates::decoder::Decode;
use ::yrs::{Assoc, ClientID, ID, ReadTxn, StickyIndex, Transact, TransactionMut, Update};

use super::{YrsDocument, patches, scan, value};
use crate::document::poison::guarded;
use crate::document::{ApplyError, ApplyReason, Crdt, DEPTH_MAX, EditError, Edited, ForeignChange, Patch, PatchMode};

/// A foreign change that was scanned and decoded.
pub(super) struct Sound {
    pub(super) update: Update,
    pub(super) shape: scan::Shape,
    pub(super) bytes: usize,
}

impl YrsDocument {
    pub(in crate::document) fn apply(
        &mut self,
        changes: &[ForeignChange<'_>],
        mode: PatchMode,
    ) -> Result<Vec<Patch>, ApplyError> {
        if self.damaged {
            return Err(ApplyError { index: None, reason: ApplyReason::ReloadRequired });
        }
        let mut sound = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            sound.push(decode(change).map_err(|reason| ApplyError { index: Some(index), reason })?);
        }
        let alone = changes.len() == 1;
        let ready = self.waiting.order(sound).map_err(|reason| {
            self.damaged = true;
            ApplyError { index: alone.then_some(0), reason }
        })?;
        let index = (alone && ready.len() == 1).then_some(0);
        let collected = self.observe(mode);
        let applied = self.integrate_ready(ready);
        if let Err(reason) = applied {
            self.damaged = true;
            return Err(ApplyError { index, reason });
        }
        self.unobserve(mode);
        Ok(patches::take(&collected))
    }

    /// Integrates changes in few transactions: as the nesting of their containers and the library's patience allow.
    fn integrate_ready(&mut self, ready: Vec<Sound>) -> Result<(), ApplyReason> {
        let (mut updates, mut strings, mut nesting, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        for sound in ready {
            let deep = self.depth_bound + nesting + sound.shape.nesting > DEPTH_BOUND_MAX;
            if deep || bytes > TRANSACTION_BYTES {
                bytes = 0;
                self.integrate(std::mem::take(&mut updates), &std::mem::take(&mut strings))?;
                self.bound_depth(std::mem::take(&mut nesting))?;
            }
            nesting += sound.shape.nesting;
            bytes += sound.bytes;
            self.pairs |= !sound.shape.strings.is_empty();
            strings.extend(sound.shape.strings);
            updates.push(sound.update);
            self.applied_bytes = self.applied_bytes.saturating_add(sound.bytes);
        }
        self.integrate(updates, &strings)?;
        self.bound_depth(nesting)
    }

    /// Integrates updates in one transaction, which is only committed if all of them are sound.
    pub(super) fn integrate(&mut self, updates: Vec<Update>, strings: &[(u64, u32)]) -> Result<(), ApplyReason> {
        let document = self.document.clone();
        let mut transaction = document.transact_mut();
        let applied = guarded(|| {
            updates
                .into_iter()
                .try_for_each(|update| transaction.apply_update(update))
                .map_err(|_| ApplyReason::Refused)?;
            check_integrated(&transaction, strings)
        });
        match applied {
            Ok(Ok(())) => guarded(|| drop(transaction)),
            Ok(Err(reason)) | Err(reason) => {
                // Committing would run more of the library on a state it did not expect. The lock
                // that stays behind is never waited for: nothing touches a damaged document.
                std::mem::forget(transaction);
                self.damaged = true;
                Err(reason)
            }
        }
    }

    /// Accounts for containers that just came; walks the document when they may nest too deep.
    fn bound_depth(&mut self, nesting: usize) -> Result<(), ApplyReason> {
        self.depth_bound += nesting;
        if nesting == 0 || self.depth_bound <= DEPTH_MAX {
            return Ok(());
        }
        self.depth_bound = self.deepest();
        if self.depth_bound > DEPTH_MAX { Err(ApplyReason::TooDeep) } else { Ok(()) }
    }

    fn deepest(&self) -> usize {
        value::deepest(&self.document.transact())
    }

    /// Runs the native escape hatch and sees to it that others will accept what it did.
    pub(in crate::document) fn native<R>(
        &mut self,
        mode: PatchMode,
        closure: impl FnOnce(&mut TransactionMut<'_>) -> Result<R, EditError>,
    ) -> Result<Edited<R>, EditError> {
        let (mut nesting, mut pairs) = (0, false);
        let edited = self.transact(mode, |transaction| {
            let result = closure(transaction)?;
            let bytes = transaction.encode_update_v1();
            let shape = scan::check(&bytes).map_err(|_| UNSUPPORTED)?;
            check_integrated(transaction, &shape.strings).map_err(|_| UNSUPPORTED)?;
            (nesting, pairs) = (shape.nesting, !shape.strings.is_empty());
            Ok(result)
        })?;
        if edited.change.is_some() {
            self.pairs |= pairs;
            self.depth_bound += nesting;
        }
        Ok(edited)
    }
}

/// Refuses strings that lie in something else than a text, and changes the library holds back.
fn check_integrated(transaction: &TransactionMut<'_>, strings: &[(u64, u32)]) -> Result<(), ApplyReason> {
    let misplaced = strings.iter().any(|(client, clock)| {
        let id = ID::new(ClientID::new(*client), *clock);
        StickyIndex::from_id(id, Assoc::After).get_offset(transaction).is_some_and(|offset| {
            !matches!(offset.branch.type_ref(), TypeRef::Text | TypeRef::XmlText | TypeRef::Undefined)
        })
    });
    if misplaced || transaction.has_missing_updates() {
        return Err(ApplyReason::Malformed);
    }
    Ok(())
}

/// Scans, decodes and checks one foreign change.
fn decode(change: &ForeignChange<'_>) -> Result<Sound, ApplyReason> {
    let shape = scan::check(change.bytes)?;
    if let Some(actor) = change.actor
        && shape.sections.keys().any(|client| *client != actor.client_id())
    {
        return Err(ApplyReason::ActorMismatch);
    }
    let update = guarded(|| Update::decode_v1(change.bytes))?.map_err(|_| ApplyReason::Malformed)?;
    Ok(Sound { update, shape, bytes: change.bytes.len() })
}

/// How deep containers may nest before the depth is measured; the library recurses this deep when
/// it deletes, at well under 1 KiB of stack a level.
const DEPTH_BOUND_MAX: usize = 1000;

/// Bytes of updates from which a transaction is closed: yrs gets slow in those of very many blocks.
const TRANSACTION_BYTES: usize = 32 << 10;

const UNSUPPORTED: EditError =
    EditError::Unsupported { crdt: Crdt::Yrs, operation: "content that other devices refuse" };
