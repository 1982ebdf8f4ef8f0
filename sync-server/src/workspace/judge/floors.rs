//! What a log takes on a snapshot's word because nobody need hold it any more (ADR 0018).
//!
//! A log that was lost, or put back to before, is brought the rest by devices; and of what a relay had deleted they may
//! have no more than the snapshot and what came after. So a device shows the snapshot's last part, then the entry at each
//! covered end, then the run of the snapshot's own chain. Nothing of that has a place until all of it is here and the rule
//! holds by which a relay deletes; then all that the log lacks of it is placed at once.
//!
//! Invariant: a chain begins above 1, or goes on behind a gap, only in the transaction that makes the snapshot whole in
//! the log, with the very entry that its cover names. Until then the log takes the entries below as ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::ids::{ChainId, EntryHash, Stream};
use tombolo_protocol::limits::CHANGE_BYTES_MAX;
use tombolo_protocol::membership::{Claim, Vouched};
use tombolo_protocol::snapshot::Cover;

use super::Judge;
use crate::log::{Floor, Log, LogError, TakenFloor};
use crate::workspace::sweep::{entry_at, words_on};
use crate::workspace::verdicts::{Stop, Verdicts};

/// Bytes that all sessions of a relay may have shown and not made whole: one snapshot of the greatest size.
const SHOWN_BYTES_MAX: usize = CHANGE_BYTES_MAX + (4 << 20);

/// The room for what is shown, of all sessions of a relay together.
#[derive(Debug, Default)]
pub struct Room(AtomicUsize);

/// What one session shows of one workspace.
#[derive(Debug)]
pub struct Showing {
    room: Arc<Room>,
    proof: Option<Box<Proof>>,
}

/// A snapshot that has enough words, and what was shown of it.
#[derive(Debug)]
pub struct Proof {
    last: Entry,
    cover: Cover,
    /// The entries at the covered ends.
    ends: BTreeMap<ChainId, Entry>,
    /// What the log lacks of the snapshot's own chain before the last part, as far as it came.
    run: Vec<Entry>,
    space: Space,
}

/// Some of the room, until it is dropped.
#[derive(Debug)]
struct Space {
    room: Arc<Room>,
    bytes: usize,
}

impl Showing {
    /// Goes on with what a session has shown before.
    #[must_use]
    pub fn new(room: &Arc<Room>, proof: Option<Box<Proof>>) -> Self {
        Self { room: Arc::clone(room), proof }
    }

    /// Returns what is to be kept until the session shows more.
    #[must_use]
    pub fn into_proof(self) -> Option<Box<Proof>> {
        self.proof
    }
}

impl Space {
    fn new(room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), bytes: 0 }
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Stop> {
        let bytes = size(entry);
        let grown = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= SHOWN_BYTES_MAX);
        let room = &self.room.0;
        room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).map_err(|_| RefusalReason::QuotaExceeded)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Proof {
    fn own(&self) -> ChainId {
        self.last.header().chain.id()
    }

    /// Returns where the run of the snapshot's own chain begins.
    fn begin(&self) -> u64 {
        self.cover.chains.get(&self.own()).map_or(1, |(seq, _)| *seq)
    }

    fn is_end(&self, entry: &Entry) -> bool {
        let header = entry.header();
        self.cover.chains.get(&header.chain.id()) == Some(&(header.seq, entry.hash()))
    }

    /// Tells whether an entry is the next of the run.
    fn is_next(&self, entry: &Entry) -> bool {
        let (header, own) = (entry.header(), self.own());
        if header.chain.id() != own || header.seq >= self.last.header().seq {
            return false;
        }
        match self.run.last() {
            Some(before) => header.names(before),
            None => header.seq == self.begin() && (self.is_end(entry) || !self.cover.chains.contains_key(&own)),
        }
    }
}

impl Judge {
    /// Looks at an entry that was placed or has no place, and keeps it if a session shows it.
    pub(super) fn look_at_shown(
        &mut self,
        log: &dyn Log,
        showing: &mut Showing,
        entry: &Entry,
        outcome: Result<u64, Stop>,
    ) -> Result<u64, Stop> {
        let lacks = matches!(outcome, Err(Stop::Refused(RefusalReason::Gap, _)));
        if outcome.is_err() && !lacks {
            return outcome;
        }
        let kept = match &mut showing.proof {
            Some(proof) => self.keep_shown(proof, entry, lacks),
            None => Ok(false),
        };
        match kept {
            // It has its place, whatever it is worth to the snapshot.
            Err(_) if !lacks => showing.proof = None,
            Ok(false) if is_last_part(entry) => {
                if let Some(proof) = self.begin_proof(log, &showing.room, entry, lacks)? {
                    showing.proof = Some(Box::new(proof));
                    return outcome.map_err(|_| Stop::Shown);
                }
            }
            Ok(true) if lacks => return Err(Stop::Shown),
            Err(stop) => return Err(stop),
            Ok(_) => {}
        }
        outcome
    }

