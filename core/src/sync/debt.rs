//! What is owed, and why: milestones, sync debt, and the reasons for which work is set aside.
//!
//! Invariant: "synced" is said only when nothing is pending, some relay holds everything by its own
//! receipt, and its signed head was confirmed in a session that still stands.

use std::collections::BTreeMap;

use tombolo_crypto::OpenError;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::ids::{DeviceId, DocumentId, EntryHash, WorkspaceId};

use super::channel::Phase;
use crate::document::ApplyReason;
use crate::engine::{Engine, Event};
use crate::error::Error;
use crate::store::{StoreError, Tx};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// Why something by another device, or a relay, was not taken as it came.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum SetAsideReason {
            $($(#[$doc])* $name,)*
        }

        impl SetAsideReason {
            pub(crate) fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }

            fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Malformed }
            }
        }
    };
}

reasons! {
    /// The bytes do not follow the protocol.
    Malformed = 1;
    /// A signature does not fit.
    BadSignature = 2;
    /// It was here before.
    Duplicate = 3;
    /// An earlier entry of its chain is missing; it waits.
    Gap = 4;
    /// A membership record is missing; it waits.
    UnknownRecord = 5;
    /// The epoch's key is missing; it waits.
    PendingKey = 6;
    /// More waits for one document than this device keeps.
    TooMuchHeld = 7;
    /// It belongs to another workspace.
    OtherWorkspace = 8;
    /// Its author is no device of a member.
    UnknownAuthor = 9;
    /// Its author's role does not allow it.
    RoleDenied = 10;
    /// Its author went back in the membership log.
    MembershipRegression = 11;
    /// Its epoch is not the one of the membership record it names.
    EpochMismatch = 12;
    /// Another entry stands in its place of the chain.
    Fork = 13;
    /// It does not open.
    Decrypt = 14;
    /// Its padding is not what it should be.
    Padding = 15;
    /// What it holds does not follow the layout.
    MalformedBody = 16;
    /// It claims another CRDT than its document has.
    CrdtMismatch = 17;
    /// It claims to create a document of another id.
    OtherDocument = 18;
    /// It holds work of an actor that is not its author's.
    ActorMismatch = 19;
    /// The CRDT can not take it, or chokes on it.
    Poison = 20;
    /// A membership record does not count.
    RecordRefused = 21;
    /// The relay's log contradicts itself.
    RelayFork = 22;
    /// The relay admits that it lost part of its log.
    RelayRollback = 23;
    /// The other side speaks another version.
    UnsupportedVersion = 24;
    /// The other side's proof, or the way it is reached, is not good enough.
    AuthFailed = 25;
    /// The invite is used up or over.
    InviteNotValid = 26;
    /// A quota is used up.
    QuotaExceeded = 27;
}

impl std::fmt::Display for SetAsideReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl From<OpenError> for SetAsideReason {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Padding => Self::Padding,
            _ => Self::Decrypt,
        }
    }
}

impl From<ApplyReason> for SetAsideReason {
    fn from(reason: ApplyReason) -> Self {
        match reason {
            ApplyReason::ActorMismatch => Self::ActorMismatch,
            _ => Self::Poison,
        }
    }
}

impl From<RefusalReason> for SetAsideReason {
    fn from(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::Malformed | RefusalReason::UnknownDeclaration => Self::Malformed,
            RefusalReason::BadSignature => Self::BadSignature,
            RefusalReason::UnknownAuthor => Self::UnknownAuthor,
            RefusalReason::RoleDenied => Self::RoleDenied,
            RefusalReason::Gap => Self::Gap,
            RefusalReason::Fork => Self::Fork,
            RefusalReason::UnknownRecord => Self::UnknownRecord,
            RefusalReason::RecordRefused => Self::RecordRefused,
            RefusalReason::InviteNotValid => Self::InviteNotValid,
            RefusalReason::QuotaExceeded => Self::QuotaExceeded,
            RefusalReason::MembershipRegression => Self::MembershipRegression,
            RefusalReason::EpochMismatch => Self::EpochMismatch,
        }
    }
}

