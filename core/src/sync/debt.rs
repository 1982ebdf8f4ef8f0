//! What is still owed to the relays, and why.
//!
//! Invariant: "settled" is said only when nothing is pending, some relay holds everything by its own
//! receipt, and its signed head was confirmed in a session that still stands.

use std::collections::BTreeMap;

use tombolo_protocol::frame::NotFoundReason;
use tombolo_protocol::ids::{DocumentId, Stream, WorkspaceId};

use super::channel::Phase;
use super::reason::{SetAside, SetAsideReason};
use crate::engine::Engine;
use crate::error::Error;
use crate::store::{StoreError, Tx, Unplaced};
use crate::workspace::Workspace;

/// Why something is still owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DebtReason {
    /// No relay was ever dialled.
    NoRelay,
    /// No relay is reached at the moment.
    Offline,
    /// The session is still taking in what the relay has.
    CatchingUp,
    /// It waits for its turn or for the relay's receipt.
    UnderWay,
    /// The relay takes a new workspace only from who shows it a token: dial with one.
    NeedsToken,
    /// The workspace's policy wants sessions bound to their TLS connection, and this one is not: dial an address of
    /// the relay where nothing ends TLS in between.
    NeedsBinding,
    /// The relay opens the workspace only to who has shown a second factor, of this level.
    NeedsSecondFactor(u8),
    /// The relay refused it.
    Refused(SetAsideReason),
    /// The workspace's keys are not here.
    AwaitingKey,
    /// The disk changed it: what a relay has is fetched again, own changes that nobody else has are kept.
    Damaged,
}

impl std::fmt::Display for DebtReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRelay => f.write_str("no relay is known; dial one"),
            Self::Offline => f.write_str("no relay is reached; it goes out as soon as one is"),
            Self::CatchingUp => f.write_str("what the relay has comes first"),
            Self::UnderWay => f.write_str("on the way, not confirmed yet"),
            Self::Refused(reason) => write!(f, "the relay refused it: {reason}"),
            Self::NeedsToken => {
                f.write_str("the relay takes this workspace only from who shows it a token; dial with one")
            }
            Self::NeedsBinding => f.write_str(
                "the workspace's policy wants a connection that nothing ends in between; dial the relay directly, by wss",
            ),
            Self::NeedsSecondFactor(level) => {
                write!(f, "the relay wants a second factor (level {level}) first; show one, and it goes on by itself")
            }
            Self::AwaitingKey => f.write_str("the workspace's key has not come yet; ask an admin to sync"),
            Self::Damaged => {
                f.write_str("this device's disk changed it; it is kept, sync with a relay and check the disk")
            }
        }
    }
}

/// What one document still owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentDebt {
    /// Which document; `None` if its first entry was not read yet.
    pub document: Option<DocumentId>,
    /// Changes that no entry carries yet.
    pub pending_changes: u64,
    /// Entries that no relay holds.
    pub unplaced_entries: u64,
    /// When the oldest pending change was made, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Why.
    pub reason: DebtReason,
}

/// What a workspace still owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDebt {
    /// The documents that owe something.
    pub documents: Vec<DocumentDebt>,
    /// Membership records that no relay holds.
    pub records: u64,
    /// How many entries wait, and for what: those of others that came too early, those whose key is not here,
    /// those that the disk has changed, and chains of which a relay lists more than it gave.
    pub held: BTreeMap<SetAsideReason, u64>,
    /// Entries of others that are kept and not applied.
    pub set_aside: Vec<SetAside>,
    /// Whether a relay's head was confirmed in a session that still stands.
    pub confirmed: bool,
}

impl SyncDebt {
    /// Tells whether everything here is at a relay, and everything there is here.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.documents.is_empty() && self.records == 0 && self.held.is_empty() && self.confirmed
    }
}

impl Engine {
    /// Tells whether a workspace owes nothing, as [`Engine::sync_debt`] would say: to be asked at every turn, for the
    /// first thing that is owed ends the search.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::Store`].
    pub fn is_settled(&self, workspace: &WorkspaceId, tx: &Tx<'_>) -> Result<bool, Error> {
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        for relay in self.relays.keys().filter(|relay| self.is_confirmed(**relay, row)) {
            if !tx.owes_any(*relay, row, &self.device.id())? {
                return Ok(self.sync_debt(workspace, tx)?.is_settled());
            }
        }
        Ok(false)
    }

