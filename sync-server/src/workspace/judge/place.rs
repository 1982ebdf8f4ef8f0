//! The third step of the judgement of entries: their place in the chain, and their position in the log.
//!
//! Invariant: an entry is placed behind the one that it names, in its chain or the second branch of it, once; only what a
//! snapshot stands for is left out (`floors.rs`).

use std::collections::BTreeSet;

use tombolo_protocol::entry::{Entry, Header};
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::ids::ChainId;
use tombolo_protocol::item::ItemHash;

use super::floors::Showing;
use super::{Candidate, Judge};
use crate::log::{Log, LogError};
use crate::workspace::chains::ChainState;
use crate::workspace::right::Caller;
use crate::workspace::verdicts::{Stop, Verdicts};

impl Judge {
    /// Gives entries their order and position; those that break a chain are refused, and what follows
    /// them in it.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read.
    pub fn place(
        &mut self,
        log: &dyn Log,
        caller: &Caller<'_>,
        candidates: Vec<Candidate>,
        quota_bytes: Option<u64>,
        showing: &mut Showing,
        verdicts: &mut Verdicts,
    ) -> Result<(), LogError> {
        let (mut broken, mut shown) = (BTreeSet::new(), None);
        for candidate in candidates {
            let chain = &candidate.chain;
            let outcome = if broken.contains(chain) {
                let end = self.chains.end_seq(log, chain)?;
                Err(Stop::Refused(RefusalReason::Gap, Some(end)))
            } else if !candidate.genuine {
                Err(RefusalReason::BadSignature.into())
            } else if let Err(stop) = self.judge_again(caller, &candidate) {
                Err(stop)
            } else {
                let outcome = self.place_entry(log, &candidate, quota_bytes, verdicts);
                self.look_at_shown(log, showing, &candidate.entry, outcome)
            };
            match outcome {
                Ok(position) => verdicts.placed.push((ItemHash::Entry(candidate.entry.hash()), position)),
                Err(stop) => {
                    if matches!(stop, Stop::Shown) {
                        shown = Some(candidate.item);
                    } else if !matches!(stop, Stop::Below(_)) {
                        broken.insert(*chain);
                    }
                    verdicts.stop(candidate.item, stop)?;
                }
            }
        }
        let taken = self.take_shown(log, showing, quota_bytes, verdicts);
        taken.or_else(|stop| verdicts.stop_instead(shown, stop))
    }

    /// Judges anew if the members have changed while signatures were verified without the lock.
    fn judge_again(&self, caller: &Caller<'_>, candidate: &Candidate) -> Result<(), Stop> {
        if candidate.members_nth == self.members_nth {
            return Ok(());
        }
        self.judge_author(caller, &candidate.entry).map(drop)
    }

    fn place_entry(
        &mut self,
        log: &dyn Log,
        candidate: &Candidate,
        quota_bytes: Option<u64>,
        verdicts: &mut Verdicts,
    ) -> Result<u64, Stop> {
        let Candidate { entry, chain, .. } = candidate;
        let header = entry.header();
        let state = self.chains.state(log, chain)?.cloned();
        let end_seq = state.as_ref().map_or(0, |state| state.end.seq);
        if header.seq <= end_seq {
            // Sent again, or a second entry for the same place.
            let held = self.chains.held(log, chain, header.seq)?;
            if let Some((_, position)) = held.filter(|(hash, _)| *hash == entry.hash()) {
                return Ok(position);
            }
            if held.is_none() {
                self.judge_below(log, chain, header.seq)?;
            }
            return self.place_beside(log, candidate, quota_bytes, verdicts);
        }
        if let Some(state) = &state {
            if header.seq > end_seq + 1 || header.prev != state.end.hash {
                return self.place_beside(log, candidate, quota_bytes, verdicts);
            }
            self.judge_members(header, state)?;
        } else if header.seq > 1 {
            return Err(Stop::Refused(RefusalReason::Gap, Some(end_seq)));
        }
        self.judge_size(entry, quota_bytes)?;
        Ok(self.write_entry(*chain, state, entry, verdicts))
    }

    /// Places an entry as the end of its chain.
    pub(super) fn write_entry(
        &mut self,
        chain: ChainId,
        state: Option<ChainState>,
        entry: &Entry,
        verdicts: &mut Verdicts,
    ) -> u64 {
        let (bytes, end) = self.chains.extend(chain, state, entry, self.next_position);
        verdicts.chains.insert(chain, end);
        self.push(ItemHash::Entry(entry.hash()), Some((chain, entry.header().seq)), bytes, verdicts)
    }

    /// Places an entry that does not continue its chain into the second branch of it, if it continues or begins
    /// that: devices must see both to agree on one (ADR 0014). There is no third.
    fn place_beside(
        &mut self,
        log: &dyn Log,
        candidate: &Candidate,
        quota_bytes: Option<u64>,
        verdicts: &mut Verdicts,
    ) -> Result<u64, Stop> {
        let Candidate { entry, chain, .. } = candidate;
        let header = entry.header();
        let branch = header.chain.branch();
        let end_seq = self.chains.end_seq(log, chain)?;
        let state = self.chains.state(log, &branch.id())?.cloned();
        let is_next = match &state {
            Some(state) => header.seq == state.end.seq + 1 && header.prev == state.end.hash,
            None => header.seq <= end_seq + 1 && self.chains.prev(log, chain, header.seq - 1)? == Some(header.prev),
        };
        if !is_next {
            let held = self.chains.held(log, &branch.id(), header.seq)?;
            return match held.filter(|(hash, _)| *hash == entry.hash()) {
                Some((_, position)) => Ok(position),
                None if header.seq > end_seq + 1 => Err(Stop::Refused(RefusalReason::Gap, Some(end_seq))),
                None => Err(Stop::Refused(RefusalReason::Fork, Some(end_seq))),
            };
        }
        if let Some(state) = &state {
            self.judge_members(header, state)?;
        }
        self.judge_size(entry, quota_bytes)?;
        let (bytes, end) = self.chains.extend_beside(branch, entry, self.next_position);
        verdicts.chains.insert(branch.id(), end);
        let hash = ItemHash::Entry(entry.hash());
        Ok(self.push(hash, Some((branch.id(), header.seq)), bytes, verdicts))
    }

    fn judge_size(&self, entry: &Entry, quota_bytes: Option<u64>) -> Result<(), Stop> {
        let size = (entry.sealed().len() + entry.clear().len()) as u64;
        if quota_bytes.is_some_and(|quota| self.bytes + size > quota) {
            return Err(RefusalReason::QuotaExceeded.into());
        }
        Ok(())
    }

    /// Checks that an entry stands on no older members than the one before it.
    pub(super) fn judge_members(&self, header: &Header, state: &ChainState) -> Result<(), Stop> {
        let (newer, older) = (&header.members_head, &state.end.members_head);
        if newer != older && !self.membership.descends(newer, older) {
            return Err(RefusalReason::MembershipRegression.into());
        }
        Ok(())
    }
}
