//! Asking relays for some documents of a workspace only (ADR 0021).
//!
//! What is wanted goes with the opening of a workspace; of the rest of the log come hashes, so that its signed heads can
//! still be compared. Once more is wanted than before, the log is compared: what was left out came by no place in it.
//!
//! Invariant: a place in a log counts as taken for those documents only that were asked for all the way to it.

use std::collections::BTreeSet;

use tombolo_protocol::frame::Reconcile;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{DocumentId, DocumentTag, WorkspaceId};
use tombolo_protocol::limits::{HELD_CHAINS_MAX, WANTED_DOCUMENTS_MAX};

use super::channel::Phase;
use super::reason::SetAsideReason;
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx};
use crate::workspace::Wanted;

/// A name that no set of documents has.
const NOBODYS: Digest = [0; 32];

/// What a session has asked of a log, by the names of the documents; no name stands for all.
#[derive(Default)]
pub(crate) struct Asks {
    /// Those that were asked for all the way to where this device is.
    pub(crate) wanted: Option<Digest>,
    /// Those of the list that is awaited, or came last.
    pub(crate) asked: Option<Digest>,
    /// Those that the relay was told last.
    pub(crate) told: Option<Digest>,
    /// Those of that list themselves, unless it was one of all chains.
    pub(crate) documents: Option<BTreeSet<DocumentTag>>,
}

impl Engine {
    /// Asks relays for these documents of a workspace only; others that are here stay as they are, and what this device
    /// writes into them is still sent. Documents that it creates are asked for too.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::NotReady`] while the workspace's keys are not here,
    /// [`Error::TooManyDocuments`], [`Error::Store`].
    pub fn sync_only(
        &mut self,
        now: Now,
        workspace: &WorkspaceId,
        documents: BTreeSet<DocumentId>,
        tx: &Tx<'_>,
    ) -> Result<(), Error> {
        if documents.len() > WANTED_DOCUMENTS_MAX {
            return Err(Error::TooManyDocuments { count: documents.len() });
        }
        self.set_wanted(now, workspace, Some(documents), tx)
    }

    /// Asks relays for all documents of a workspace, as at the beginning.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::Store`].
    pub fn sync_all(&mut self, now: Now, workspace: &WorkspaceId, tx: &Tx<'_>) -> Result<(), Error> {
        self.set_wanted(now, workspace, None, tx)
    }

    /// Returns the documents that relays are asked for; `None` for all.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`].
    pub fn synced_only(&self, workspace: &WorkspaceId) -> Result<Option<BTreeSet<DocumentId>>, Error> {
        let row = self.workspace_row(workspace);
        let held = row.and_then(|row| self.workspaces.get(&row)).ok_or(Error::NoWorkspace(*workspace))?;
        Ok(held.wanted.as_ref().map(|wanted| wanted.documents.clone()))
    }