/// How often each kind of bad input was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<SetAsideReason, u64>);

impl Counters {
    pub(crate) fn count(&mut self, reason: SetAsideReason) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// Returns how often one reason was met.
    #[must_use]
    pub fn of(&self, reason: SetAsideReason) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// Returns all reasons that were met, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (SetAsideReason, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

/// An entry that is kept and not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its document, if that is known.
    pub document: Option<DocumentId>,
    /// Who wrote it.
    pub author: DeviceId,
    /// Its place in the author's chain.
    pub seq: u64,
    /// Its name.
    pub hash: EntryHash,
    /// Why.
    pub reason: SetAsideReason,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

impl SetAside {
    pub(crate) fn of(entry: &Entry, document: Option<DocumentId>, reason: SetAsideReason, since_ms: i64) -> Self {
        let header = entry.header();
        Self { document, author: header.chain.device, seq: header.seq, hash: entry.hash(), reason, since_ms }
    }
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// It is durable on this device.
    Local,
    /// It was sent to a relay.
    Sent,
    /// A relay signed that it is durable there.
    RelayDurable,
    /// This device of a member has it.
    SeenBy(DeviceId),
}

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
    /// The relay refused it.
    Refused(SetAsideReason),
    /// The workspace's keys are not here.
    AwaitingKey,
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
    /// How many entries of others wait, and for what.
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

/// One who waits for a milestone.
struct Waiter {
    workspace: i64,
    document: i64,
    milestone: Milestone,
    /// The last pending change that must have been sealed.
    pending: Option<i64>,
    /// The entries that must have arrived.
    entries: Vec<(i64, u64)>,
}

/// Those who wait for milestones.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: BTreeMap<u64, Waiter>,
    last: u64,
}

impl Waiters {
    /// Notes that pending changes were sealed into entries.
    pub(crate) fn note_sealed(&mut self, document: i64, up_to: i64, chain: i64, seq: u64) {
        for waiter in self.waiting.values_mut().filter(|waiter| waiter.document == document) {
            if waiter.pending.take_if(|pending| *pending <= up_to).is_some() {
                waiter.entries.push((chain, seq));
            }
        }
    }

    /// Notes that a device said how far it has come: everybody in the workspace looks again.
    pub(crate) fn note_status(&mut self, workspace: i64) {
        for waiter in self.waiting.values_mut().filter(|waiter| waiter.workspace == workspace) {
            waiter.workspace = workspace;
        }
    }
}

impl Engine {
    /// Begins to wait for a milestone of all that this device has written into a document so far;
    /// [`Event::Reached`] with the returned number tells when it has come.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Store`].
    pub fn await_milestone(&mut self, document: &DocumentId, milestone: Milestone, tx: &Tx<'_>) -> Result<u64, Error> {
        let row = self.find_document(document, tx)?;
        let (_, _, pending) = tx.pending_summary(row.row)?;
        let mut entries = Vec::new();
        for (chain, device, head_seq) in tx.chains_of_document(row.row)? {
            if device == self.device.id() {
                entries.push((chain, head_seq));
            }
        }
        self.waiters.last += 1;
        let waiter = Waiter { workspace: row.workspace, document: row.row, milestone, pending, entries };
        self.waiters.waiting.insert(self.waiters.last, waiter);
        self.touched.insert(row.row);
        Ok(self.waiters.last)
    }

    /// Ends a wait that nobody is interested in any more.
    pub fn forget_waiter(&mut self, waiter: u64) {
        self.waiters.waiting.remove(&waiter);
    }

    /// Tells those whose milestone has come.
    pub(crate) fn wake_waiters(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let touched = std::mem::take(&mut self.touched);
        let mut reached = Vec::new();
        for (number, waiter) in &self.waiters.waiting {
            let seen = matches!(waiter.milestone, Milestone::SeenBy(_));
            if (seen || touched.contains(&waiter.document)) && self.has_reached(waiter, tx)? {
                reached.push(*number);
            }
        }
        for number in reached {
            self.waiters.waiting.remove(&number);
            self.tell(Event::Reached(number));
        }
        Ok(())
    }