    fn keep_shown(&self, proof: &mut Proof, entry: &Entry, lacks: bool) -> Result<bool, Stop> {
        let (is_end, is_next) = (proof.is_end(entry), lacks && proof.is_next(entry));
        if !is_end && !is_next {
            return Ok(false);
        }
        if is_end {
            self.judge_end(proof, entry)?;
        }
        proof.space.take(entry)?;
        if is_end {
            proof.ends.insert(entry.header().chain.id(), entry.clone());
        }
        if is_next {
            proof.run.push(entry.clone());
        }
        Ok(true)
    }

    fn begin_proof(
        &mut self,
        log: &dyn Log,
        room: &Arc<Room>,
        last: &Entry,
        lacks: bool,
    ) -> Result<Option<Proof>, Stop> {
        // What leaves something out is made by nobody yet.
        let Some(cover) = Cover::decode(last.clear()).ok().filter(|cover| cover.excluded.is_empty()) else {
            return Ok(None);
        };
        let mut lacks = lacks;
        for (chain, (seq, _)) in &cover.chains {
            lacks |= self.chains.end_seq(log, chain)? < *seq;
        }
        if !lacks || !self.is_vouched(log, last)? {
            return Ok(None);
        }
        let mut space = Space::new(room);
        space.take(last)?;
        Ok(Some(Proof { last: last.clone(), cover, ends: BTreeMap::new(), run: Vec::new(), space }))
    }

    /// Tells whether a snapshot may stand for entries: by the words that are committed, and the records of this moment.
    fn is_vouched(&self, log: &dyn Log, last: &Entry) -> Result<bool, LogError> {
        let header = last.header();
        let words = words_on(log, self.chains.row(), &last.hash())?;
        let vouched = self.membership.vouched((&header.chain.device, &header.members_head), &words);
        Ok(vouched == Vouched::Enough && !self.view.has_verdicts())
    }

    /// Checks that a covered end is of the snapshot's content, and counts in its own right with all below it.
    fn judge_end(&self, proof: &Proof, end: &Entry) -> Result<(), Stop> {
        let (of, header, hash) = (&proof.last.header().chain, end.header(), end.hash());
        let is_of_it = (header.chain.document, header.chain.stream) == (of.document, of.stream);
        let claim = Claim { chain: &header.chain, seq: header.seq, hash: &hash, members_head: &header.members_head };
        if is_of_it && self.membership.admits_up_to(&claim) { Ok(()) } else { Err(lacking(0)) }
    }

    /// Takes what a session has shown, once all of it is here.
    pub(super) fn take_shown(
        &mut self,
        log: &dyn Log,
        showing: &mut Showing,
        quota_bytes: Option<u64>,
        verdicts: &mut Verdicts,
    ) -> Result<(), Stop> {
        let is_whole = match &showing.proof {
            Some(proof) => self.is_whole(log, proof)?,
            None => false,
        };
        let Some(proof) = showing.proof.take_if(|_| is_whole) else {
            return Ok(());
        };
        self.judge_proof(log, &proof)?;
        if quota_bytes.is_some_and(|quota| self.bytes + proof.space.bytes as u64 > quota) {
            return Err(RefusalReason::QuotaExceeded.into());
        }
        let (snapshot, from_seq, to_seq) = (proof.own(), proof.begin(), proof.last.header().seq);
        let of_snapshot = Floor { seq: 0, snapshot, from_seq, to_seq };
        for entry in proof.run.iter().chain([&proof.last]).chain(proof.ends.values()) {
            self.write_shown(log, entry, of_snapshot, verdicts)?;
        }
        tracing::info!(chains = verdicts.floors.len(), "a snapshot stands for what this log lacks");
        Ok(())
    }

    fn is_whole(&mut self, log: &dyn Log, proof: &Proof) -> Result<bool, LogError> {
        if proof.cover.chains.keys().any(|chain| !proof.ends.contains_key(chain)) {
            return Ok(false);
        }
        let last = proof.last.header();
        let end = self.chains.state(log, &proof.own())?.map(|state| (state.end.seq, state.end.hash));
        if end.is_some_and(|(seq, _)| seq >= last.seq) {
            return Ok(true);
        }
        let before = proof.run.last().map(Entry::hash).or(end.map(|(_, hash)| hash));
        Ok(before == Some(last.prev))
    }

