//! Appends: judged in the session, written by the writer.
//!
//! Invariant: each append is settled by exactly one receipt, which names the items that were taken;
//! the others were refused before it. What is under way is bounded by the credit.

use std::sync::Arc;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Append, RefusalReason, Refused};
use tombolo_protocol::item::LogItem;

use super::Session;
use super::catch_up::Channel;
use crate::fanout::Closing;
use crate::relay::{Relay, Terms};
use crate::workspace::{Caller, Judge, Showing, Verdicts, Workspace, verify};
use crate::writer::{AppendJob, Job};

/// Seconds over which a device's rate is averaged: a device back from a journey sends much at once.
pub const RATE_WINDOW_S: u64 = 60;

/// When a device that was turned away may come back: so long after, and up to 256 steps of the spread later.
const OVERLOAD_WAIT_MS: u32 = 2_000;
const OVERLOAD_SPREAD_MS: u32 = 20;

/// What a device may still send.
pub(super) struct Allowance {
    under_way: usize,
    items: Bucket,
    bytes: Bucket,
}

impl Allowance {
    pub(super) fn new(terms: &Terms, now_ms: u64) -> Self {
        Self {
            under_way: 0,
            items: Bucket::new(terms.items_per_second, now_ms),
            bytes: Bucket::new(terms.bytes_per_second, now_ms),
        }
    }
}

/// A bucket that fills at a steady rate and holds what comes in [`RATE_WINDOW_S`].
struct Bucket {
    per_second: u64,
    /// Thousandths of a unit.
    level: u64,
    filled_ms: u64,
}

impl Bucket {
    fn new(per_second: u32, now_ms: u64) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, level: per_second * RATE_WINDOW_S * 1000, filled_ms: now_ms }
    }

    fn take(&mut self, amount: usize, now_ms: u64) -> Result<(), Closing> {
        let passed = now_ms.saturating_sub(self.filled_ms).min(RATE_WINDOW_S * 1000);
        let full = self.per_second * RATE_WINDOW_S * 1000;
        self.level = (self.level + passed * self.per_second).min(full);
        self.filled_ms = now_ms;
        let wanted = amount as u64 * 1000;
        match self.level.checked_sub(wanted) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => {
                let wait_ms = (wanted - self.level) / self.per_second.max(1);
                Err(Closing {
                    code: CloseCode::RateLimited,
                    retry_after_ms: Some(u32::try_from(wait_ms).unwrap_or(u32::MAX)),
                })
            }
        }
    }
}

impl Session {
    pub(super) fn append(&mut self, append: &Append) -> Result<(), Closing> {
        self.proven()?;
        if self.open_channel(append.channel)?.is_none() {
            return Ok(());
        }
        let channel = self.next_batch(append)?;
        let (proof, workspace) = (channel.proof.take(), Arc::clone(&channel.workspace));
        let bytes = append.items.iter().map(|item| item.len()).sum::<usize>();
        self.charge(append.items.len(), bytes)?;
        self.wake(&workspace)?;
        self.turn_away_in_overload()?;
        self.want_created(append, self.device()?);
        let mut verdicts = Verdicts::default();
        let items = read_items(append, &mut verdicts);
        let relay = Arc::clone(&self.relay);
        let mut showing = Showing::new(relay.room(), proof);
        let judged = judge_items(&relay, &workspace, &self.caller()?, &items, (&mut showing, &mut verdicts));
        let judge = judged.inspect_err(|_| {
            // Positions may have been given out that nothing will stand at.
            self.relay.lose(&workspace);
        })?;
        if let Some(channel) = self.channels.get_mut(&append.channel) {
            channel.proof = showing.into_proof();
        }
        self.note_records(&workspace, &judge, &verdicts);
        self.note_refused(&workspace, &verdicts.refusals);
        self.refuse(append, &mut verdicts);
        self.relay.queue().push(Job::Append(AppendJob {
            workspace: Arc::clone(&workspace),
            outbox: Arc::clone(&self.outbox),
            batch: Some(append.batch),
            credit_bytes: bytes,
            verdicts,
        }));
        // Only now may another session give out the positions that follow.
        drop(judge);
        Ok(())
    }

