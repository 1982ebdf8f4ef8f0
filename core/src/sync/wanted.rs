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
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx};
use crate::workspace::Wanted;

/// Asks for a list of the log's chains, and for the entries of what is wanted from there on.
const LIST: u8 = 0;
/// Only says that less is wanted from now on.
const NARROW: u8 = 2;

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
        if is_less {
            self.rename_wanted(row, (before, after), tx)?;
            self.say_narrowed(row);
        }
        let relays: Vec<i64> = self.relays.keys().copied().collect();
        for relay in relays {
            if let Some(channel) = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(row)) {
                channel.mending.lacking.note_wanted(now, channel.wanted != after);
                // What was said last is not so any more.
                channel.status_position = 0;
            }
            self.plan_status(now, (relay, row));
        }
        Ok(())
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
        tx.set_wanted(workspace, Some(&documents))?;
        held.wanted = Some(Wanted::new(documents));
        let after = held.wanted_name();
        self.rename_wanted(workspace, (before, after), tx)
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
                for name in [&mut channel.wanted, &mut channel.asked] {
                    if *name == before {
                        *name = after;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells relays that less is wanted from now on.
    fn say_narrowed(&mut self, workspace: i64) {
        let documents = self.wanted_of(workspace);
        let relays: Vec<i64> = self.relays.keys().copied().collect();
        for relay in relays {
            let channel = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(workspace));
            let open = |phase| matches!(phase, Phase::Filling | Phase::Level);
            if let Some(channel) = channel.filter(|channel| open(channel.phase)).map(|channel| channel.number) {
                self.send(relay, Reconcile { channel, method: NARROW, documents: documents.clone(), held: None });
            }
        }
    }

    /// Asks a relay to list the chains of what is wanted, and all others that are here.
    pub(super) fn request_list(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let documents = self.wanted_of(at.1);
        let held = match self.workspaces.get(&at.1).and_then(|held| held.wanted_tags()) {
            // Of more all are listed, and what is not wanted comes too.
            Some(wanted) => Some(tx.chains_besides(at.1, &wanted)?).filter(|held| held.len() <= HELD_CHAINS_MAX),
            None => None,
        };
        let name = self.workspaces.get(&at.1).and_then(|held| held.wanted_name());
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.asked = name;
        let channel = channel.number;
        self.send(at.0, Reconcile { channel, method: LIST, documents, held });
        Ok(())
    }

    /// Notes that all that is wanted was asked for with the opening.
    pub(super) fn note_asked(&mut self, at: (i64, i64)) {
        let name = self.workspaces.get(&at.1).and_then(|held| held.wanted_name());
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.wanted = name;
        }
    }

    /// Tells whether a chain that is here is of a document that is asked for.
    pub(super) fn is_wanted(&self, workspace: i64, chain: i64, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Some(wanted) = self.workspaces.get(&workspace).and_then(|held| held.wanted_tags()) else {
            return Ok(true);
        };
        Ok(tx.chain_key(chain)?.is_none_or(|(key, _)| wanted.contains(&key.document)))
    }

    /// Returns the documents that are asked for, as a frame names them.
    pub(super) fn wanted_of(&self, workspace: i64) -> Option<Vec<DocumentTag>> {
        let held = self.workspaces.get(&workspace)?;
        let tags = held.wanted_tags()?;
        Some(tags.into_iter().take(WANTED_DOCUMENTS_MAX).collect())
    }

    /// Tells whether what is wanted of a workspace was asked for all the way to where this device is in a log.
    pub(super) fn is_all_asked(&self, at: (i64, i64)) -> bool {
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let held = self.workspaces.get(&at.1);
        channel.zip(held).is_some_and(|(channel, held)| channel.wanted == held.wanted_name())
    }
}