    fn set_wanted(
        &mut self,
        now: Now,
        workspace: &WorkspaceId,
        documents: Option<BTreeSet<DocumentId>>,
        tx: &Tx<'_>,
    ) -> Result<(), Error> {
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        let held = self.workspaces.get_mut(&row).ok_or(Error::NoWorkspace(*workspace))?;
        if documents.is_some() && held.blinding.is_none() {
            return Err(Error::NotReady);
        }
        let is_less = match (&held.wanted, &documents) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(before), Some(after)) => after.is_subset(&before.documents),
        };
        #[cfg(feature = "planted-bugs")]
        let is_less = is_less || tombolo_protocol::planted::Bug::MoreNotCompared.is_planted();
        tx.set_wanted(row, documents.as_ref())?;
        let before = held.wanted_name();
        held.wanted = documents.map(Wanted::new);
        let after = held.wanted_name();
        // What is not asked for any more, and waits for what stands before it, would wait for good.
        let gap = SetAsideReason::Gap.code();
        let released = held.wanted_tags().map_or(Ok(false), |tags| tx.release_besides(row, gap, tags))?;
        if is_less && !released {
            self.rename_wanted(row, (before, after), tx)?;
            self.say_narrowed(row);
        }
        if released {
            // It stood before a place in some log: all are compared.
            self.doubt_wanted(row, tx)?;
        }
        self.plan_lists(now, row, after);
        Ok(())
    }

    /// Has those relays list what is wanted that were not asked for all of it; what others were told is not so any more.
    fn plan_lists(&mut self, now: Now, workspace: i64, name: Option<Digest>) {
        let relays: Vec<i64> = self.relays.keys().copied().collect();
        for relay in relays {
            if let Some(channel) = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(workspace)) {
                channel.mending.lacking.note_wanted(now, channel.asks.wanted != name);
                channel.status_position = 0;
            }
            self.plan_status(now, (relay, workspace));
        }
    }

    /// Asks for a document as well that this device has just created: nobody else can have written into it.
    pub(crate) fn want_created(&mut self, workspace: i64, document: DocumentId, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get_mut(&workspace) else {
            return Ok(());
        };
        let before = held.wanted_name();
        let Some(wanted) = held.wanted.take() else {
            return Ok(());
        };
        let mut documents = wanted.documents;
        documents.insert(document);
        tx.insert_wanted(workspace, &document)?;
        held.wanted = Some(Wanted::new(documents));
        let after = held.wanted_name();
        self.rename_wanted(workspace, (before, after), tx)
    }

    /// Tells whether one more document may be created: it would be asked for by name.
    pub(crate) fn may_want_one_more(&self, workspace: i64) -> Result<(), Error> {
        let wanted = self.workspaces.get(&workspace).and_then(|held| held.wanted.as_ref());
        match wanted.map(|wanted| wanted.documents.len() + 1) {
            Some(count) if count > WANTED_DOCUMENTS_MAX => Err(Error::TooManyDocuments { count }),
            _ => Ok(()),
        }
    }

    /// Lets places in logs count for other documents: there is nothing to be had of those that are added.
    fn rename_wanted(
        &mut self,
        workspace: i64,
        (before, after): (Option<Digest>, Option<Digest>),
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        tx.rename_wanted(workspace, (before.as_ref(), after.as_ref()))?;
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                for name in [&mut channel.asks.wanted, &mut channel.asks.asked] {
                    if *name == before {
                        *name = after;
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets no place in a log count for what is wanted: all are compared.
    fn doubt_wanted(&mut self, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.doubt_wanted(workspace, &NOBODYS)?;
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                channel.asks.wanted = Some(NOBODYS);
            }
        }
        Ok(())
    }

    /// Notes that a log had a document of this device before it was brought there by this one: who brought it may have
    /// written into it, and that was left out.
    pub(super) fn doubt_created(&mut self, now: Now, at: (i64, i64)) {
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1));
        if let Some(channel) = channel.filter(|channel| channel.asks.wanted.is_some()) {
            channel.asks.wanted = Some(NOBODYS);
            channel.mending.lacking.note_wanted(now, true);
        }
    }

    /// Tells those relays that less is wanted which go by what was wanted before; the others are asked for a list.
    fn say_narrowed(&mut self, workspace: i64) {
        let relays: Vec<i64> = self.relays.keys().copied().collect();
        relays.into_iter().for_each(|relay| self.say_wanted((relay, workspace)));
    }

    /// Tells a relay what is wanted, if that is less than it was told last.
    pub(super) fn say_wanted(&mut self, at: (i64, i64)) {
        let name = self.workspaces.get(&at.1).and_then(|held| held.wanted_name());
        let documents = self.wanted_of(at.1);
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return;
        };
        let awaits_list = channel.phase == Phase::Reconciling || channel.mending.lacking.awaits_list();
        let goes_by = if awaits_list { channel.asks.asked } else { channel.asks.wanted };
        let is_open = matches!(channel.phase, Phase::Reconciling | Phase::Filling | Phase::Level);
        if is_open && goes_by == name && channel.asks.told != name {
            channel.asks.told = name;
            let channel = channel.number;
            self.send(at.0, Reconcile { channel, method: Reconcile::NARROW, documents, held: None });
        }
    }

    /// Asks a relay to list the chains of what is wanted, and all others that are here.
    pub(super) fn request_list(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let documents = self.wanted_of(at.1);
        let held = match self.workspaces.get(&at.1).and_then(|held| held.wanted_tags()) {
            // Of more all are listed, and what is not wanted comes too.
            Some(wanted) => Some(tx.chains_besides(at.1, wanted)?).filter(|held| held.len() <= HELD_CHAINS_MAX),
            None => None,
        };
        let name = self.workspaces.get(&at.1).and_then(|held| held.wanted_name());
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        (channel.asks.asked, channel.asks.told) = (name, name);
        channel.asks.documents = documents.as_ref().map(|documents| documents.iter().copied().collect());
        let channel = channel.number;
        self.send(at.0, Reconcile { channel, method: Reconcile::LIST, documents, held });
        Ok(())
    }

    /// Notes that all that is wanted was asked for with an opening or a seed.
    pub(super) fn note_asked(&mut self, at: (i64, i64)) {
        let name = self.workspaces.get(&at.1).and_then(|held| held.wanted_name());
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            (channel.asks.wanted, channel.asks.told) = (name, name);
        }
    }

    /// Tells whether a listed chain is of a document that the list was asked for; whoever lists all sends all as well.
    pub(super) fn is_asked(&self, at: (i64, i64), chain: i64, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let Some(asked) = channel.and_then(|channel| channel.asks.documents.as_ref()) else {
            return Ok(true);
        };
        Ok(tx.chain_key(chain)?.is_none_or(|(key, _)| asked.contains(&key.document)))
    }

    /// Returns the documents that are asked for, as a frame names them.
    pub(super) fn wanted_of(&self, workspace: i64) -> Option<Vec<DocumentTag>> {
        let held = self.workspaces.get(&workspace)?;
        let tags = held.wanted_tags()?;
        Some(tags.iter().copied().take(WANTED_DOCUMENTS_MAX).collect())
    }

    /// Tells whether what is wanted of a workspace was asked for all the way to where this device is in a log.
    pub(super) fn is_all_asked(&self, at: (i64, i64)) -> bool {
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let held = self.workspaces.get(&at.1);
        channel.zip(held).is_some_and(|(channel, held)| channel.asks.wanted == held.wanted_name())
    }
}
