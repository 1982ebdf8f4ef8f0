//! The judgement of appended items, in the state that the log will have when they are written.
//!
//! Entries are judged in three steps, so that signatures are verified without the lock: `expand`
//! (short forms, author, role, epoch), `verify` (one signature for each run of a chain), `place`
//! (order in the chain, position).
//!
//! Invariant: `next_position`, members and chain ends include every item that was placed, committed or
//! not; a chain end leaves the cache only once it is committed.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::entry::{Entry, Header, verify_run};
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{ChainId, DeviceId, EntryHash, RecordId, WorkspaceTag};
use tombolo_protocol::item::{Declaration, ElidedEntry, ItemHash, LogItem};
use tombolo_protocol::keys::VerifyKey;
use tombolo_protocol::membership::{Membership, View};
use tombolo_protocol::record::Role;

use crate::log::{ChainRow, Log, LogError, NewItem, Row, WorkspaceRow, declaration};

/// Chain ends that are kept of one workspace; others are looked up when they are needed.
const CHAINS_CACHED_MAX: usize = 1024;

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
    /// Devices that may be members now.
    pub devices: Vec<DeviceId>,
    /// What is not taken.
    pub refusals: Vec<Refusal>,
}

impl Verdicts {
    pub(super) fn refuse(&mut self, item: u32, reason: RefusalReason) {
        self.refusals.push(Refusal {
            item,
            reason,
            chain_seq: None,
        });
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

/// A chain's end, and what later short forms may name.
#[derive(Clone, Debug)]
struct ChainState {
    end: ChainRow,
    declaration: Option<Declaration>,
    position: u64,
}

/// What the next items are judged against.
pub struct Judge {
    pub(super) row: Row,
    pub(super) tag: WorkspaceTag,
    pub(super) membership: Membership,
    pub(super) view: View,
    /// Positions of records and attestations, by digest.
    pub(super) held: BTreeMap<Digest, u64>,
    pub(super) next_position: u64,
    /// Bytes of all items, written or about to be.
    pub(super) bytes: u64,
    chains: BTreeMap<ChainId, ChainState>,
    /// Which cached chain's newest declaration stands at a position.
    declarations: BTreeMap<u64, ChainId>,
    /// Entries that may not be committed yet.
    recent: BTreeMap<(ChainId, u64), (EntryHash, u64)>,
}

impl Judge {
    pub(super) fn begin(row: &WorkspaceRow) -> Self {
        Self {
            row: row.row,
            tag: row.workspace.tag(),
            membership: Membership::new(row.workspace),
            view: View::default(),
            held: BTreeMap::new(),
            next_position: row.frontier.length() + 1,
            bytes: row.bytes,
            chains: BTreeMap::new(),
            declarations: BTreeMap::new(),
            recent: BTreeMap::new(),
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

    /// Returns the bytes of all items, written or about to be.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
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
        let carrier = self.view.role_of_device(session);
        let mut tails = BTreeMap::new();
        let mut candidates = Vec::with_capacity(items.len());
        for (index, item) in items {
            let read = match item {
                LogItem::Entry(bytes) => {
                    Ok(Entry::decode(bytes).map_err(|_| (RefusalReason::Malformed, None)))
                }
                LogItem::Elided(elided) => self.expand_elided(log, elided, &tails),
                _ => Ok(Err((RefusalReason::Malformed, None))),
            }?;
            let judged = read.and_then(|entry| {
                let author = self.judge_author(session, carrier, entry.header());
                author.map_or_else(|reason| Err((reason, None)), |author| Ok((entry, author)))
            });
            match judged {
                Ok((entry, author)) => {
                    tails.insert(
                        entry.header().chain.id(),
                        (entry.header().seq, entry.hash()),
                    );
                    candidates.push(Candidate {
                        item: *index,
                        entry,
                        author,
                        genuine: false,
                    });
                }
                Err((reason, chain_seq)) => verdicts.refusals.push(Refusal {
                    item: *index,
                    reason,
                    chain_seq,
                }),
            }
        }
        Ok(candidates)
    }

    #[expect(
        clippy::type_complexity,
        reason = "a store's failure and a peer's are kept apart"
    )]
    fn expand_elided(
        &mut self,
        log: &dyn Log,
        elided: &ElidedEntry<'_>,
        tails: &BTreeMap<ChainId, (u64, EntryHash)>,
    ) -> Result<Result<Entry, (RefusalReason, Option<u64>)>, LogError> {
        let Some(declared) = self.declared(log, elided.declared_at)? else {
            return Ok(Err((RefusalReason::UnknownDeclaration, None)));
        };
        let chain = declared.chain().id();
        let end = self
            .chain(log, &chain)?
            .map(|state| (state.end.seq, state.end.hash));
        let end = tails.get(&chain).copied().or(end);
        let Some((seq, hash)) = end else {
            return Ok(Err((RefusalReason::UnknownDeclaration, None)));
        };
        let wanted = elided.seq - 1;
        let prev = match wanted.cmp(&seq) {
            std::cmp::Ordering::Equal => Some(hash),
            std::cmp::Ordering::Less => self.hash_at(log, &chain, wanted)?,
            std::cmp::Ordering::Greater => None,
        };
        let Some(prev) = prev else {
            return Ok(Err((RefusalReason::Gap, Some(seq))));
        };
        let entry = elided.expand(&declared, prev);
        Ok(entry.map_err(|_| (RefusalReason::Malformed, None)))
    }

    /// Finds what a short form names: the newest declaration of a chain from memory, others in the log.
    fn declared(&mut self, log: &dyn Log, position: u64) -> Result<Option<Declaration>, LogError> {
        let cached = self
            .declarations
            .get(&position)
            .and_then(|chain| self.chains.get(chain));
        if let Some(declaration) = cached.and_then(|state| state.declaration.clone()) {
            return Ok(Some(declaration));
        }
        declaration(log, self.row, position)
    }

    /// Checks all that the header says against the members it names, and returns the author's key.
    fn judge_author(
        &self,
        session: &DeviceId,
        carrier: Option<Role>,
        header: &Header,
    ) -> Result<VerifyKey, RefusalReason> {
        if header.workspace != self.tag {
            return Err(RefusalReason::Malformed);
        }
        let device = &header.chain.device;
        let own = device == session;
        let may_carry = carrier.is_some_and(|role| {
            role >= Role::Writer || (own && role.may_write(header.chain.stream))
        });
        if !may_carry {
            return Err(RefusalReason::RoleDenied);
        }
        let view = self
            .membership
            .view_at(&header.members_head)
            .ok_or(RefusalReason::UnknownRecord)?;
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
                let end = self.chain(log, &chain)?.map_or(0, |state| state.end.seq);
                Err((RefusalReason::Gap, Some(end)))
            } else if !candidate.genuine {
                Err((RefusalReason::BadSignature, None))
            } else {
                self.place_entry(log, &candidate.entry, quota_bytes, verdicts)?
            };
            match outcome {
                Ok(position) => {
                    let hash = ItemHash::Entry(candidate.entry.hash());
                    verdicts.placed.push((hash, position));
                }
                Err((reason, chain_seq)) => {
                    broken.insert(chain);
                    verdicts.refusals.push(Refusal {
                        item: candidate.item,
                        reason,
                        chain_seq,
                    });
                }
            }
        }
        Ok(())
    }

    #[expect(
        clippy::type_complexity,
        reason = "a store's failure and a peer's are kept apart"
    )]
    fn place_entry(
        &mut self,
        log: &dyn Log,
        entry: &Entry,
        quota_bytes: Option<u64>,
        verdicts: &mut Verdicts,
    ) -> Result<Result<u64, (RefusalReason, Option<u64>)>, LogError> {
        let header = entry.header();
        let chain = header.chain.id();
        let state = self.chain(log, &chain)?.cloned();
        let end_seq = state.as_ref().map_or(0, |state| state.end.seq);
        if header.seq <= end_seq {
            return self.find_held(log, entry, end_seq);
        }
        if header.seq > end_seq + 1 {
            return Ok(Err((RefusalReason::Gap, Some(end_seq))));
        }
        if let Some(state) = &state {
            if header.prev != state.end.hash || header.chain != state.end.key {
                return Ok(Err((RefusalReason::Fork, Some(end_seq))));
            }
            let (newer, older) = (&header.members_head, &state.end.members_head);
            if newer != older && !self.membership.descends(newer, older) {
                return Ok(Err((RefusalReason::MembershipRegression, None)));
            }
        }
        let size = (entry.sealed().len() + entry.clear().len()) as u64;
        if quota_bytes.is_some_and(|quota| self.bytes + size > quota) {
            return Ok(Err((RefusalReason::QuotaExceeded, None)));
        }
        Ok(Ok(self.write_entry(entry, state, verdicts)))
    }

    /// Looks whether the log holds this very entry.
    #[expect(
        clippy::type_complexity,
        reason = "a store's failure and a peer's are kept apart"
    )]
    fn find_held(
        &self,
        log: &dyn Log,
        entry: &Entry,
        end_seq: u64,
    ) -> Result<Result<u64, (RefusalReason, Option<u64>)>, LogError> {
        let (chain, seq) = (entry.header().chain.id(), entry.header().seq);
        Ok(match self.held_at(log, &chain, seq)? {
            Some((hash, position)) if hash == entry.hash() => Ok(position),
            _ => Err((RefusalReason::Fork, Some(end_seq))),
        })
    }

    fn write_entry(
        &mut self,
        entry: &Entry,
        state: Option<ChainState>,
        verdicts: &mut Verdicts,
    ) -> u64 {
        let header = entry.header();
        let (chain, position) = (header.chain.id(), self.next_position);
        let declared = state.as_ref().and_then(|state| {
            let declaration = state.declaration.as_ref()?;
            Some((state.end.declared_at, declaration))
        });
        let bytes = LogItem::encode_entry(entry, declared);
        let full = matches!(LogItem::decode(&bytes), Ok(LogItem::Entry(_)));
        let (declared_at, declared_seq) = match &state {
            Some(state) if !full => (state.end.declared_at, state.end.declared_seq),
            _ => (position, header.seq),
        };
        let declaration = match state {
            Some(state) if !full => state.declaration,
            _ => Some(Declaration::of(header)),
        };
        let end = ChainRow {
            key: header.chain,
            seq: header.seq,
            hash: entry.hash(),
            members_head: header.members_head,
            declared_at,
            declared_seq,
        };
        verdicts.chains.insert(chain, end.clone());
        self.recent
            .insert((chain, header.seq), (entry.hash(), position));
        self.keep(
            chain,
            ChainState {
                end,
                declaration,
                position,
            },
        );
        let hash = ItemHash::Entry(entry.hash());
        self.push(hash, Some((chain, header.seq)), bytes, verdicts)
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
        verdicts.items.push(NewItem {
            position,
            hash,
            chain,
            bytes,
        });
        position
    }

    fn keep(&mut self, chain: ChainId, state: ChainState) {
        let declared_at = state.end.declared_at;
        if let Some(former) = self.chains.insert(chain, state) {
            self.declarations.remove(&former.end.declared_at);
        }
        self.declarations.insert(declared_at, chain);
    }

    /// Forgets chain ends and entries that can be looked up again, if there are too many.
    pub fn trim(&mut self, committed: u64) {
        if self.chains.len() > CHAINS_CACHED_MAX {
            self.chains.retain(|_, state| state.position > committed);
            self.declarations
                .retain(|_, chain| self.chains.contains_key(chain));
        }
        if self.recent.len() > CHAINS_CACHED_MAX {
            self.recent.retain(|_, (_, position)| *position > committed);
        }
    }

    fn chain(&mut self, log: &dyn Log, chain: &ChainId) -> Result<Option<&ChainState>, LogError> {
        if !self.chains.contains_key(chain)
            && let Some(end) = log.chain(self.row, chain)?
        {
            let held = log.chain_run(self.row, chain, (end.seq, end.seq), usize::MAX)?;
            let position = held.first().map_or(0, |item| item.position);
            let declaration = declaration(log, self.row, end.declared_at)?;
            self.keep(
                *chain,
                ChainState {
                    end,
                    declaration,
                    position,
                },
            );
        }
        Ok(self.chains.get(chain))
    }

    fn hash_at(
        &self,
        log: &dyn Log,
        chain: &ChainId,
        seq: u64,
    ) -> Result<Option<EntryHash>, LogError> {
        if seq == 0 {
            return Ok(Some(Header::NO_PREV));
        }
        Ok(self.held_at(log, chain, seq)?.map(|(hash, _)| hash))
    }

    fn held_at(
        &self,
        log: &dyn Log,
        chain: &ChainId,
        seq: u64,
    ) -> Result<Option<(EntryHash, u64)>, LogError> {
        if let Some(recent) = self.recent.get(&(*chain, seq)) {
            return Ok(Some(*recent));
        }
        let held = log.chain_run(self.row, chain, (seq, seq), usize::MAX)?;
        Ok(held.first().map(|item| (item.hash, item.position)))
    }

    pub(super) fn record_position(&self, id: &RecordId) -> Option<u64> {
        self.held.get(id.as_bytes()).copied()
    }
}

/// Verifies the signatures of candidates, one for each run of a chain.
pub fn verify(candidates: &mut [Candidate]) {
    let mut runs: BTreeMap<ChainId, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        runs.entry(candidate.entry.header().chain.id())
            .or_default()
            .push(index);
    }
    for run in runs.values() {
        let of_run = run.iter().filter_map(|index| candidates.get(*index));
        let (entries, authors): (Vec<Entry>, Vec<VerifyKey>) = of_run
            .map(|candidate| (candidate.entry.clone(), candidate.author))
            .unzip();
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