    /// Returns what a workspace still owes, and why.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::Store`].
    pub fn sync_debt(&self, workspace: &WorkspaceId, tx: &Tx<'_>) -> Result<SyncDebt, Error> {
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        let held = self.workspaces.get(&row).ok_or(Error::NoWorkspace(*workspace))?;
        let relay = self.best_relay(row, tx)?;
        let placed = tx.placed_records(relay.unwrap_or(NO_RELAY), row)?;
        let records = held.owed_records().filter(|hash| placed.binary_search(&hash.to_leaf()).is_err()).count();
        Ok(SyncDebt {
            documents: self.owed_documents(relay, held, tx)?,
            records: records as u64,
            held: self.waiting(relay, row, tx)?,
            set_aside: self.set_aside(row, tx)?,
            confirmed: relay.is_some_and(|relay| self.is_confirmed(relay, row)),
        })
    }

    /// Returns what the documents of a workspace owe.
    fn owed_documents(
        &self,
        relay: Option<i64>,
        held: &Workspace,
        tx: &Tx<'_>,
    ) -> Result<Vec<DocumentDebt>, StoreError> {
        let row = held.row;
        let mut debts: BTreeMap<i64, DocumentDebt> = BTreeMap::new();
        for unplaced in tx.unplaced_chains(relay, row, &self.device.id())? {
            if unplaced.owed() == 0 {
                continue;
            }
            let Some((_, document)) = tx.chain_key(unplaced.chain)? else {
                continue;
            };
            let debt = self.debt_of(&mut debts, document, relay, row, tx)?;
            debt.unplaced_entries += unplaced.owed();
            if let Some(reason) = self.refusal(relay, row, unplaced.chain) {
                debt.reason = DebtReason::Refused(reason);
            }
            if held.is_damaged_behind(unplaced.chain, unplaced.placed_seq) {
                debt.reason = DebtReason::Damaged;
            }
        }
        for (document, _) in &held.unsealed {
            let (pending_changes, since_ms, _) = tx.pending_summary(*document)?;
            let debt = self.debt_of(&mut debts, *document, relay, row, tx)?;
            (debt.pending_changes, debt.since_ms) = (pending_changes, since_ms);
            if !held.role(&self.device).is_some_and(|role| role.may_write(Stream::CONTENT)) {
                debt.reason = DebtReason::Refused(SetAsideReason::RoleDenied);
            }
            if held.damaged_changes.get(document).is_some_and(|changes| *changes > 0) {
                debt.reason = DebtReason::Damaged;
            }
        }
        Ok(debts.into_values().collect())
    }

    /// Returns how many entries wait, and for what.
    fn waiting(
        &self,
        relay: Option<i64>,
        workspace: i64,
        tx: &Tx<'_>,
    ) -> Result<BTreeMap<SetAsideReason, u64>, StoreError> {
        let held = tx.held_by_reason(workspace)?;
        let mut waiting: BTreeMap<_, _> =
            held.into_iter().map(|(code, count)| (SetAsideReason::from_code(code), count)).collect();
        let live = relay.and_then(|relay| self.relays.get(&relay)?.live()?.channels.get(&workspace));
        let damaged = self.workspaces.get(&workspace).map_or(0, |held| held.damaged.len() as u64);
        let listed = live.map_or(0, |channel| channel.mending.lacking.withheld());
        let keyless = self.keyless(workspace, tx)?;
        let others =
            [(SetAsideReason::Damaged, damaged), (SetAsideReason::Gap, listed), (SetAsideReason::PendingKey, keyless)];
        for (reason, count) in others {
            if count > 0 {
                *waiting.entry(reason).or_default() += count;
            }
        }
        Ok(waiting)
    }

    /// Returns how many entries this device's user may read, and lacks the key of.
    pub(super) fn keyless(&self, workspace: i64, tx: &Tx<'_>) -> Result<u64, StoreError> {
        let mut entries = 0;
        for epoch in self.workspaces.get(&workspace).into_iter().flat_map(|held| held.missing_epochs(&self.device)) {
            entries += tx.count_of_epoch(workspace, &epoch)?;
        }
        Ok(entries)
    }

