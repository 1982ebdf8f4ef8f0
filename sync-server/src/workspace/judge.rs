//! The judgement of appended items, in the state that the log will have when they are written.
//!
//! Entries are judged in three steps, so that signatures are verified without the lock: `expand`
//! (short forms, author, role, epoch), `verify` (one signature for each run of a chain), `place`
//! (order in the chain, position).
//!
//! Invariant: `next_position`, members and chains include every item that was placed, committed or
//! not.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::entry::{Entry, Header, verify_run};
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{ChainId, DeviceId, EntryHash, RecordId, WorkspaceTag};
use tombolo_protocol::item::{ElidedEntry, ItemHash, LogItem};
use tombolo_protocol::keys::VerifyKey;
use tombolo_protocol::membership::{Admission, Claim, Membership, View};
use tombolo_protocol::record::Role;

use super::chains::{ChainState, Chains};
use super::right::Caller;
use super::verdicts::{Stop, Verdicts};
use crate::log::{Log, LogError, NewItem, WorkspaceRow};

/// An entry that was read and whose author was found.
#[derive(Debug)]
pub struct Candidate {
    item: u32,
    entry: Entry,
    author: VerifyKey,
    genuine: bool,
    /// Which members it was judged against.
    members_nth: u64,
}

/// Seq and hash of the last entry of each chain that an append has brought so far.
type Tails = BTreeMap<ChainId, (u64, EntryHash)>;

/// What the next items are judged against.
pub struct Judge {
    pub(super) tag: WorkspaceTag,
    pub(super) membership: Membership,
    pub(super) view: View,
    /// Counts the changes of the members.
    pub(super) members_nth: u64,
    /// Positions of records and attestations, by digest.
    pub(super) held: BTreeMap<Digest, u64>,
    /// How many words on snapshots each device has in the log.
    pub(super) words: BTreeMap<DeviceId, u32>,
    next_position: u64,
    /// Bytes of all items, written or about to be.
    bytes: u64,
    chains: Chains,
}

impl Judge {
    pub(super) fn begin(row: &WorkspaceRow) -> Self {
        Self {
            tag: row.workspace.tag(),
            membership: Membership::new(row.workspace),
            view: View::default(),
            members_nth: 0,
            held: BTreeMap::new(),
            words: BTreeMap::new(),
            next_position: row.frontier.length() + 1,
            bytes: row.bytes,
            chains: Chains::new(row.row),
        }
    }

    /// Returns the present members.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns the records.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Forgets what can be looked up again, if there is too much.
    pub fn trim(&mut self, committed: u64) {
        self.chains.trim(committed);
    }

