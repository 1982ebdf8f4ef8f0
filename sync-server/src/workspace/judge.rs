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
use tombolo_protocol::membership::{Membership, View};
use tombolo_protocol::record::Role;

use super::chains::{ChainState, Chains};
use crate::log::{ChainRow, Log, LogError, NewItem, WorkspaceRow};

/// One item that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which item of its append, from 0.
    pub item: u32,
    /// Why.
    pub reason: RefusalReason,
    /// For a gap or fork: the last seq of the chain.
    pub chain_seq: Option<u64>,
}

/// What became of one append.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// What is to be written.
    pub items: Vec<NewItem>,
    /// Every item that the log holds or will hold, in the order of the append.
    pub placed: Vec<(ItemHash, u64)>,
    /// The chains that end elsewhere now.
    pub chains: BTreeMap<ChainId, ChainRow>,
    /// Ids of devices and users that may be members now.
    pub members: Vec<[u8; 32]>,
    /// What is not taken.
    pub refusals: Vec<Refusal>,
}

impl Verdicts {
    /// Notes an item that is not taken.
    pub fn refuse(&mut self, item: u32, reason: RefusalReason) {
        self.refuse_at(item, reason, None);
    }

    fn refuse_at(&mut self, item: u32, reason: RefusalReason, chain_seq: Option<u64>) {
        self.refusals.push(Refusal { item, reason, chain_seq });
    }
}

/// An entry that was read and whose author was found.
#[derive(Debug)]
pub struct Candidate {
    item: u32,
    entry: Entry,
    author: VerifyKey,
    genuine: bool,
}

/// Why the judgement of an item ended early.
enum Stop {
    /// The item is not taken; for a gap or fork with the last seq of its chain.
    Refused(RefusalReason, Option<u64>),
    /// The log can not be read: nobody's fault but the relay's.
    Log(LogError),
}

impl From<RefusalReason> for Stop {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason, None)
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// Seq and hash of the last entry of each chain that an append has brought so far.
type Tails = BTreeMap<ChainId, (u64, EntryHash)>;

/// What the next items are judged against.
pub struct Judge {
    pub(super) tag: WorkspaceTag,
    pub(super) membership: Membership,
    pub(super) view: View,
    /// Positions of records and attestations, by digest.
    pub(super) held: BTreeMap<Digest, u64>,
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
            held: BTreeMap::new(),
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
        session: &DeviceId,
        items: &[(u32, LogItem<'_>)],
        verdicts: &mut Verdicts,
    ) -> Result<Vec<Candidate>, LogError> {
        let mut tails = Tails::new();
        let mut candidates = Vec::with_capacity(items.len());
        for (index, item) in items {
            match self.expand_one(log, session, item, &tails) {
                Ok((entry, author)) => {
                    let header = entry.header();
                    tails.insert(header.chain.id(), (header.seq, entry.hash()));
                    candidates.push(Candidate { item: *index, entry, author, genuine: false });
                }
                Err(Stop::Refused(reason, seq)) => verdicts.refuse_at(*index, reason, seq),
                Err(Stop::Log(error)) => return Err(error),
            }
        }
        Ok(candidates)
    }

    fn expand_one(
        &mut self,
        log: &dyn Log,
        session: &DeviceId,
        item: &LogItem<'_>,
        tails: &Tails,
    ) -> Result<(Entry, VerifyKey), Stop> {
        let entry = match item {
            LogItem::Entry(bytes) => Entry::decode(bytes).map_err(|_| RefusalReason::Malformed)?,
            LogItem::Elided(elided) => self.expand_elided(log, elided, tails)?,
            _ => return Err(RefusalReason::Malformed.into()),
        };
        let author = self.judge_author(session, entry.header())?;
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

    /// Checks all that the header says against the members it names, and returns the author's key.
    fn judge_author(&self, session: &DeviceId, header: &Header) -> Result<VerifyKey, RefusalReason> {
        if header.workspace != self.tag {
            return Err(RefusalReason::Malformed);
        }
        let device = &header.chain.device;
        let own = device == session;
        let carrier = self.view.role_of_device(session);
        let may_carry =
            carrier.is_some_and(|role| role >= Role::Writer || (own && role.may_write(header.chain.stream)));
        if !may_carry {
            return Err(RefusalReason::RoleDenied);
        }
        let view = self.membership.view_at(&header.members_head).ok_or(RefusalReason::UnknownRecord)?;
        let role = view.role_of_device(device);
        let (Some(role), Some(standing)) = (role, view.device(device)) else {
            return Err(RefusalReason::UnknownAuthor);
        };
        if !role.may_write(header.chain.stream) {
            return Err(RefusalReason::RoleDenied);
        }
        if view.epoch() != Some(header.epoch) {
            return Err(RefusalReason::EpochMismatch);
        }
        Ok(standing.keys.sign)
    }

    /// Gives entries their order and position; those that break a chain are refused, and what follows
    /// them in it.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read.
    pub fn place(
        &mut self,
        log: &dyn Log,
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
            } else {
                self.place_entry(log, &candidate.entry, quota_bytes, verdicts)
            };
            match outcome {
                Ok(position) => {
                    let hash = ItemHash::Entry(candidate.entry.hash());
                    verdicts.placed.push((hash, position));
                }
                Err(Stop::Refused(reason, seq)) => {
                    broken.insert(chain);
                    verdicts.refuse_at(candidate.item, reason, seq);
                }
                Err(Stop::Log(error)) => return Err(error),
            }
        }
        Ok(())
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
                _ => Err(Stop::Refused(RefusalReason::Fork, Some(end_seq))),
            };
        }
        if header.seq > end_seq + 1 {
            return Err(Stop::Refused(RefusalReason::Gap, Some(end_seq)));
        }
        if let Some(state) = &state {
            self.judge_link(header, state)?;
        }
        let size = (entry.sealed().len() + entry.clear().len()) as u64;
        if quota_bytes.is_some_and(|quota| self.bytes + size > quota) {
            return Err(RefusalReason::QuotaExceeded.into());
        }
        let (bytes, end) = self.chains.extend(state, entry, self.next_position);
        verdicts.chains.insert(chain, end);
        let hash = ItemHash::Entry(entry.hash());
        Ok(self.push(hash, Some((chain, header.seq)), bytes, verdicts))
    }

    /// Checks that an entry continues its chain, and stands on no older members.
    fn judge_link(&self, header: &Header, state: &ChainState) -> Result<(), Stop> {
        if header.prev != state.end.hash || header.chain != state.end.key {
            return Err(Stop::Refused(RefusalReason::Fork, Some(state.end.seq)));
        }
        let (newer, older) = (&header.members_head, &state.end.members_head);
        if newer != older && !self.membership.descends(newer, older) {
            return Err(RefusalReason::MembershipRegression.into());
        }
        Ok(())
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