    fn debt_of<'d>(
        &self,
        debts: &'d mut BTreeMap<i64, DocumentDebt>,
        document: i64,
        relay: Option<i64>,
        workspace: i64,
        tx: &Tx<'_>,
    ) -> Result<&'d mut DocumentDebt, StoreError> {
        let id = tx.document_by_row(document)?.and_then(|row| row.about).map(|about| about.id);
        Ok(debts.entry(document).or_insert_with(|| DocumentDebt {
            document: id,
            pending_changes: 0,
            unplaced_entries: 0,
            since_ms: None,
            reason: self.general_reason(relay, workspace),
        }))
    }

    fn general_reason(&self, relay: Option<i64>, workspace: i64) -> DebtReason {
        let phase = relay.and_then(|relay| self.phase_of(relay, workspace));
        let sealable = self.workspaces.get(&workspace).is_some_and(|held| held.sealing().is_some());
        let needs = relay.and_then(|relay| self.needs(relay, workspace));
        let wanted = relay.and_then(|relay| self.level_wanted(relay, workspace));
        match phase {
            _ if needs == Some(NotFoundReason::NeedsBinding) => DebtReason::NeedsBinding,
            _ if needs.is_some() => DebtReason::NeedsToken,
            Some(Phase::Dormant) if wanted.is_some() => DebtReason::NeedsSecondFactor(wanted.unwrap_or_default()),
            _ if self.relays.is_empty() => DebtReason::NoRelay,
            None => DebtReason::Offline,
            Some(Phase::Level) if sealable => DebtReason::UnderWay,
            Some(Phase::Level) => DebtReason::AwaitingKey,
            Some(_) => DebtReason::CatchingUp,
        }
    }

    fn refusal(&self, relay: Option<i64>, workspace: i64, chain: i64) -> Option<SetAsideReason> {
        let live = self.relays.get(&relay?)?.live()?;
        live.channels.get(&workspace)?.refused.get(&chain).copied()
    }

    fn needs(&self, relay: i64, workspace: i64) -> Option<NotFoundReason> {
        self.relays.get(&relay)?.live()?.channels.get(&workspace)?.needs
    }

    fn phase_of(&self, relay: i64, workspace: i64) -> Option<Phase> {
        Some(self.relays.get(&relay)?.live()?.channels.get(&workspace)?.phase)
    }

    /// Tells whether a relay's head was confirmed in a session that still stands.
    pub(crate) fn is_confirmed(&self, relay: i64, workspace: i64) -> bool {
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::StatusTooSoon.is_planted() {
            return true;
        }
        self.phase_of(relay, workspace) == Some(Phase::Level) && self.is_all_asked((relay, workspace))
    }

    /// Finds the relay to which least is owed, of those that are level if there are any.
    fn best_relay(&self, workspace: i64, tx: &Tx<'_>) -> Result<Option<i64>, StoreError> {
        let is_level = |relay: &i64| self.phase_of(*relay, workspace) == Some(Phase::Level);
        let mut relays: Vec<i64> = self.relays.keys().copied().collect();
        if relays.iter().any(is_level) {
            relays.retain(is_level);
        }
        if let [relay] = relays[..] {
            return Ok(Some(relay));
        }
        let mut best: Option<(u64, i64)> = None;
        for relay in relays {
            let unplaced = tx.unplaced_chains(Some(relay), workspace, &self.device.id())?;
            let owed: u64 = unplaced.iter().map(Unplaced::owed).sum();
            if best.is_none_or(|(least, _)| owed < least) {
                best = Some((owed, relay));
            }
        }
        Ok(best.map(|(_, relay)| relay))
    }

    fn set_aside(&self, workspace: i64, tx: &Tx<'_>) -> Result<Vec<SetAside>, StoreError> {
        let mut entries = Vec::new();
        let written = tx.quarantined(workspace)?;
        for row in written.into_iter().chain(self.findings.set_aside(workspace).cloned()) {
            let document = tx.document_by_tag(workspace, &row.document)?.and_then(|row| row.about);
            entries.push(SetAside {
                document: document.map(|about| about.id),
                author: row.device,
                seq: row.seq,
                hash: row.hash,
                reason: SetAsideReason::from_code(row.reason),
                since_ms: row.since_ms,
            });
        }
        Ok(entries)
    }
}

/// A row that no relay has.
const NO_RELAY: i64 = -1;
