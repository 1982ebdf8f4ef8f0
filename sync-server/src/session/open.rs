//! Opening a workspace: from a cursor, after a lost history, or by reconciling.
//!
//! Invariant: a workspace that does not exist and one that the device is no member of are answered
//! alike, after the same look-up.

use std::sync::Arc;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{ChainSummary, Ground, Open, Opened, Reconcile, Summary};
use tombolo_protocol::hash::Digest;
use tombolo_protocol::item::LogItem;
use tombolo_protocol::limits::{ITEMS_BYTES_TARGET, OPEN_WORKSPACES_MAX, RECONCILE_CHAINS_PER_FRAME_MAX};
use tombolo_protocol::log::Frontier;
use tombolo_protocol::membership::Membership;
use tombolo_protocol::receipt::{LogReset, Receipt, Signed};

use super::Session;
use super::catch_up::{Channel, Mode};
use crate::fanout::Closing;
use crate::log::{ChainEnd, Listed, Row};
use crate::workspace::Workspace;
use crate::writer::{Job, ResetJob};

/// What a device's cursor and receipt are worth here.
enum Claim {
    /// Items follow from the cursor.
    Usable,
    /// They belong to nothing that is held here.
    Useless,
    /// The relay signed the receipt and can not match it.
    Lost(Box<Receipt>),
}

impl Session {
    pub(super) fn open(&mut self, open: &Open) -> Result<(), Closing> {
        let device = self.device()?;
        if !self.relay.log().may_be_member(&open.workspace, &device)? {
            self.not_found(open.workspace);
            return Ok(());
        }
        let Some(workspace) = self.relay.open(&open.workspace)? else {
            self.not_found(open.workspace);
            return Ok(());
        };
        if !self.admit(&workspace)? {
            return Ok(());
        }
        match self.judge_claim(&workspace, open)? {
            Claim::Usable => {
                let row = workspace.row();
                // What a place was taken with is not what follows: it compares.
                let may = self.may_ask_for(row, open.documents.as_ref());
                let mode = if may { Mode::Reading } else { Mode::Unusable };
                self.opened(workspace, mode, open.cursor, None)?;
                self.ask_for(row, open.documents.clone());
                Ok(())
            }
            Claim::Useless => self.opened(workspace, Mode::Unusable, 0, None),
            Claim::Lost(receipt) => self.lost(workspace, receipt),
        }
    }

    fn judge_claim(&self, workspace: &Workspace, open: &Open) -> Result<Claim, Closing> {
        let (log, frontier) = {
            let published = workspace.published();
            (published.log, published.frontier.clone())
        };
        let receipt = open.receipt.as_ref().map(|bytes| self.own_receipt(workspace, bytes));
        let reaches = open.cursor <= frontier.length();
        Ok(match (open.log, receipt) {
            (None, _) if open.cursor == 0 => Claim::Usable,
            (Some(claimed), Some(Some(receipt))) if receipt.log == claimed => {
                let matched = claimed == log
                    && receipt.position <= frontier.length()
                    && self.head_at(workspace, receipt.position)? == Some(receipt.head);
                match (matched, reaches) {
                    (true, true) => Claim::Usable,
                    (true, false) => Claim::Useless,
                    (false, _) => Claim::Lost(Box::new(receipt)),
                }
            }
            (Some(claimed), None) if claimed == log && reaches => Claim::Usable,
            _ => Claim::Useless,
        })
    }

    /// Reads a receipt that this relay signed for this workspace; anything else is none.
    fn own_receipt(&self, workspace: &Workspace, bytes: &[u8]) -> Option<Receipt> {
        let signed = Signed::<Receipt>::decode(bytes).ok()?;
        let receipt = signed.verify().ok()?;
        let ours = receipt.relay == self.relay.id() && receipt.workspace == workspace.id();
        ours.then(|| receipt.clone())
    }