    fn has_reached(&self, waiter: &Waiter, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if waiter.milestone == Milestone::Local {
            return Ok(true);
        }
        if waiter.pending.is_some() {
            return Ok(false);
        }
        for (row, relay) in &self.relays {
            let mut all = true;
            for (chain, seq) in &waiter.entries {
                let placed = tx.placed(*row, *chain)?.filter(|(placed, _)| placed >= seq);
                let sent = relay.live().and_then(|live| live.channels.get(&waiter.workspace)?.sent.get(chain).copied());
                all &= match (waiter.milestone, placed) {
                    (Milestone::Sent, None) => sent.is_some_and(|sent| sent >= *seq),
                    (Milestone::SeenBy(device), Some((_, position))) => {
                        let key = relay.key();
                        let log = tx.log(*row, waiter.workspace)?.map(|log| log.id);
                        let places = self.reached_by(waiter.workspace, &device, tx)?;
                        places.iter().any(|place| {
                            Some(place.relay) == key && Some(place.log) == log && place.position >= position
                        })
                    }
                    (_, placed) => placed.is_some(),
                };
            }
            if all {
                return Ok(true);
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
        let mut debts: BTreeMap<i64, DocumentDebt> = BTreeMap::new();
        for unplaced in tx.unplaced_chains(relay.unwrap_or(NO_RELAY), row)? {
            let Some((_, document)) = tx.chain_key(unplaced.chain)? else {
                continue;
            };
            let debt = self.debt_of(&mut debts, document, relay, row, tx)?;
            debt.unplaced_entries += unplaced.head_seq.saturating_sub(unplaced.placed_seq);
            if let Some(reason) = self.refusal(relay, row, unplaced.chain) {
                debt.reason = DebtReason::Refused(reason);
            }
        }
        for (document, _) in &held.unsealed {
            let (pending_changes, since_ms, _) = tx.pending_summary(*document)?;
            let debt = self.debt_of(&mut debts, *document, relay, row, tx)?;
            (debt.pending_changes, debt.since_ms) = (pending_changes, since_ms);
        }
        let placed = tx.placed_records(relay.unwrap_or(NO_RELAY), row)?;
        let records = held.membership.item_hashes().iter().filter(|hash| !placed.contains(&hash.to_leaf())).count();
        let waiting = tx.held_by_reason(row)?;
        Ok(SyncDebt {
            documents: debts.into_values().collect(),
            records: records as u64,
            held: waiting.into_iter().map(|(code, count)| (SetAsideReason::from_code(code), count)).collect(),
            set_aside: self.set_aside(row, tx)?,
            confirmed: relay.is_some_and(|relay| self.phase_of(relay, row) == Some(Phase::Level)),
        })
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
        match phase {
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

    fn phase_of(&self, relay: i64, workspace: i64) -> Option<Phase> {
        Some(self.relays.get(&relay)?.live()?.channels.get(&workspace)?.phase)
    }

    /// Finds the relay to which least is owed; one that is level counts before one that is not.
    fn best_relay(&self, workspace: i64, tx: &Tx<'_>) -> Result<Option<i64>, StoreError> {
        let mut best: Option<((bool, u64), i64)> = None;
        for relay in self.relays.keys() {
            let unplaced = tx.unplaced_chains(*relay, workspace)?;
            let owed: u64 = unplaced.iter().map(|chain| chain.head_seq.saturating_sub(chain.placed_seq)).sum();
            let rank = (self.phase_of(*relay, workspace) != Some(Phase::Level), owed);
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, *relay));
            }
        }
        Ok(best.map(|(_, relay)| relay))
    }

    fn set_aside(&self, workspace: i64, tx: &Tx<'_>) -> Result<Vec<SetAside>, StoreError> {
        let mut entries = Vec::new();
        for row in tx.quarantined(workspace)? {
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