    /// Asks of all that was shown what is asked before something is deleted, and that it fits what is here.
    fn judge_proof(&mut self, log: &dyn Log, proof: &Proof) -> Result<(), Stop> {
        let (own, last) = (proof.own(), proof.last.header());
        let reaches = |chain: &ChainId, floor: u64| proof.cover.chains.get(chain).is_some_and(|(seq, _)| *seq >= floor);
        let floors = log.floors(self.chains.row(), &last.chain.document)?;
        let taken = self.floors.iter().filter(|(_, (document, _))| *document == last.chain.document);
        let taken = taken.map(|(chain, (_, seq))| (chain, *seq));
        // What is gone because of another one, this one must stand for as well.
        let reaches_all =
            floors.iter().map(|(chain, seq)| (chain, *seq)).chain(taken).all(|(id, seq)| reaches(id, seq));
        if !reaches_all || !self.is_vouched(log, &proof.last)? {
            return Err(lacking(self.chains.end_seq(log, &own)?));
        }
        let run = || proof.run.iter().chain([&proof.last]);
        for (older, newer) in run().zip(run().skip(1)) {
            let heads = (&newer.header().members_head, &older.header().members_head);
            if heads.0 != heads.1 && !self.membership.descends(heads.0, heads.1) {
                return Err(RefusalReason::MembershipRegression.into());
            }
        }
        for entry in run().chain(proof.ends.values()) {
            self.judge_place(log, entry)?;
        }
        proof.ends.values().try_for_each(|end| self.judge_end(proof, end))
    }

    /// Checks that an entry contradicts nothing that is here of its chain, which has one branch.
    fn judge_place(&mut self, log: &dyn Log, entry: &Entry) -> Result<(), Stop> {
        let header = entry.header();
        let chain = header.chain.id();
        let end_seq = self.chains.end_seq(log, &chain)?;
        if self.chains.state(log, &header.chain.branch().id())?.is_some() {
            return Err(Stop::Refused(RefusalReason::Fork, Some(end_seq)));
        }
        if header.seq > end_seq {
            let state = self.chains.state(log, &chain)?.cloned();
            return state.map_or(Ok(()), |state| self.judge_members(header, &state));
        }
        match self.chains.held(log, &chain, header.seq)? {
            Some((hash, _)) if hash == entry.hash() => Ok(()),
            Some(_) => Err(Stop::Refused(RefusalReason::Fork, Some(end_seq))),
            None => Err(lacking(end_seq)),
        }
    }

    /// Places an entry that was shown, if the log lacks it; where it does not follow what is here, its chain has a floor.
    fn write_shown(
        &mut self,
        log: &dyn Log,
        entry: &Entry,
        of: Floor,
        verdicts: &mut Verdicts,
    ) -> Result<(), LogError> {
        let header = entry.header();
        let chain = header.chain.id();
        let state = self.chains.state(log, &chain)?.cloned();
        if state.as_ref().is_some_and(|state| state.end.seq >= header.seq) {
            return Ok(());
        }
        let before = state.as_ref().map_or((0, None), |state| (state.end.seq, Some(state.end.hash)));
        let follows = before.0 + 1 == header.seq && before.1.is_none_or(|hash| hash == header.prev);
        if !follows {
            let (document, floor) = (header.chain.document, Floor { seq: header.seq, ..of });
            self.floors.insert(chain, (document, header.seq));
            verdicts.floors.push(TakenFloor { chain, document, floor });
        }
        // Behind a gap it says in full what later short forms name.
        self.write_entry(chain, state.filter(|_| follows), entry, verdicts);
        Ok(())
    }

    /// Returns what the entry in a place names as its predecessor, if that entry is here in full.
    pub(super) fn prev_of_held(&self, log: &dyn Log, chain: &ChainId, seq: u64) -> Result<Option<EntryHash>, LogError> {
        let Some((_, position)) = self.chains.held(log, chain, seq)? else {
            return Ok(None);
        };
        Ok(entry_at(log, self.chains.row(), position)?.map(|entry| entry.header().prev))
    }

    /// Refuses an entry that a snapshot stands for and that is not here; its author goes on from the floor.
    pub(super) fn judge_below(&self, log: &dyn Log, chain: &ChainId, seq: u64) -> Result<(), Stop> {
        let taken = self.floors.get(chain).map(|(_, seq)| *seq);
        let floor = match taken {
            Some(floor) => Some(floor),
            None => log.floor(self.chains.row(), chain)?.map(|floor| floor.seq),
        };
        match floor.filter(|floor| seq < *floor) {
            Some(floor) => Err(Stop::Below(floor - 1)),
            None => Ok(()),
        }
    }
}

/// What stands on something that the log lacks waits for who has that.
fn lacking(end_seq: u64) -> Stop {
    Stop::Refused(RefusalReason::Gap, Some(end_seq))
}

fn is_last_part(entry: &Entry) -> bool {
    let header = entry.header();
    let is_snapshot = header.kind == EntryKind::Snapshot && !header.flags.has(EntryFlags::CONTINUES);
    is_snapshot && header.chain.stream == Stream::CONTENT
}

fn size(entry: &Entry) -> usize {
    entry.sealed().len() + entry.clear().len()
}
