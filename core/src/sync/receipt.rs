//! What a relay signs about its log, against what this device has: heads and receipts.
//!
//! Invariant: a receipt counts only if its head is the one this device computes from the very items it
//! has; otherwise the log contradicts itself, and everything believed of it is forgotten and compared
//! anew.

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Received;
use tombolo_protocol::ids::LogId;
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::receipt::{Receipt, Signed, acknowledged};

use super::Fault;
use super::channel::Phase;
use super::handshake::MALFORMED;
use super::outbox::{Batch, SentItem};
use super::reason::SetAsideReason;
use crate::engine::{Engine, Event, Now};
use crate::store::Tx;

impl Engine {
    /// Verifies a relay's statement on its log, and that it is about this one.
    pub(crate) fn verify_receipt(&self, at: (i64, i64), bytes: &[u8], log: Option<LogId>) -> Result<Receipt, Fault> {
        const FALSE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::BadSignature);
        let receipt = Signed::<Receipt>::decode(bytes).map_err(|_| MALFORMED)?;
        let statement = receipt.verify().map_err(|_| FALSE)?;
        let fits = self.relay_and_workspace(at.0, at.1) == Some((statement.relay, statement.workspace));
        if !fits || log.is_some_and(|log| log != statement.log) {
            return Err(FALSE);
        }
        Ok(statement.clone())
    }

    /// Takes in the signed head: this device has everything below it.
    pub(crate) fn take_head(&mut self, now: Now, at: (i64, i64), bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        let receipt = self.verify_receipt(at, bytes, self.log_of(at))?;
        self.check_head(now, at, &receipt, tx)?;
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let became_level = channel.phase == Phase::Filling;
        if became_level {
            channel.phase = Phase::Level;
        }
        self.keep_place(now, at, Some(bytes.to_vec()), tx)?;
        if became_level {
            self.became_level(now, at, tx)?;
        }
        Ok(self.compare_heads(now, at, tx)?)
    }

    fn became_level(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        let unplaced = tx.unplaced_chains(Some(at.0), at.1, &self.device.id())?;
        #[cfg(feature = "planted-bugs")]
        let unplaced = if tombolo_protocol::planted::Bug::NoResend.is_planted() { Vec::new() } else { unplaced };
        if let Some(held) = self.workspaces.get_mut(&at.1) {
            held.incomplete = false;
        }
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            // At the opening all that the log lacks is sent, whoever wrote it: so a lost log is healed.
            channel.unplaced.extend(unplaced.iter().map(|row| row.chain));
            channel.has_changes = true;
            channel.has_records = true;
        }
        self.keep_relay_key(at.0, tx)?;
        self.state_successions(now, at, tx)?;
        self.plan_care(now, at);
        self.plan_status(now, at);
        Ok(())
    }

    pub(crate) fn log_of(&self, at: (i64, i64)) -> Option<LogId> {
        self.relays.get(&at.0)?.live()?.channels.get(&at.1).map(|channel| channel.log)
    }

    /// Tells whether this device has come by a head that a relay signed: who asks for some documents reads the log, and
    /// others' items may come before the word on its own.
    fn has_passed(&self, at: (i64, i64), receipt: &Receipt) -> bool {
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        channel.is_some_and(|channel| {
            let is_behind = receipt.position < channel.course.length();
            is_behind && channel.head_at(receipt.position) == Some(receipt.head)
        })
    }

    /// Compares a signed head with the one computed here.
    fn check_head(&mut self, now: Now, at: (i64, i64), receipt: &Receipt, tx: &Tx<'_>) -> Result<(), Fault> {
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let Some(channel) = channel else {
            return Ok(());
        };
        let ours = channel.head_at(channel.course.length());
        if receipt.position == channel.course.length() && ours == Some(receipt.head) {
            return Ok(());
        }
        self.distrust_log(now, at, tx)
    }

    /// Forgets a log that contradicts itself; the next session compares everything anew.
    pub(crate) fn distrust_log(&mut self, _: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        tx.forget_log(at.0, at.1)?;
        let address = self.relays.get(&at.0).map(|relay| relay.address().to_owned());
        let workspace = self.workspaces.get(&at.1).map(|workspace| workspace.id);
        if let (Some(address), Some(workspace)) = (address, workspace) {
            self.tell(Event::RelayFork { address, workspace });
        }
        Err(Fault::Session(CloseCode::Misbehaved, SetAsideReason::RelayFork))
    }

    /// Takes in a receipt: these items are durable at the relay.
    pub(crate) fn take_receipt(
        &mut self,
        now: Now,
        at: (i64, i64),
        received: &Received,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let receipt = self.verify_receipt(at, &received.receipt, self.log_of(at))?;
        let batches = self.answered(at, received.first_batch, received.last_batch)?;
        let items: Vec<SentItem> = batches.into_iter().flat_map(|batch| batch.items).filter(|i| !i.refused).collect();
        let hashes: Vec<ItemHash> = items.iter().map(|item| item.hash).collect();
        if receipt.acknowledged != acknowledged(&hashes) {
            return self.distrust_log(now, at, tx);
        }
        let mut positions = received
            .positions
            .iter()
            .flat_map(|(first, count)| (0..u64::from(*count)).map(move |nth| first.saturating_add(nth)));
        for item in &items {
            let Some(position) = positions.next() else {
                return self.distrust_log(now, at, tx);
            };
            self.place_item(now, at, item, position, tx)?;
        }
        if !self.has_passed(at, &receipt) {
            self.check_head(now, at, &receipt, tx)?;
        }
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.has_changes = true;
        let level = channel.in_flight.is_empty();
        self.keep_place(now, at, Some(received.receipt.to_vec()), tx)?;
        if level {
            self.plan_status(now, at);
        }
        // Its time may show that somebody's role has ended.
        self.plan_chores_for_expiries(now, at);
        Ok(self.compare_heads(now, at, tx)?)
    }

    /// Takes the answered appends out of what is in flight.
    fn answered(&mut self, at: (i64, i64), first: u32, last: u32) -> Result<Vec<Batch>, Fault> {
        const STRANGE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed);
        let Some(live) = self.relays.get_mut(&at.0).and_then(super::Relay::live_mut) else {
            return Err(STRANGE);
        };
        let Some(channel) = live.channels.get_mut(&at.1) else {
            return Err(STRANGE);
        };
        if channel.in_flight.front().is_none_or(|batch| batch.nth != first) {
            return Err(STRANGE);
        }
        let mut batches = Vec::new();
        while let Some(batch) = channel.in_flight.pop_front_if(|batch| batch.nth <= last) {
            live.in_flight_bytes = live.in_flight_bytes.saturating_sub(batch.bytes);
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Notes where an own item stands in the log, and moves the cursor over it.
    fn place_item(
        &mut self,
        now: Now,
        at: (i64, i64),
        item: &SentItem,
        position: u64,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let (relay, workspace) = at;
        let Some(channel) = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(workspace)) else {
            return Ok(());
        };
        let length = channel.course.length();
        let next = position == length + 1;
        if next {
            channel.append(&item.hash);
        } else if position > length {
            return self.distrust_log(now, at, tx);
        }
        match item.entry {
            Some((chain, seq, full)) => {
                if seq == 1 && !next && tx.placed(relay, chain)?.is_none() {
                    self.doubt_created(now, at);
                }
                tx.place(relay, chain, seq, position)?;
                if full && next {
                    self.note_declaration(at, position, (chain, seq), tx)?;
                }
                if let Some((_, document)) = tx.chain_key(chain)? {
                    self.touched.insert(document);
                }
            }
            None => tx.place_record(relay, workspace, &item.hash)?,
        }
        Ok(())
    }

    /// Notes that an own item with its full header declares it for those that follow; unless an earlier
    /// item does already, for then the relay has put this one into its short form.
    fn note_declaration(&mut self, at: (i64, i64), position: u64, entry: (i64, u64), tx: &Tx<'_>) -> Result<(), Fault> {
        let (chain, seq) = entry;
        let declared = self.declared(at.0, chain, tx)?;
        let elided = match (declared, tx.entry(chain, seq)?) {
            (Some((_, declaration)), Some(entry)) => declaration.fits(entry.header()),
            _ => false,
        };
        if !elided {
            tx.declare(at, position, chain, seq)?;
        }
        Ok(())
    }
}

/// Shortest and longest wait before something that was refused or absent is tried again.
pub(super) const RETRY_MIN: std::time::Duration = std::time::Duration::from_secs(5);
pub(super) const RETRY_MAX: std::time::Duration = std::time::Duration::from_secs(60);
