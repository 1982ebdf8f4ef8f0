//! What of a log a snapshot stands for, and when that may go (ADR 0018).
//!
//! A snapshot is found to have enough words; that is written down with the time. If it has them still when the retention
//! has passed, the entries that it covers go, but for the last one of each chain: who has none of them begins there.
//!
//! Invariant: nothing goes of a document of which a covered entry may not count for somebody: every covered chain is
//! held to the very entry that the cover names, that entry counts in its own right and all below it, no admin has judged
//! any entry, and no chain has two branches. Positions, leaves and heads stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{ChainId, ChainKey, DeviceId, EntryHash, RecordId};
use tombolo_protocol::item::LogItem;
use tombolo_protocol::membership::{Claim, Membership, Vouched};
use tombolo_protocol::snapshot::{Attest, Cover};

use super::Workspace;
use crate::log::{Cut, Floor, Log, LogError, Row, SweptWrite, expand_run};

/// The words on each snapshot: who spoke, and the members_head that they name.
type Words = BTreeMap<EntryHash, Vec<(DeviceId, RecordId)>>;

/// A snapshot that has enough words.
struct Vouchee {
    last: Entry,
    cover: Cover,
}

impl Workspace {
    /// Finds what is to be written of this workspace's snapshots; `None` if nothing has changed.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be read.
    pub fn sweep(&self, log: &dyn Log, now_ms: i64, retention_ms: i64) -> Result<Option<SweptWrite>, LogError> {
        let row = self.row;
        let words = words(log, row)?;
        let since: BTreeMap<EntryHash, i64> = log.vouched(row)?.into_iter().collect();
        if words.is_empty() && since.is_empty() {
            return Ok(None);
        }
        // Entries never change: only what is read of the members is read under the lock.
        let membership = self.judge(log)?.membership().clone();
        let vouched = vouched(log, row, &membership, &words)?;
        let has_words: BTreeSet<EntryHash> = vouched.iter().map(|one| one.last.hash()).collect();
        let mut swept = SweptWrite {
            row,
            since_ms: now_ms,
            found: has_words.iter().filter(|hash| !since.contains_key(hash)).copied().collect(),
            lost: since.keys().filter(|hash| !has_words.contains(hash)).copied().collect(),
            ..SweptWrite::default()
        };
        let is_due = |one: &Vouchee| {
            since.get(&one.last.hash()).is_some_and(|since| now_ms.saturating_sub(*since) >= retention_ms)
        };
        let mut documents = BTreeSet::new();
        for one in vouched.iter().filter(|one| is_due(one)) {
            // The newest of each document that may go covers what the older ones do.
            if !documents.contains(&one.last.header().chain.document)
                && let Some(cuts) = cuts(log, row, &membership, one)?
            {
                documents.insert(one.last.header().chain.document);
                for cut in cuts {
                    let (freed, last) = log.freed_by(row, &cut)?;
                    swept.freed_bytes += freed;
                    swept.pruned = swept.pruned.max(last);
                    swept.cuts.push(cut);
                }
            }
        }
        let has_news = !(swept.found.is_empty() && swept.lost.is_empty() && swept.cuts.is_empty());
        Ok(has_news.then_some(swept))
    }
}

/// Reads the words on all snapshots of a workspace.
fn words(log: &dyn Log, row: Row) -> Result<Words, LogError> {
    let mut words = Words::new();
    for item in log.words(row)? {
        let word = word(&item)?;
        words.entry(word.snapshot).or_default().push((word.device, word.members_head));
    }
    Ok(words)
}

/// Reads the words on one snapshot, given by its last part: who spoke, and the members_head that they name.
pub(super) fn words_on(log: &dyn Log, row: Row, last: &EntryHash) -> Result<Vec<(DeviceId, RecordId)>, LogError> {
    let of = |item: &Vec<u8>| word(item).map(|word| (word.device, word.members_head));
    log.words_on(row, last)?.iter().map(of).collect()
}

fn word(item: &[u8]) -> Result<Attest, LogError> {
    let Ok(LogItem::Attest(bytes)) = LogItem::decode(item) else {
        return Err(LogError::Corrupt { what: "word" });
    };
    Attest::decode(bytes).map_err(|_| LogError::Corrupt { what: "word" })
}

