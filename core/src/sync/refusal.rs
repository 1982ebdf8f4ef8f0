//! What a relay refuses of ours, and what follows.
//!
//! Invariant: refused work is never deleted: it stays as debt with its reason, and is tried again later
//! or in another life of this device's chains.

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{RefusalReason, Refused};

use super::channel::Channel;
use super::reason::SetAsideReason;
use super::receipt::{RETRY_MAX, RETRY_MIN};
use super::{Fault, draw};
use crate::engine::{Engine, Now};
use crate::store::Tx;

/// How often the wait before what was refused goes again may double: up to about an hour, for what is refused for
/// good is kept for good.
const RETRY_DOUBLINGS_MAX: u32 = 6;

impl Channel {
    /// Returns how many times longer to wait than the first time before the relay is asked again.
    pub(super) fn patience(&self) -> u32 {
        2_u32.pow(self.turned_away.min(RETRY_DOUBLINGS_MAX))
    }

    /// Begins again behind where the relay says that a chain stands: what was believed of the log is out of date.
    fn begin_again(&mut self, chain: i64, stands: u64) {
        self.sent.insert(chain, stands);
        // Behind what was refused for another reason there is a gap until that is taken.
        if !self.refused.contains_key(&chain) {
            self.unplaced.insert(chain);
        }
    }

    /// Sends again what was refused for such a reason.
    pub(super) fn try_again(&mut self, such: impl Fn(SetAsideReason) -> bool) {
        self.floors.forget_shown();
        for (chain, _) in self.refused.extract_if(.., |_, reason| such(*reason)) {
            self.sent.remove(&chain);
            self.unplaced.insert(chain);
            self.has_changes = true;
        }
    }
}

impl Engine {
    /// Sends again what was refused, as other members may do other things than before.
    pub(super) fn retry_refused(&mut self, row: i64) {
        for channel in self.relays.values_mut().filter_map(|relay| relay.channel_mut(row)) {
            channel.try_again(|_| true);
        }
    }

    /// Takes in the refusal of one item.
    pub(crate) fn take_refusal(
        &mut self,
        now: Now,
        at: (i64, i64),
        refused: &Refused,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let batch = channel.in_flight.iter_mut().find(|batch| batch.nth == refused.batch);
        let Some(item) = batch.and_then(|batch| batch.items.get_mut(refused.item as usize)) else {
            return Err(Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed));
        };
        item.refused = true;
        let (entry, shown) = (item.entry, item.shown);
        if let Some(levels) = refused.levels.filter(|_| refused.reason == RefusalReason::MfaRequired) {
            self.note_factor_wanted(at, levels);
        }
        match entry {
            Some(_) if shown => {
                self.take_refusal_of_shown(at, refused);
                Ok(())
            }
            Some((chain, seq, _)) => self.take_entry_refusal(now, at, (chain, seq), refused, tx),
            None => {
                self.counters.count(SetAsideReason::from(refused.reason));
                self.plan_retry(now, at);
                Ok(())
            }
        }
    }

    /// Plans to send again what was refused.
    fn plan_retry(&mut self, now: Now, at: (i64, i64)) {
        let wait = draw(self.entropy.as_mut(), RETRY_MIN, RETRY_MAX);
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.retry_at = Some(now.mono + wait * channel.patience());
        }
    }

    fn take_entry_refusal(
        &mut self,
        now: Now,
        at: (i64, i64),
        (chain, seq): (i64, u64),
        refused: &Refused,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let stands = refused.chain_seq.unwrap_or(seq.saturating_sub(1));
        let is_gone = self.is_gone(at.1, chain, stands + 1);
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        match refused.reason {
            RefusalReason::UnknownDeclaration => {
                // What was believed of the log's declarations is wrong: compare everything anew.
                tx.forget_log(at.0, at.1)?;
                return Err(Fault::Session(CloseCode::Going, SetAsideReason::Malformed));
            }
            // What the log lacks may not be here either: then it must come from somebody else. And where it does not say how far
            // it is, it keeps the entry until the rest of a snapshot is there.
            RefusalReason::Gap if !is_gone && refused.chain_seq.is_some() => {
                channel.begin_again(chain, stands);
                tx.unplace(at.0, chain, stands)?;
            }
            reason => {
                channel.refused.insert(chain, reason.into());
                channel.unplaced.remove(&chain);
                self.counters.count(SetAsideReason::from(reason));
                self.plan_retry(now, at);
            }
        }
        if refused.reason == RefusalReason::Fork {
            self.note_fork(now, at.1, chain, tx)?;
        }
        Ok(())
    }

    /// A log holds another entry in a place of this device's own chain: go on in another life.
    fn note_fork(&mut self, now: Now, workspace: i64, chain: i64, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some((key, _)) = tx.chain_key(chain)? else {
            return Ok(());
        };
        if key.device == self.device.id() && key.incarnation == self.incarnation_in(workspace) {
            self.next_incarnation(tx)?;
            if let Some(workspace) = self.workspaces.get(&workspace).map(|workspace| workspace.id) {
                self.suspect_clone(now, workspace, tx)?;
            }
        }
        Ok(())
    }
}
