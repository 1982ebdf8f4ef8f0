//! The judgement of appended items, in the state that the log will have when they are written.
//!
//! Entries are judged in three steps, so that signatures are verified without the lock: `expand`
//! (short forms, author, role, epoch), `verify` (one signature for each run of a chain), `place`
//! (order in the chain, position).
//!
//! Invariant: `next_position`, members and chains include every item that was placed, committed or
//! not.

mod floors;
mod place;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use tombolo_protocol::entry::{Entry, verify_run};
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{ChainId, ChainKey, DeviceId, DocumentTag, EntryHash, RecordId, WorkspaceTag};
use tombolo_protocol::item::{ElidedEntry, ItemHash, LogItem};
use tombolo_protocol::keys::VerifyKey;
use tombolo_protocol::membership::{Admission, Claim, Membership, View};
use tombolo_protocol::record::Role;

use super::chains::Chains;
use super::right::Caller;
use super::verdicts::{Stop, Verdicts};
use crate::log::{Log, LogError, NewItem, WorkspaceRow};

pub use floors::{Proof, Room, Showing};

/// Records, attestations and words of a workspace that are let go while nothing happens in it: to verify so many anew
/// takes two milliseconds or so.
const STATEMENTS_AT_REST_MAX: usize = 16;

/// An entry that was read and whose author was found.
#[derive(Debug)]
pub struct Candidate {
    item: u32,
    chain: ChainId,
    entry: Entry,
    author: VerifyKey,
    genuine: bool,
    /// Which members it was judged against.
    members_nth: u64,
}

/// The chains of an append, as it has brought them so far.
#[derive(Default)]
struct Tails {
    /// Seq and hash of the last entry of each.
    ends: BTreeMap<ChainId, (u64, EntryHash)>,
    /// The one that was asked for last.
    last: Option<(ChainKey, ChainId)>,
}

impl Tails {
    /// Returns the short form of a key, which is a hash: most entries are of the same chain as the one before.
    fn id(&mut self, key: &ChainKey) -> ChainId {
        match self.last {
            Some((last, id)) if last == *key => id,
            _ => self.last.insert((*key, key.id())).1,
        }
    }
}

/// The view of no records: one for all workspaces at rest.
static NOBODY: LazyLock<Arc<View>> = LazyLock::new(Arc::default);

/// What the next items are judged against.
pub struct Judge {
    pub(super) tag: WorkspaceTag,
    pub(super) membership: Membership,
    pub(super) view: Arc<View>,
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
    /// Floors that were taken since this was loaded: from where on a chain is held, and of which document it is.
    floors: BTreeMap<ChainId, (DocumentTag, u64)>,
    /// Whether it was asked for since it was last told to rest.
    at_work: bool,
    /// Whether what it holds was let go.
    at_rest: bool,
    /// Whether the log holds a record that did not count when it was loaded: somebody put it there past the judge.
    pub(super) doubtful: bool,
}

impl Judge {
    pub(super) fn begin(row: &WorkspaceRow) -> Self {
        Self {
            tag: row.workspace.tag(),
            membership: Membership::new(row.workspace),
            view: Arc::clone(&NOBODY),
            members_nth: 0,
            held: BTreeMap::new(),
            words: BTreeMap::new(),
            next_position: row.frontier.length() + 1,
            bytes: row.bytes,
            chains: Chains::new(row.row),
            floors: BTreeMap::new(),
            at_work: true,
            at_rest: false,
            doubtful: false,
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

    /// Tells whether it has to be loaded before anything is judged.
    pub(super) fn is_at_rest(&self) -> bool {
        self.at_rest
    }

    /// Notes that it is asked for.
    pub(super) fn work(&mut self) {
        self.at_work = true;
    }

    /// Tells whether it was not asked for since this was called last, and holds something still.
    pub(super) fn may_rest(&mut self) -> bool {
        !std::mem::replace(&mut self.at_work, false) && !self.at_rest
    }

    /// Forgets what is in the log: all of it where that is quickly loaded and nothing is under way, and the ends of chains
    /// in any case.
    pub(super) fn rest(&mut self, committed: &WorkspaceRow) {
        let all_is_committed = self.last_position() == committed.frontier.length() && self.bytes == committed.bytes;
        if all_is_committed && self.held.len() <= STATEMENTS_AT_REST_MAX {
            let (members_nth, doubtful) = (self.members_nth, self.doubtful);
            *self = Self { members_nth, doubtful, at_rest: true, at_work: false, ..Self::begin(committed) };
        } else {
            self.chains.rest(committed.frontier.length());
        }
    }

    /// Loads what was forgotten; whatever was judged before is judged anew, but for the signatures of records, if all of
    /// them were verified when this process placed or first loaded them.
    pub(super) fn wake(&mut self, log: &dyn Log, row: &WorkspaceRow) -> Result<(), LogError> {
        let members_nth = self.members_nth + 1;
        *self = Self { members_nth, ..Self::load(log, row, !self.doubtful)? };
        Ok(())
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
        let mut tails = Tails::default();
        let mut candidates = Vec::with_capacity(items.len());
        for (index, item) in items {
            match self.expand_one(log, caller, item, &mut tails) {
                Ok((entry, author)) => {
                    let chain = tails.id(&entry.header().chain);
                    tails.ends.insert(chain, (entry.header().seq, entry.hash()));
                    let members_nth = self.members_nth;
                    candidates.push(Candidate { item: *index, chain, entry, author, genuine: false, members_nth });
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
        tails: &mut Tails,
    ) -> Result<(Entry, VerifyKey), Stop> {
        let entry = match item {
            LogItem::Entry(bytes) => Entry::decode(bytes).map_err(|_| RefusalReason::Malformed)?,
            LogItem::Elided(elided) => self.expand_elided(log, elided, tails)?,
            _ => return Err(RefusalReason::Malformed.into()),
        };
        let author = self.judge_author(caller, &entry)?;
        Ok((entry, author))
    }

    fn expand_elided(&mut self, log: &dyn Log, elided: &ElidedEntry<'_>, tails: &mut Tails) -> Result<Entry, Stop> {
        let declared = self.chains.declared(log, elided.declared_at)?;
        let declared = declared.ok_or(RefusalReason::UnknownDeclaration)?;
        let chain = tails.id(declared.chain());
        let state = self.chains.state(log, &chain)?;
        let end = state.map(|state| (state.end.seq, state.end.hash));
        let end = tails.ends.get(&chain).copied().or(end);
        let (seq, hash) = end.ok_or(RefusalReason::UnknownDeclaration)?;
        let wanted = elided.seq - 1;
        let prev = match wanted.cmp(&seq) {
            Ordering::Equal => Some(hash),
            Ordering::Less => match self.chains.prev(log, &chain, wanted)? {
                // Below a floor nothing is here, and the floor itself says what it stands on.
                None => self.prev_of_held(log, &chain, elided.seq)?,
                prev => prev,
            },
            Ordering::Greater => None,
        };
        if prev.is_none() {
            self.judge_below(log, &chain, wanted)?;
        }
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
        runs.entry(candidate.chain).or_default().push(index);
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
