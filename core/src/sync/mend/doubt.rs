//! Entries whose copy was spoilt: a signature does not fit, and the original may be elsewhere, or still come.
//!
//! The place and the bytes are kept, and each relay is asked once a session for what stands there, until a genuine
//! copy has come or [`DOUBT_MAX_MS`] are over. So the last entry of a chain is not missed until the next one comes.
//! Nobody can tell such a copy from one that was made up, so nothing is owed for it, and it is only counted.
//!
//! Once the next entry of the chain is here and names it, it is authentic, whatever its own signature says
//! (docs/protocol.md §3): then it is taken as it came, for a relay may have no other copy.
//!
//! Invariant: what is kept is bounded, is applied only when it is proven, and keeps nothing out that is genuine.

use tombolo_protocol::entry::{Entry, Header};
use tombolo_protocol::frame::Fetch;

use crate::engine::{Engine, Now};
use crate::store::{StoreError, Tx};
use crate::sync::Fault;
use crate::sync::admit::Admission;
use crate::sync::reason::SetAsideReason;

/// Spoilt copies that are kept of a workspace: a lying relay makes up as many as it likes.
const DOUBTS_MAX: usize = 64;
/// How long one is asked for: a relay that has not mended its copy by then will not.
const DOUBT_MAX_MS: i64 = 14 * 24 * 3600 * 1000;

impl Engine {
    /// Notes an entry whose signature does not fit; tells whether it is lacking, or here as it was signed.
    pub(in crate::sync) fn doubt(
        &mut self,
        now: Now,
        workspace: i64,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<Admission, StoreError> {
        const REASON: SetAsideReason = SetAsideReason::BadSignature;
        self.counters.count(REASON);
        if self.branch_with(workspace, entry, tx)?.is_some() {
            return Ok(Admission::Aside);
        }
        let place = (entry.header().chain.id(), entry.header().seq);
        for channel in self.relays.values_mut().filter_map(|relay| relay.channel_mut(workspace)) {
            channel.mending.lacking.note_spoilt(&entry.header().chain);
        }
        let doubts = tx.held_places(workspace, REASON.code())?;
        let taken = tx.chain_by_id(workspace, &place.0)?.is_some_and(|chain| chain.head_seq >= place.1);
        let known = taken || doubts.iter().any(|doubt| (doubt.chain, doubt.seq) == place);
        if known || doubts.len() >= DOUBTS_MAX {
            return Ok(Admission::Waits);
        }
        tx.hold(workspace, entry, REASON.code(), now.wall_ms)?;
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                channel.mending.has_doubts = true;
            }
        }
        Ok(Admission::Waits)
    }

    /// Tells whether an authentic entry that is stored, or waits for this one, names it as its predecessor.
    pub(in crate::sync) fn is_proven(&self, workspace: i64, entry: &Entry, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let header = entry.header();
        for key in [header.chain, header.chain.branch()] {
            if let Some(chain) = tx.chain_by_id(workspace, &key.id())?
                && tx.entry(chain.row, header.seq + 1)?.is_some_and(|next| next.header().names(entry))
            {
                return Ok(true);
            }
        }
        let next = (&header.chain.id(), header.seq + 1);
        let waits = tx.held_entry(workspace, next, SetAsideReason::Gap.code())?;
        Ok(waits.is_some_and(|next| next.header().names(entry)))
    }

    /// Takes in the copy that came spoilt of the entry before an authentic one; tells whether it is stored now.
    fn take_proven(&mut self, now: Now, at: (i64, i64), next: &Header, tx: &Tx<'_>) -> Result<bool, Fault> {
        let reason = SetAsideReason::BadSignature.code();
        let (id, seq) = (next.chain.id(), next.seq - 1);
        let mut doubts = tx.held_places(at.1, reason)?.into_iter();
        if !doubts.any(|doubt| (doubt.chain, doubt.seq, doubt.hash) == (id, seq, next.prev)) {
            return Ok(false);
        }
        match tx.take_held(at.1, (&id, seq), reason)? {
            Some(Some(entry)) if next.names(&entry) => {
                Ok(matches!(self.admit(now, at, entry, tx)?, Admission::Stored { .. }))
            }
            // The disk has changed it: it is asked for again like any other.
            _ => Ok(false),
        }
    }

    /// Lets an entry wait for those before it, if what came spoilt of them is not proven by it.
    pub(in crate::sync) fn admit_ahead(
        &mut self,
        now: Now,
        at: (i64, i64),
        entry: Entry,
        head_seq: u64,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        let header = entry.header();
        if self.take_proven(now, at, header, tx)? {
            return self.admit(now, at, entry, tx);
        }
        self.ask_again(at, &header.chain, head_seq + 1, header.seq - 1);
        self.hold(now, at, &entry, SetAsideReason::Gap, tx)
    }

    /// Asks a relay for what came spoilt, and forgets what has come since.
    pub(in crate::sync) fn fetch_doubted(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if !std::mem::take(&mut channel.mending.has_doubts) {
            return Ok(());
        }
        let number = channel.number;
        let mut wanted = Vec::new();
        for doubt in tx.held_places(at.1, SetAsideReason::BadSignature.code())? {
            let (place, chain) = ((doubt.chain, doubt.seq), tx.chain_by_id(at.1, &doubt.chain)?);
            let has_come = chain.is_some_and(|chain| chain.head_seq >= doubt.seq);
            if has_come || doubt.since_ms.saturating_add(DOUBT_MAX_MS) < now.wall_ms {
                tx.release_held(doubt.held)?;
            } else if channel.fetching.contains_key(&doubt.chain) {
                // What is asked for already may bring it; then it is looked at again.
            } else if channel.mending.doubted.insert(place) {
                channel.fetching.insert(doubt.chain, (doubt.seq, doubt.seq));
                wanted.push(place);
            }
        }
        for (chain, seq) in wanted {
            self.send(at.0, Fetch { channel: number, chain, from_seq: seq, to_seq: seq });
        }
        Ok(())
    }
}