    /// Sees to it that a workspace can be judged, before anything is given out: loading it may fail, and loses nothing.
    fn wake(&self, workspace: &Workspace) -> Result<(), Closing> {
        if workspace.is_lost() {
            return Err(CloseCode::Unavailable.into());
        }
        drop(workspace.judge(self.relay.log())?);
        Ok(())
    }

    fn next_batch(&mut self, append: &Append) -> Result<&mut Channel, Closing> {
        let channel = self.channels.get_mut(&append.channel);
        let channel = channel.filter(|channel| append.batch > channel.last_batch);
        let channel = channel.ok_or(Closing::from(CloseCode::Malformed))?;
        channel.last_batch = append.batch;
        Ok(channel)
    }

    fn refuse(&mut self, append: &Append, verdicts: &mut Verdicts) {
        for refusal in std::mem::take(&mut verdicts.refusals) {
            self.relay.metrics().refused(refusal.reason);
            self.send(Refused {
                channel: append.channel,
                batch: append.batch,
                item: refusal.item,
                reason: refusal.reason,
                chain_seq: refusal.chain_seq,
                levels: refusal.levels,
            });
        }
    }

    /// Ends the session, with a time to come back, while too much waits for the disk.
    fn turn_away_in_overload(&self) -> Result<(), Closing> {
        if !self.relay.queue().is_full() {
            return Ok(());
        }
        let [spread] = self.relay.draw()?;
        let retry_after_ms = Some(OVERLOAD_WAIT_MS + u32::from(spread) * OVERLOAD_SPREAD_MS);
        Err(Closing { code: CloseCode::Overloaded, retry_after_ms })
    }

    fn charge(&mut self, items: usize, bytes: usize) -> Result<(), Closing> {
        let now_ms = self.relay.steady_ms();
        self.allowance.under_way += bytes;
        if self.allowance.under_way > 2 * self.relay.terms().credit_bytes as usize {
            // One record may be larger than the whole credit; alone it is let pass.
            if self.allowance.under_way > bytes {
                return Err(CloseCode::RateLimited.into());
            }
        }
        self.allowance.items.take(items, now_ms)?;
        self.allowance.bytes.take(bytes, now_ms)
    }

    /// Gives back the credit of appends that are acknowledged.
    pub(super) fn settle(&mut self, bytes: usize) {
        self.allowance.under_way = self.allowance.under_way.saturating_sub(bytes);
    }
}

/// Tells items apart; what is none is refused.
fn read_items<'a>(append: &'a Append, verdicts: &mut Verdicts) -> Vec<(u32, LogItem<'a>)> {
    let mut items = Vec::with_capacity(append.items.len());
    for (index, bytes) in (0_u32..).zip(&append.items) {
        match LogItem::decode(bytes) {
            Ok(item) => items.push((index, item)),
            Err(_) => verdicts.refuse(index, RefusalReason::Malformed),
        }
    }
    items
}

/// Judges items in order; entries alone are verified without the lock.
fn judge_items<'w>(
    relay: &Relay,
    workspace: &'w Workspace,
    caller: &Caller<'_>,
    items: &[(u32, LogItem<'_>)],
    (showing, verdicts): (&mut Showing, &mut Verdicts),
) -> Result<std::sync::MutexGuard<'w, Judge>, Closing> {
    let (log, quota) = (relay.log(), relay.terms().quota_bytes);
    let committed = workspace.published().length();
    let mut judge = workspace.judge(log)?;
    judge.trim(committed);
    if items.iter().all(|(_, item)| is_entry(item)) {
        let mut candidates = judge.expand(log, caller, items, verdicts)?;
        drop(judge);
        verify(&mut candidates);
        let mut judge = workspace.judge(log)?;
        judge.place(log, caller, candidates, quota, showing, verdicts)?;
        return Ok(judge);
    }
    // Entries may stand on a record that comes with them: all in one go, and in order.
    for run in items.chunk_by(|(_, a), (_, b)| is_entry(a) && is_entry(b)) {
        match run {
            [(index, item)] if !is_entry(item) => {
                judge.take_statement(caller, *index, item, verdicts)?;
            }
            run => {
                let mut candidates = judge.expand(log, caller, run, verdicts)?;
                verify(&mut candidates);
                judge.place(log, caller, candidates, quota, showing, verdicts)?;
            }
        }
    }
    Ok(judge)
}

fn is_entry(item: &LogItem<'_>) -> bool {
    matches!(item, LogItem::Entry(_) | LogItem::Elided(_))
}