/// Returns the snapshots that have enough words, the newest first.
fn vouched(log: &dyn Log, row: Row, membership: &Membership, words: &Words) -> Result<Vec<Vouchee>, LogError> {
    let mut vouched = Vec::new();
    for (position, hash) in log.snapshots(row)? {
        let Some(words) = words.get(&hash) else { continue };
        let Some(last) = entry_at(log, row, position)? else { continue };
        let header = last.header();
        let author = (&header.chain.device, &header.members_head);
        // What leaves something out is made by nobody yet.
        let cover = Cover::decode(last.clear()).ok().filter(|cover| cover.excluded.is_empty());
        if let Some(cover) = cover
            && membership.vouched(author, words) == Vouched::Enough
        {
            vouched.push(Vouchee { last, cover });
        }
    }
    Ok(vouched)
}

/// Returns the entry at a position, if it is there in full.
pub(super) fn entry_at(log: &dyn Log, row: Row, position: u64) -> Result<Option<Entry>, LogError> {
    let bytes = log.item(row, position)?.unwrap_or_default();
    match LogItem::decode(&bytes) {
        Ok(LogItem::Entry(entry)) => Ok(Entry::decode(entry).ok()),
        _ => Ok(None),
    }
}

/// Returns what goes because of a snapshot; `None` if something of it must stay, or nothing is left to go.
fn cuts(log: &dyn Log, row: Row, membership: &Membership, one: &Vouchee) -> Result<Option<Vec<Cut>>, LogError> {
    let own = one.last.header().chain;
    let floors = log.floors(row, &own.document)?;
    // What went because of an older one, this one must stand for as well.
    let reaches = |(chain, floor): (&ChainId, &u64)| one.cover.chains.get(chain).is_some_and(|(seq, _)| seq >= floor);
    if membership.view().has_verdicts() || !floors.iter().all(reaches) {
        return Ok(None);
    }
    let from_seq = one.cover.chains.get(&own.id()).map_or(1, |(seq, _)| *seq);
    let (mut cuts, mut goes) = (Vec::new(), false);
    for (id, (seq, hash)) in &one.cover.chains {
        let Some((end, kept)) = end_of(log, row, &own, (id, *seq))? else {
            return Ok(None);
        };
        let header = end.header();
        let claim = Claim { chain: &header.chain, seq: *seq, hash, members_head: &header.members_head };
        if end.hash() != *hash || !membership.admits_up_to(&claim) {
            return Ok(None);
        }
        #[cfg(feature = "planted-bugs")]
        let seq = &(seq + u64::from(tombolo_protocol::planted::Bug::PrunedTooFar.is_planted()));
        // Of each chain that begins above 1 it is said that this one stands for it now.
        if *seq > 1 {
            goes |= floors.get(id).is_none_or(|floor| floor < seq);
            let floor = Floor { seq: *seq, snapshot: own.id(), from_seq, to_seq: one.last.header().seq };
            cuts.push(Cut { chain: *id, document: own.document, floor, kept });
        }
    }
    Ok(goes.then_some(cuts))
}

/// Returns an entry of a chain that has one branch and is of the same content as another, and the position of what its
/// short form needs.
fn end_of(
    log: &dyn Log,
    row: Row,
    of: &ChainKey,
    (id, seq): (&ChainId, u64),
) -> Result<Option<(Entry, u64)>, LogError> {
    let Some(chain) = log.chain(row, id)?.map(|chain| chain.key) else {
        return Ok(None);
    };
    let is_of_it = (chain.document, chain.stream) == (of.document, of.stream);
    if !is_of_it || log.chain(row, &chain.branch().id())?.is_some() {
        return Ok(None);
    }
    let before = seq.saturating_sub(1);
    let below = log.chain_run(row, id, (before, before), usize::MAX)?;
    let run = log.chain_run(row, id, (seq, seq), usize::MAX)?;
    let kept = run.first().and_then(|item| match LogItem::decode(&item.bytes) {
        Ok(LogItem::Elided(elided)) => Some(elided.declared_at),
        Ok(_) => Some(item.position),
        Err(_) => None,
    });
    let entries = expand_run(log, row, below.first().map(|item| item.hash), &run)?;
    Ok(entries.into_iter().next().zip(kept))
}