    fn head_at(&self, workspace: &Workspace, position: u64) -> Result<Option<Digest>, Closing> {
        if position == 0 {
            let published = workspace.published();
            return Ok(Some(Frontier::new().head(&published.origin(&published.log))));
        }
        Ok(self.relay.log().head_at(workspace.row(), position)?)
    }

    /// Answers with the admission that a history was lost: an old one, or one that is signed now.
    fn lost(&mut self, workspace: Arc<Workspace>, receipt: Box<Receipt>) -> Result<(), Closing> {
        if let Some(statement) = self.relay.log().reset(workspace.row(), &receipt.log)? {
            return self.opened(workspace, Mode::Unusable, 0, Some(statement));
        }
        let new_log = self.relay.new_log_id()?;
        if !self.enter_channel(&workspace, Mode::Waiting, 0)? {
            return Ok(());
        }
        self.relay.queue().push(Job::Reset(ResetJob { workspace, outbox: Arc::clone(&self.outbox), receipt, new_log }));
        Ok(())
    }

    pub(super) fn after_reset(&mut self, channel: Row, statement: &Signed<LogReset>) -> Result<(), Closing> {
        let Some(channel) = self.channels.get(&channel) else {
            return Ok(());
        };
        let workspace = Arc::clone(&channel.workspace);
        self.opened(workspace, Mode::Unusable, 0, Some(statement.encode()))
    }

    pub(super) fn after_seed(&mut self, channel: Row) -> Result<(), Closing> {
        let Some(channel) = self.channels.get(&channel) else {
            return Ok(());
        };
        let workspace = Arc::clone(&channel.workspace);
        // What a guest brought is durable: it is a member, and may have a second factor to show.
        self.end_stay();
        if self.admit(&workspace)? {
            return self.opened(workspace, Mode::Reading, 0, None);
        }
        self.shut(workspace.row())
    }

    pub(super) fn opened(
        &mut self,
        workspace: Arc<Workspace>,
        mode: Mode,
        cursor: u64,
        reset: Option<Vec<u8>>,
    ) -> Result<(), Closing> {
        self.end_stay();
        // Below that nothing can be read on from.
        let is_gone = cursor < workspace.published().pruned;
        let mode = if mode == Mode::Reading && is_gone { Mode::Unusable } else { mode };
        if !self.enter_channel(&workspace, mode, cursor)? {
            return Ok(());
        }
        let published = workspace.published();
        let receipt = published.receipt(self.relay.now_ms(), [0; 32]);
        let log = published.log;
        drop(published);
        self.send(Opened {
            workspace: workspace.id().tag(),
            channel: workspace.row(),
            log,
            head: Signed::sign(receipt, self.relay.key()).encode().into(),
            reset: reset.map(Into::into),
            resumed: mode == Mode::Reading,
        });
        self.note_opened(&workspace);
        Ok(())
    }

    /// Follows a workspace; returns whether the device's right still holds.
    pub(super) fn enter_channel(
        &mut self,
        workspace: &Arc<Workspace>,
        mode: Mode,
        cursor: u64,
    ) -> Result<bool, Closing> {
        let (row, device) = (workspace.row(), self.device()?);
        if !self.channels.contains_key(&row) && self.channels.len() >= OPEN_WORKSPACES_MAX {
            return Err(CloseCode::RateLimited.into());
        }
        workspace.published().enter(&self.outbox, device);
        if workspace.is_lost() {
            return Err(CloseCode::Unavailable.into());
        }
        let mut channel = Channel::new(Arc::clone(workspace), mode, cursor);
        if let Some(former) = self.channels.remove(&row) {
            (channel.filter, channel.told) = (former.filter, former.told);
        }
        self.channels.insert(row, Box::new(channel));
        self.mark_filter(row);
        self.ended.remove(&row);
        // Asked only now that it is among the readers: whatever ends the right later tells them.
        self.review(row)?;
        Ok(self.channels.contains_key(&row))
    }

