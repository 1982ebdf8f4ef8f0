//! The ends of a workspace's chains, as they will be when everything that was placed is written.
//!
//! Invariant: what is kept here agrees with the log or is ahead of it by what is not committed yet;
//! an end or entry is forgotten only once it is committed, and then looked up again when needed.

use std::collections::BTreeMap;

use tombolo_protocol::entry::{Entry, Header};
use tombolo_protocol::ids::{ChainId, ChainKey, EntryHash};
use tombolo_protocol::item::{Declaration, LogItem};

use crate::log::{ChainRow, Log, LogError, Row, declaration};

/// Chain ends that are kept of one workspace.
const CHAINS_CACHED_MAX: usize = 1024;
/// Entries of one workspace that are kept though they are committed: a hundred bytes each, in thousands of workspaces.
const RECENT_MAX: usize = 64;

/// A chain's end, and what later short forms may name.
#[derive(Clone, Debug)]
pub(super) struct ChainState {
    pub(super) end: ChainRow,
    declaration: Option<Declaration>,
    position: u64,
}

/// The chains of one workspace.
#[derive(Debug)]
pub(super) struct Chains {
    row: Row,
    // Boxed: a map's smallest node has room for eleven, and most workspaces have few chains.
    states: BTreeMap<ChainId, Box<ChainState>>,
    /// Which kept chain's newest declaration stands at a position, by position.
    declarations: Vec<(u64, ChainId)>,
    /// Entries below the ends that may not be committed yet, and their positions.
    recent: BTreeMap<(ChainId, u64), (EntryHash, u64)>,
}

impl Chains {
    pub(super) fn new(row: Row) -> Self {
        Self { row, states: BTreeMap::new(), declarations: Vec::new(), recent: BTreeMap::new() }
    }

    /// Returns the number of their workspace.
    pub(super) fn row(&self) -> Row {
        self.row
    }

    /// Returns a chain's end, from memory or the log.
    pub(super) fn state(&mut self, log: &dyn Log, chain: &ChainId) -> Result<Option<&ChainState>, LogError> {
        if !self.states.contains_key(chain)
            && let Some(end) = log.chain(self.row, chain)?
        {
            let held = log.chain_run(self.row, chain, (end.seq, end.seq), usize::MAX)?;
            let state = ChainState {
                declaration: declaration(log, self.row, end.declared_at)?,
                position: held.first().map_or(0, |item| item.position),
                end,
            };
            self.keep(*chain, state);
        }
        Ok(self.states.get(chain).map(Box::as_ref))
    }

    /// Returns the last seq of a chain, zero for one that has not begun.
    pub(super) fn end_seq(&mut self, log: &dyn Log, chain: &ChainId) -> Result<u64, LogError> {
        Ok(self.state(log, chain)?.map_or(0, |state| state.end.seq))
    }

    /// Finds what a short form names: the newest declaration of a chain from memory, others in the log.
    pub(super) fn declared(&self, log: &dyn Log, position: u64) -> Result<Option<Declaration>, LogError> {
        let chain = self.declarations.binary_search_by_key(&position, |(at, _)| *at);
        let chain = chain.ok().and_then(|place| self.declarations.get(place));
        let kept = chain.and_then(|(_, chain)| self.states.get(chain));
        match kept.and_then(|state| state.declaration.clone()) {
            Some(declaration) => Ok(Some(declaration)),
            None => declaration(log, self.row, position),
        }
    }

    /// Finds an entry by its place: its hash and position.
    pub(super) fn held(&self, log: &dyn Log, chain: &ChainId, seq: u64) -> Result<Option<(EntryHash, u64)>, LogError> {
        if let Some(state) = self.states.get(chain).filter(|state| state.end.seq == seq) {
            return Ok(Some((state.end.hash, state.position)));
        }
        if let Some(recent) = self.recent.get(&(*chain, seq)) {
            return Ok(Some(*recent));
        }
        let held = log.chain_run(self.row, chain, (seq, seq), usize::MAX)?;
        Ok(held.first().map(|item| (item.hash, item.position)))
    }

    /// Returns what an entry at the place after `seq` must name as its predecessor.
    pub(super) fn prev(&self, log: &dyn Log, chain: &ChainId, seq: u64) -> Result<Option<EntryHash>, LogError> {
        match seq {
            0 => Ok(Some(Header::NO_PREV)),
            seq => Ok(self.held(log, chain, seq)?.map(|(hash, _)| hash)),
        }
    }

    /// Moves a chain's end to an entry, and returns the entry in its stored form.
    pub(super) fn extend(
        &mut self,
        chain: ChainId,
        state: Option<ChainState>,
        entry: &Entry,
        position: u64,
    ) -> (Vec<u8>, ChainRow) {
        let header = entry.header();
        let declared = state.as_ref().and_then(|state| {
            let declaration = state.declaration.as_ref()?;
            Some((state.end.declared_at, declaration))
        });
        let bytes = LogItem::encode_entry(entry, declared);
        let elided = matches!(LogItem::decode(&bytes), Ok(LogItem::Elided(_)));
        let (declared_at, declared_seq, declaration) = match state.filter(|_| elided) {
            Some(state) => (state.end.declared_at, state.end.declared_seq, state.declaration),
            None => (position, header.seq, Some(Declaration::of(header))),
        };
        let end = ChainRow {
            key: header.chain,
            seq: header.seq,
            hash: entry.hash(),
            members_head: header.members_head,
            declared_at,
            declared_seq,
        };
        let state = ChainState { end: end.clone(), declaration, position };
        self.keep(chain, state);
        (bytes, end)
    }

    /// Moves the end of a chain's second branch to an entry, and returns the entry as it is stored: in full,
    /// since a short form means the chain itself.
    pub(super) fn extend_beside(&mut self, key: ChainKey, entry: &Entry, position: u64) -> (Vec<u8>, ChainRow) {
        let header = entry.header();
        let end = ChainRow {
            key,
            seq: header.seq,
            hash: entry.hash(),
            members_head: header.members_head,
            declared_at: position,
            declared_seq: header.seq,
        };
        let declaration = Some(Declaration::of(header));
        self.keep(key.id(), ChainState { end: end.clone(), declaration, position });
        (LogItem::encode_entry(entry, None), end)
    }

    /// Forgets what can be looked up again, if there is too much.
    pub(super) fn trim(&mut self, committed: u64) {
        if self.states.len() > CHAINS_CACHED_MAX {
            self.states.retain(|_, state| state.position > committed);
            self.declarations.retain(|(_, chain)| self.states.contains_key(chain));
        }
        if self.recent.len() > RECENT_MAX {
            self.recent.retain(|_, (_, position)| *position > committed);
        }
    }

    /// Forgets all that can be looked up again: a short form that comes later finds its chain in the log.
    pub(super) fn rest(&mut self, committed: u64) {
        self.states.retain(|_, state| state.position > committed);
        self.declarations.retain(|(_, chain)| self.states.contains_key(chain));
        self.recent.retain(|_, (_, position)| *position > committed);
    }

    fn keep(&mut self, chain: ChainId, state: ChainState) {
        let declared_at = state.end.declared_at;
        if let Some(former) = self.states.insert(chain, Box::new(state)) {
            self.recent.insert((chain, former.end.seq), (former.end.hash, former.position));
            if former.end.declared_at == declared_at {
                return;
            }
            self.declarations.retain(|(at, _)| *at != former.end.declared_at);
        }
        let place = self.declarations.partition_point(|(at, _)| *at < declared_at);
        self.declarations.insert(place, (declared_at, chain));
    }
}