    /// Reads entries, and judges all of them that needs no signature and no order.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read.
    pub fn expand(
        &mut self,
        log: &dyn Log,
        caller: &Caller<'_>,
        items: &[(u32, LogItem<'_>)],
        verdicts: &mut Verdicts,
    ) -> Result<Vec<Candidate>, LogError> {
        let mut tails = Tails::new();
        let mut candidates = Vec::with_capacity(items.len());
        for (index, item) in items {
            match self.expand_one(log, caller, item, &tails) {
                Ok((entry, author)) => {
                    let header = entry.header();
                    tails.insert(header.chain.id(), (header.seq, entry.hash()));
                    let members_nth = self.members_nth;
                    candidates.push(Candidate { item: *index, entry, author, genuine: false, members_nth });
                }
                Err(stop) => verdicts.stop(*index, stop)?,
            }
        }
        Ok(candidates)
    }

    fn expand_one(
        &mut self,
        log: &dyn Log,
        caller: &Caller<'_>,
        item: &LogItem<'_>,
        tails: &Tails,
    ) -> Result<(Entry, VerifyKey), Stop> {
        let entry = match item {
            LogItem::Entry(bytes) => Entry::decode(bytes).map_err(|_| RefusalReason::Malformed)?,
            LogItem::Elided(elided) => self.expand_elided(log, elided, tails)?,
            _ => return Err(RefusalReason::Malformed.into()),
        };
        let author = self.judge_author(caller, &entry)?;
        Ok((entry, author))
    }

    fn expand_elided(&mut self, log: &dyn Log, elided: &ElidedEntry<'_>, tails: &Tails) -> Result<Entry, Stop> {
        let declared = self.chains.declared(log, elided.declared_at)?;
        let declared = declared.ok_or(RefusalReason::UnknownDeclaration)?;
        let chain = declared.chain().id();
        let state = self.chains.state(log, &chain)?;
        let end = state.map(|state| (state.end.seq, state.end.hash));
        let end = tails.get(&chain).copied().or(end);
        let (seq, hash) = end.ok_or(RefusalReason::UnknownDeclaration)?;
        let wanted = elided.seq - 1;
        let prev = match wanted.cmp(&seq) {
            Ordering::Equal => Some(hash),
            Ordering::Less => self.chains.prev(log, &chain, wanted)?,
            Ordering::Greater => None,
        };
        let prev = prev.ok_or(Stop::Refused(RefusalReason::Gap, Some(seq)))?;
        let entry = elided.expand(&declared, prev);
        Ok(entry.map_err(|_| RefusalReason::Malformed)?)
    }

    /// Checks what the session may do now, and all that the header says against the members it names;
    /// returns the author's key.
    ///
    /// Whether the author has been removed since is not asked: another member's session may carry what
    /// was written before, and each device decides what counts (protocol.md §4, *Admission*).
    fn judge_author(&self, caller: &Caller<'_>, entry: &Entry) -> Result<VerifyKey, Stop> {
        let header = entry.header();
        if header.workspace != self.tag {
            return Err(RefusalReason::Malformed.into());
        }
        self.judge_caller(caller, entry)?;
        let device = &header.chain.device;
        let view = self.membership.view_at(&header.members_head).ok_or(RefusalReason::UnknownRecord)?;
        let role = view.role_of_device(device);
        let (Some(role), Some(standing)) = (role, view.device(device)) else {
            return Err(RefusalReason::UnknownAuthor.into());
        };
        if !role.may_write(header.chain.stream) {
            return Err(RefusalReason::RoleDenied.into());
        }
        if view.epoch() != Some(header.epoch) {
            return Err(RefusalReason::EpochMismatch.into());
        }
        Ok(standing.keys.sign)
    }

    fn judge_caller(&self, caller: &Caller<'_>, entry: &Entry) -> Result<(), Stop> {
        let header = entry.header();
        let role = self.right(&caller.device, caller.now_ms).map_err(RefusalReason::from)?;
        let own = header.chain.device == caller.device;
        let may_bring = || own && role.may_write(header.chain.stream) || self.counts_still(entry);
        if role < Role::Writer && !may_bring() {
            return Err(RefusalReason::RoleDenied.into());
        }
        if self.view.is_purged(&header.chain.document) {
            return Err(RefusalReason::DocumentPurged.into());
        }
        Ok(self.reaches(caller, self.levels(caller.minimum).append)?)
    }

    /// Tells whether an entry counts in its own right, whatever was taken from its author since: it does for everybody, and
    /// perhaps nobody holds it but who brings it, be it a reader or a carrier.
    fn counts_still(&self, entry: &Entry) -> bool {
        let (header, hash) = (entry.header(), entry.hash());
        let claim = Claim { chain: &header.chain, seq: header.seq, hash: &hash, members_head: &header.members_head };
        self.membership.admission(&claim) == Admission::Admitted
    }

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
        verdicts: &mut Verdicts,
    ) -> Result<(), LogError> {
        let mut broken = BTreeSet::new();
        for candidate in candidates {
            let chain = candidate.entry.header().chain.id();
            let outcome = if broken.contains(&chain) {
                let end = self.chains.end_seq(log, &chain)?;
                Err(Stop::Refused(RefusalReason::Gap, Some(end)))
            } else if !candidate.genuine {
                Err(RefusalReason::BadSignature.into())
            } else if let Err(stop) = self.judge_again(caller, &candidate) {
                Err(stop)
            } else {
                self.place_entry(log, &candidate.entry, quota_bytes, verdicts)
            };
            match outcome {
                Ok(position) => {
                    let hash = ItemHash::Entry(candidate.entry.hash());
                    verdicts.placed.push((hash, position));
                }
                Err(stop) => {
                    broken.insert(chain);
                    verdicts.stop(candidate.item, stop)?;
                }
            }
        }
        Ok(())
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
        entry: &Entry,
        quota_bytes: Option<u64>,
        verdicts: &mut Verdicts,
    ) -> Result<u64, Stop> {
        let header = entry.header();
        let chain = header.chain.id();
        let state = self.chains.state(log, &chain)?.cloned();
        let end_seq = state.as_ref().map_or(0, |state| state.end.seq);
        if header.seq <= end_seq {
            // Sent again, or a second entry for the same place.
            return match self.chains.held(log, &chain, header.seq)? {
                Some((hash, position)) if hash == entry.hash() => Ok(position),
                _ => self.place_beside(log, entry, quota_bytes, verdicts),
            };
        }
        if let Some(state) = &state {
            if header.seq > end_seq + 1 || header.prev != state.end.hash {
                return self.place_beside(log, entry, quota_bytes, verdicts);
            }
            self.judge_members(header, state)?;
        } else if header.seq > 1 {
            return Err(Stop::Refused(RefusalReason::Gap, Some(end_seq)));
        }
        self.judge_size(entry, quota_bytes)?;
        let (bytes, end) = self.chains.extend(state, entry, self.next_position);
        verdicts.chains.insert(chain, end);
        let hash = ItemHash::Entry(entry.hash());
        Ok(self.push(hash, Some((chain, header.seq)), bytes, verdicts))
    }

    /// Places an entry that does not continue its chain into the second branch of it, if it continues or begins
    /// that: devices must see both to agree on one (ADR 0014). There is no third.
    fn place_beside(
        &mut self,
        log: &dyn Log,
        entry: &Entry,
        quota_bytes: Option<u64>,
        verdicts: &mut Verdicts,
    ) -> Result<u64, Stop> {
        let header = entry.header();
        let (chain, branch) = (header.chain.id(), header.chain.branch());
        let end_seq = self.chains.end_seq(log, &chain)?;
        let state = self.chains.state(log, &branch.id())?.cloned();
        let is_next = match &state {
            Some(state) => header.seq == state.end.seq + 1 && header.prev == state.end.hash,
            None => header.seq <= end_seq + 1 && self.chains.prev(log, &chain, header.seq - 1)? == Some(header.prev),
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
    fn judge_members(&self, header: &Header, state: &ChainState) -> Result<(), Stop> {
        let (newer, older) = (&header.members_head, &state.end.members_head);
        if newer != older && !self.membership.descends(newer, older) {
            return Err(RefusalReason::MembershipRegression.into());
        }
        Ok(())
    }

    /// Notes how many bytes go.
    pub fn free(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn push(
        &mut self,
        hash: ItemHash,
        chain: Option<(ChainId, u64)>,
        bytes: Vec<u8>,
        verdicts: &mut Verdicts,
    ) -> u64 {
        let position = self.next_position;
        self.next_position += 1;
        self.bytes += bytes.len() as u64;
        verdicts.items.push(NewItem { position, hash, chain, bytes });
        position
    }

    /// Returns the position of the item that was written last.
    pub(super) fn last_position(&self) -> u64 {
        self.next_position - 1
    }

    pub(super) fn record_position(&self, id: &RecordId) -> Option<u64> {
        self.held.get(id.as_bytes()).copied()
    }
}

/// Verifies the signatures of candidates, one for each run of a chain.
pub fn verify(candidates: &mut [Candidate]) {
    let mut runs: BTreeMap<ChainId, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        runs.entry(candidate.entry.header().chain.id()).or_default().push(index);
    }
    for run in runs.values() {
        let of_run = run.iter().filter_map(|index| candidates.get(*index));
        let (entries, authors): (Vec<Entry>, Vec<VerifyKey>) =
            of_run.map(|candidate| (candidate.entry.clone(), candidate.author)).unzip();
        let Some(author) = authors.first() else {
            continue;
        };
        // A chain has one device, and a device id one key.
        let verdicts = verify_run(&entries, author);
        for (index, verdict) in run.iter().zip(verdicts) {
            if let Some(candidate) = candidates.get_mut(*index) {
                candidate.genuine = verdict.is_ok();
            }
        }
    }
}