    pub(super) fn reconcile(&mut self, reconcile: &Reconcile) -> Result<(), Closing> {
        self.proven()?;
        let Some(channel) = self.open_channel(reconcile.channel)? else {
            return Ok(());
        };
        let workspace = Arc::clone(&channel.workspace);
        match reconcile.method {
            Reconcile::LIST => {}
            Reconcile::NARROW => {
                self.ask_for(reconcile.channel, reconcile.documents.clone());
                return Ok(());
            }
            _ => return Err(CloseCode::Malformed.into()),
        }
        let tag = workspace.id().tag();
        let may = self.may_ask_for(reconcile.channel, reconcile.documents.as_ref());
        let listed = Listed::of(reconcile).filter(|_| may);
        let summary = self.relay.log().summary(&tag, listed.as_ref())?;
        let (row, chains) = summary.ok_or(Closing::from(CloseCode::Unavailable))?;
        if !self.holds(reconcile.channel)? {
            return Ok(());
        }
        let words = words(&self.relay.log().words(reconcile.channel)?);
        let grounds = ground(workspace.judge(self.relay.log())?.membership(), words);
        for ground in grounds {
            self.send(ground);
        }
        self.send_summary(reconcile.channel, (&row.frontier, listed.is_some()), &chains);
        self.enter_channel(&workspace, Mode::Reading, row.frontier.length())?;
        self.ask_for(reconcile.channel, reconcile.documents.clone());
        Ok(())
    }

    fn send_summary(&mut self, channel: Row, (frontier, chosen): (&Frontier, bool), chains: &[ChainEnd]) {
        let (frontier, chosen) = (frontier.encode(), chosen.then_some(true));
        let mut parts = chains.chunks(RECONCILE_CHAINS_PER_FRAME_MAX).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let more = parts.peek().is_some();
            let chains = part.iter().map(|end| ChainSummary {
                chain: end.chain,
                seq: end.seq,
                hash: short(end.hash.as_bytes()),
                declared_at: end.declared_at,
                declared_seq: end.declared_seq,
            });
            self.send(Summary { channel, frontier: frontier.clone().into(), chains: chains.collect(), more, chosen });
            if !more {
                break;
            }
        }
    }
}

/// Packs records, attestations and members' words into frames; there is always one.
pub(super) fn ground(membership: &Membership, words: Vec<Vec<u8>>) -> Vec<Ground> {
    let workspace = membership.workspace().tag();
    let empty = || {
        let (records, attestations, attests) = (Vec::new(), Vec::new(), Vec::new());
        Ground { workspace, records, attestations, more: true, attests }
    };
    let (mut frames, mut frame, mut bytes) = (Vec::new(), empty(), 0);
    let records = membership.in_order().into_iter().map(|record| (Kind::Record, record.encode()));
    let attestations = membership.attestations().map(|signed| (Kind::Attestation, signed.encode()));
    let words = words.into_iter().map(|word| (Kind::Attest, word));
    for (kind, part) in records.chain(attestations).chain(words) {
        if bytes > 0 && bytes + part.len() > ITEMS_BYTES_TARGET {
            frames.push(std::mem::replace(&mut frame, empty()));
            bytes = 0;
        }
        bytes += part.len();
        let list = match kind {
            Kind::Record => &mut frame.records,
            Kind::Attestation => &mut frame.attestations,
            Kind::Attest => &mut frame.attests,
        };
        list.push(part.into());
    }
    frame.more = false;
    frames.push(frame);
    frames
}

/// What a part of the ground is.
enum Kind {
    Record,
    Attestation,
    Attest,
}

/// Takes members' words out of their items.
fn words(items: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let word = |item: &Vec<u8>| match LogItem::decode(item) {
        Ok(LogItem::Attest(word)) => Some(word.to_vec()),
        _ => None,
    };
    items.iter().filter_map(word).collect()
}

fn short(hash: &[u8; 32]) -> [u8; 8] {
    hash.first_chunk().copied().unwrap_or_default()
}
