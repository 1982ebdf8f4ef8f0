//! Forgetting a workspace: what this device holds of it goes, in one commit.
//!
//! The other members keep it, and this device stays a member for them: leaving is a matter of records.
//!
//! Invariant: own work that no relay has is deleted only by who said so. Whoever joins again begins another
//! life of its chains there, and so never takes a place that it took before.

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::ids::{Incarnation, WorkspaceId};
use tombolo_protocol::item::ItemHash;

use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::store::{StoreError, Tx, WorkspaceState};

/// What becomes of own work that no relay has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsent {
    /// It stands in the way: nothing is forgotten while there is any.
    #[default]
    Keep,
    /// It goes with the rest.
    Discard,
}

/// Own work that no relay has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnsentWork {
    /// Changes that no entry carries yet.
    pub changes: u64,
    /// Entries.
    pub entries: u64,
    /// Records: invites, and the founding itself.
    pub records: u64,
}

/// Lives that are remembered of a forgotten workspace: each is a time that it was joined, or a store restored.
const LIVES_MAX: usize = 1024;

impl Engine {
    /// Forgets a workspace and all its documents; the sessions in which it was open begin anew.
    ///
    /// # Errors
    /// [`Error::UnsentWork`] if there is own work that no relay has, unless it shall be discarded;
    /// [`Error::NoWorkspace`], [`Error::Store`].
    pub fn forget_workspace(&mut self, now: Now, id: &WorkspaceId, unsent: Unsent, tx: &Tx<'_>) -> Result<(), Error> {
        let row = self.workspace_row(id).ok_or(Error::NoWorkspace(*id))?;
        let work = self.unsent_work(row, tx)?;
        if unsent == Unsent::Keep && work != UnsentWork::default() {
            return Err(Error::UnsentWork(work));
        }
        self.remember_lives(row, id, tx)?;
        tx.forget_workspace(row)?;
        for document in self.documents.rows_of(row) {
            self.documents.close(document);
        }
        self.workspaces.remove(&row);
        self.waiters.forget_workspace(row);
        let open =
            self.relays.values().filter(|relay| relay.live().is_some_and(|live| live.channels.contains_key(&row)));
        for connection in open.map(crate::sync::Relay::connection).collect::<Vec<_>>() {
            self.hang_up(now, connection, CloseCode::Going);
        }
        self.tell(Event::WorkspaceForgotten { workspace: *id });
        Ok(())
    }

    /// Notes in which lives this device wrote in a workspace, so that its own work is known if it comes back.
    fn remember_lives(&mut self, row: i64, id: &WorkspaceId, tx: &Tx<'_>) -> Result<(), StoreError> {
        let mut lives = self.forgotten_lives(id, tx)?;
        let own = tx.admitted_heads(row, &self.device.id())?;
        lives.extend(own.into_iter().map(|(chain, ..)| chain.incarnation.0));
        lives.sort_unstable();
        lives.dedup();
        lives.truncate(LIVES_MAX);
        let bytes: Vec<u8> = lives.into_iter().flat_map(u64::to_be_bytes).collect();
        tx.set_meta(&lives_key(id), &bytes, self.entropy.as_mut())
    }

    fn forgotten_lives(&self, id: &WorkspaceId, tx: &Tx<'_>) -> Result<Vec<u64>, StoreError> {
        let bytes = tx.meta(&lives_key(id))?.unwrap_or_default();
        Ok(bytes.as_chunks::<8>().0.iter().copied().map(u64::from_be_bytes).collect())
    }

    /// Tells whether this store wrote in such a life before it forgot the workspace.
    pub(crate) fn has_forgotten_life(
        &self,
        id: &WorkspaceId,
        life: Incarnation,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        Ok(self.forgotten_lives(id, tx)?.contains(&life.0))
    }

    fn unsent_work(&self, row: i64, tx: &Tx<'_>) -> Result<UnsentWork, StoreError> {
        let mut work = UnsentWork::default();
        let Some(held) = self.workspaces.get(&row).filter(|held| held.state == WorkspaceState::Member) else {
            return Ok(work);
        };
        let documents: std::collections::BTreeSet<i64> = held.unsealed.iter().map(|(document, _)| *document).collect();
        for document in documents {
            work.changes += tx.pending_summary(document)?.0;
        }
        work.entries = tx.unsent_entries(row, &self.device.id())?;
        for record in held.membership.in_order() {
            let own = record.author() == self.device.id();
            if own && !tx.is_record_placed(row, &ItemHash::Record(record.id()))? {
                work.records += 1;
            }
        }
        Ok(work)
    }
}

fn lives_key(workspace: &WorkspaceId) -> String {
    format!("lives:{workspace}")
}
