//! A yrs document made again from its own state: to undo an edit, to write under another actor, or to be saved.

use ::yrs::updates::decoder::Decode;
use ::yrs::updates::encoder::{Encode, Encoder, EncoderV1};
use ::yrs::{ClientID, IdSet, ReadTxn, StateVector, Transact, TransactionMut, Update};

use super::{YrsDocument, clocks, scan};
use crate::document::poison::guarded;
use crate::document::saved::Saved;
use crate::document::{Actor, ApplyReason, EditError, ForeignChange, PatchMode};

impl YrsDocument {
    /// Makes a document of what [`YrsDocument::save`] gave.
    pub(in crate::document) fn restore(actor: Actor, saved: &Saved<'_>) -> Result<Self, ApplyReason> {
        let mut restored = Self::new(actor);
        let update = guarded(|| Update::decode_v1(saved.state))?.map_err(|_| ApplyReason::Malformed)?;
        restored.integrate(vec![update], &[])?;
        for (client, clock) in clocks(&restored.document.transact().state_vector()) {
            restored.waiting.own(client, clock);
        }
        restored.pairs = saved.pairs;
        restored.depth_bound = usize::try_from(saved.depth).unwrap_or(usize::MAX);
        restored.applied_bytes = usize::try_from(saved.applied_bytes).unwrap_or(usize::MAX);
        Ok(restored)
    }

    /// Makes a document of a state that somebody else may have made.
    pub(in crate::document) fn from_state(actor: Actor, state: &[u8]) -> Result<Self, ApplyReason> {
        let mut made = Self::new(actor);
        made.apply(&[ForeignChange { bytes: state, actor: None }], PatchMode::Off).map_err(|error| error.reason)?;
        if made.waiting.holds_any() { Err(ApplyReason::Malformed) } else { Ok(made) }
    }

    /// Encodes the document with its history, unless something waits for what has not come.
    pub(in crate::document) fn save(&self) -> Result<Option<Vec<u8>>, ApplyReason> {
        if self.waiting.holds_any() { Ok(None) } else { self.encode().map(Some) }
    }

    /// Encodes the document with its history, and without what waits.
    pub(in crate::document) fn encode(&self) -> Result<Vec<u8>, ApplyReason> {
        if self.damaged {
            return Err(ApplyReason::ReloadRequired);
        }
        guarded(|| self.document.transact().encode_state_as_update_v1(&StateVector::default()))
    }

    /// Tells whether texts may hold pairs, and how deep containers may nest.
    pub(in crate::document) fn shape(&self) -> (bool, u32) {
        (self.pairs, u32::try_from(self.depth_bound).unwrap_or(u32::MAX))
    }

    pub(in crate::document) fn verify(&self) -> Result<(), ApplyReason> {
        if self.damaged {
            return Err(ApplyReason::ReloadRequired);
        }
        guarded(|| {
            let bytes = self.document.transact().encode_state_as_update_v1(&StateVector::default());
            let mut reloaded = Self::new(self.actor);
            let update = Update::decode_v1(&bytes).map_err(|_| ApplyReason::Refused)?;
            reloaded.integrate(vec![update], &[])
        })?
    }

    /// Takes back what an open transaction did.
    pub(super) fn undo(&mut self, transaction: TransactionMut<'_>) {
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
                self.damaged = rebuilt.is_err() || clocks(&self.document.transact().state_vector()) != clocks(&before);
            }
            _ => self.damaged = true,
        }
    }

    /// Replaces the document by one that an encoded state makes.
    pub(super) fn rebuild(&mut self, actor: Actor, state: &[u8]) -> Result<(), EditError> {
        let mut rebuilt = Self::new(actor);
        let update = guarded(|| Update::decode_v1(state));
        let integrated = match update {
            Ok(Ok(update)) => rebuilt.integrate(vec![update], &[]),
            _ => Err(ApplyReason::Refused),
        };
        if integrated.is_err() || rebuilt.document.transact().has_missing_updates() {
            self.damaged = true;
            return Err(EditError::ReloadRequired);
        }
        (self.document, self.root, self.actor) = (rebuilt.document, rebuilt.root, actor);
        Ok(())
    }
}
