//! Members' words on snapshots on their way into a log.
//!
//! Invariant: only words of devices that could write content at the record they name enter the log, each verified; a
//! device has a bounded number of them. Whether they are enough for anything is judged by who reads them.

use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::ids::Stream;
use tombolo_protocol::item::{ItemHash, LogItem};
use tombolo_protocol::snapshot::Attest;

use super::judge::Judge;
use super::verdicts::Verdicts;

/// Words of one device in one log: a document is published anew each some thousand entries.
const ATTESTS_PER_DEVICE_MAX: u32 = 1 << 16;

impl Judge {
    pub(super) fn take_attest(
        &mut self,
        attest: &Attest,
        verdicts: &mut Verdicts,
    ) -> Result<(ItemHash, u64), RefusalReason> {
        let hash = attest.item_hash();
        if let Some(position) = self.held.get(hash.digest()) {
            return Ok((hash, *position));
        }
        if attest.workspace != self.membership.workspace() {
            return Err(RefusalReason::Malformed);
        }
        let view = self.membership.view_at(&attest.members_head).ok_or(RefusalReason::UnknownRecord)?;
        let device = view.device(&attest.device).filter(|standing| standing.is_active());
        let author = device.ok_or(RefusalReason::UnknownAuthor)?;
        if !view.role(&author.user).is_some_and(|role| role.may_write(Stream::CONTENT)) {
            return Err(RefusalReason::RoleDenied);
        }
        attest.verify(&author.keys.sign).map_err(|_| RefusalReason::BadSignature)?;
        let words = self.words.entry(attest.device).or_default();
        if *words >= ATTESTS_PER_DEVICE_MAX {
            return Err(RefusalReason::QuotaExceeded);
        }
        *words += 1;
        Ok(self.write_statement(hash, LogItem::encode_attest(&attest.encode()), verdicts))
    }
}
