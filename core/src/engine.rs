//! The engine of one replica: a synchronous state machine between store, documents and relays.
//!
//! Its law: *handle → commit → drain → wait*.
//!
//! ```text
//! let tx = store.begin(on_platter)?;
//! engine.handle(now, input, &tx)?;        // several inputs may share one transaction
//! engine.settle(now, &tx)?;               // seal, send, apply, wake waiters
//! tx.commit()?;                           // durable before it can be seen or sent
//! while let Some(effect) = engine.poll_effect() { driver.perform(effect); }
//! let wake_at = engine.poll_timeout();
//! ```
//!
//! Invariant: time, randomness and the transaction are arguments; no effect is handed out before the
//! commit of what caused it; after a [`StoreError`] the engine is dropped and loaded again from disk.

mod build;
mod counting;
mod covered;
mod edit;
mod findings;
mod forks;
mod gather;
mod horizon;
mod input;
mod open;
mod saved;
mod snapshot;
mod stats;
mod unreached;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub(crate) use build::derive_actor;
pub(crate) use counting::{Struck, claim};
pub use edit::DocumentSummary;
pub(crate) use findings::Findings;
pub use input::{Connection, Effect, Event, Input, Now, Origin, RelayRef, RelayState};
pub(crate) use open::{OpenDocuments, Opened};
pub(crate) use snapshot::{Compaction, Made, creation_of};
pub use stats::DocumentStats;
use tombolo_crypto::{DeviceSecrets, Entropy, array};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::identity::IdentityLog;
use tombolo_protocol::ids::{DeviceId, Incarnation, UserId, WorkspaceId};
pub use unreached::{OfflineReason, Unreached};

use crate::identity::{Own, load_own};
use crate::store::{INCARNATION, Store, StoreError, Tx, WorkspaceRow};
use crate::sync::milestone::Waiters;
use crate::sync::reason::{Counters, SetAsideReason};
use crate::sync::{Fault, Relay};
use crate::workspace::Workspace;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Bytes of open documents to keep in memory; documents that are watched stay beyond it.
    pub memory_bytes: usize,
    /// The document type that new documents are marked with.
    pub app_type: String,
    /// Whether nobody is dialled before [`Input::Resume`].
    pub offline: bool,
    /// Entries behind a document's saved form from which an opening saves it anew. Few make openings quick, many spare
    /// writing.
    pub tail_entries: usize,
    /// Entries since a document's newest published snapshot from which its busiest writer publishes it anew;
    /// [`usize::MAX`] for never.
    pub snapshot_entries: usize,
    /// How long a snapshot must have had enough words before this device gives up what it stands for; `None` for never.
    pub compact_after: Option<Duration>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            app_type: String::new(),
            offline: false,
            tail_entries: 1024,
            snapshot_entries: usize::MAX,
            compact_after: None,
        }
    }
}

/// What to look at again before a turn ends.
#[derive(Default)]
pub(crate) struct Again {
    /// Documents whose entries are whole again, to be built anew.
    pub(crate) mended: BTreeSet<i64>,
    /// Documents of which other entries may count than before.
    pub(crate) recounts: BTreeSet<i64>,
    /// Documents with chains in two branches, one of which may have grown.
    pub(crate) forked: BTreeSet<i64>,
    /// Documents whose unsealed work is shown or kept aside, as this device's right to write them has changed.
    pub(crate) rights: BTreeSet<i64>,
    /// Workspaces whose members have changed since their documents were counted.
    pub(crate) rejudged: BTreeSet<i64>,
}

/// The state machine of one replica.
pub struct Engine {
    pub(crate) device: DeviceSecrets,
    pub(crate) identity: IdentityLog,
    pub(crate) own: Own,
    pub(crate) incarnation: Incarnation,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) config: EngineConfig,
    pub(crate) workspaces: BTreeMap<i64, Workspace>,
    pub(crate) relays: BTreeMap<i64, Relay>,
    pub(crate) documents: OpenDocuments,
    pub(crate) waiters: Waiters,
    pub(crate) counters: Counters,
    pub(crate) findings: Findings,
    pub(crate) compaction: Compaction,
    pub(crate) again: Again,
    /// Whether the store does not know this life of the device's chains yet: its disk was full.
    incarnation_unsaved: bool,
    /// Documents whose milestones may have moved since the last `settle`.
    pub(crate) touched: BTreeSet<i64>,
    pub(crate) paused: bool,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// Loads the engine's state; on the first open it makes the device's identity.
    ///
    /// # Errors
    /// [`StoreError`] if the store can not be read, or holds what it should not.
    pub fn load(store: &mut Store, mut entropy: Box<dyn Entropy>, config: EngineConfig) -> Result<Self, StoreError> {
        let copied = store.fresh_incarnation();
        let tx = store.begin(true)?;
        let device = load_device(&tx, entropy.as_mut())?;
        let (identity, own) = load_own(&tx, &device, entropy.as_mut())?;
        let incarnation_unsaved = copied && tx.room().is_err();
        let incarnation = if incarnation_unsaved {
            fresh_incarnation(entropy.as_mut())
        } else {
            load_incarnation(&tx, entropy.as_mut())?
        };
        let mut engine = Self {
            device,
            identity,
            own,
            incarnation,
            entropy,
            documents: OpenDocuments::new(config.memory_bytes),
            paused: config.offline,
            config,
            workspaces: BTreeMap::new(),
            relays: BTreeMap::new(),
            waiters: Waiters::default(),
            counters: Counters::default(),
            findings: Findings::default(),
            compaction: Compaction::default(),
            again: Again::default(),
            incarnation_unsaved,
            touched: BTreeSet::new(),
            effects: VecDeque::new(),
        };
        for (row, workspace) in tx.workspaces()? {
            engine.load_workspace(row, workspace, &tx)?;
        }
        tx.mend_owed()?;
        engine.relays = tx.relays()?.into_iter().map(|relay| (relay.row, Relay::new(relay))).collect();
        tx.commit()?;
        Ok(engine)
    }

    fn load_workspace(&mut self, row: i64, stored: WorkspaceRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        let workspace = Workspace::load(tx, row, stored, &self.device, self.recovery_box())?;
        self.workspaces.insert(row, workspace);
        self.load_fellows(row, tx)
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// [`StoreError`]: the transaction must be dropped and the engine loaded again.
    pub fn handle(&mut self, now: Now, input: Input, tx: &Tx<'_>) -> Result<(), StoreError> {
        match input {
            Input::Connected { connection, host, binding, loopback } => {
                self.connected(now, connection, host, (binding, loopback));
                Ok(())
            }
            Input::Frame { connection, bytes } => self.frame(now, connection, &bytes, tx),
            Input::Disconnected { connection, code } => {
                self.disconnected(now, connection, code);
                Ok(())
            }
            Input::Unreached { connection, why } => {
                self.unreached(now, connection, why);
                Ok(())
            }
            Input::Tick => self.tick(now, tx),
            Input::NetworkChanged => {
                self.redial_now(now);
                Ok(())
            }
            Input::Pause => {
                self.pause();
                Ok(())
            }
            Input::Resume => {
                self.resume(now);
                Ok(())
            }
        }
    }

    fn frame(&mut self, now: Now, connection: Connection, bytes: &[u8], tx: &Tx<'_>) -> Result<(), StoreError> {
        match self.receive(now, connection, bytes, tx) {
            Ok(()) => Ok(()),
            Err(Fault::Store(error)) => Err(error),
            Err(Fault::Session(code, reason)) => {
                self.counters.count(reason);
                self.hang_up(now, connection, code);
                Ok(())
            }
            Err(Fault::Way(why)) => {
                self.counters.count(SetAsideReason::AuthFailed);
                self.push(Effect::HangUp { connection, code: CloseCode::AuthFailed });
                self.unreached(now, connection, why);
                Ok(())
            }
        }
    }

    /// Does what several inputs made due: applies, seals, sends, wakes. Call it once before the commit;
    /// with `on_platter` false nothing is sealed, and [`Engine::wants_platter`] says that it should be.
    ///
    /// # Errors
    /// [`StoreError`]: the transaction must be dropped and the engine loaded again.
    pub fn settle(&mut self, now: Now, tx: &Tx<'_>, on_platter: bool) -> Result<(), StoreError> {
        self.settle_own(now, tx)?;
        self.apply_due(now, tx)?;
        self.rebuild_mended(now, tx)?;
        self.rebuild_forked(now, tx)?;
        self.recount_due(now, tx)?;
        self.open_wanted(tx)?;
        self.compact_due(now, tx)?;
        if on_platter {
            // What is sealed names only what counts.
            if tx.has_written() {
                self.record_findings(tx)?;
            }
            self.flush(now, tx)?;
            self.recount_due(now, tx)?;
        }
        self.await_answers(now);
        self.wake_waiters(tx)?;
        if tx.has_written() {
            self.record_findings(tx)?;
            if std::mem::take(&mut self.incarnation_unsaved) {
                tx.set_meta(INCARNATION, &self.incarnation.0.to_be_bytes(), self.entropy.as_mut())?;
            }
        }
        self.documents.evict();
        Ok(())
    }

    /// Tells whether there is something to seal, which must reach the platter before it is sent.
    #[must_use]
    pub fn wants_platter(&self) -> bool {
        !self.paused && self.relays.values().any(Relay::wants_flush)
    }

    /// Hands out what to do next, oldest first; to be called after a commit.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns when the engine wants [`Input::Tick`], if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let relays = self.relays.values().filter_map(|relay| relay.wake_at(self.paused));
        relays.chain(self.documents.next_apply()).chain(self.own.wake_at()).chain(self.compaction.wake_at()).min()
    }

    /// Returns the device.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.device.id()
    }

    /// Returns the user whose device it is.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.identity.user()
    }

    /// Returns how many documents are in memory.
    #[must_use]
    pub fn open_documents(&self) -> usize {
        self.workspaces.keys().map(|workspace| self.documents.rows_of(*workspace).len()).sum()
    }

    /// Returns how often each kind of bad input was met since the engine was loaded.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    pub(crate) fn workspace_row(&self, id: &WorkspaceId) -> Option<i64> {
        self.workspaces.iter().find(|(_, workspace)| workspace.id == *id).map(|(row, _)| *row)
    }

    /// Returns this life of the device's chains in a workspace: each joining begins another.
    pub(crate) fn incarnation_in(&self, workspace: i64) -> Incarnation {
        let life = self.workspaces.get(&workspace).map_or(0, |held| held.life);
        Incarnation(self.incarnation.0 ^ life)
    }

    /// Begins another life of this device's chains: the store was copied, restored or forked.
    pub(crate) fn next_incarnation(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.incarnation = fresh_incarnation(self.entropy.as_mut());
        for workspace in self.workspaces.values_mut() {
            workspace.former.extend(workspace.unsealed.iter().copied());
        }
        tx.set_meta(INCARNATION, &self.incarnation.0.to_be_bytes(), self.entropy.as_mut())
    }
}

fn load_device(tx: &Tx<'_>, entropy: &mut dyn Entropy) -> Result<DeviceSecrets, StoreError> {
    if let Some(bytes) = tx.meta("device")? {
        return DeviceSecrets::decode(&bytes).map_err(|_| CORRUPT);
    }
    let device = DeviceSecrets::generate(entropy);
    tx.set_meta("device", &device.encode(), entropy)?;
    Ok(device)
}

fn load_incarnation(tx: &Tx<'_>, entropy: &mut dyn Entropy) -> Result<Incarnation, StoreError> {
    match tx.meta(INCARNATION)? {
        Some(bytes) => bytes.try_into().map(u64::from_be_bytes).map(Incarnation).map_err(|_| CORRUPT),
        None => {
            let incarnation = fresh_incarnation(entropy);
            tx.set_meta(INCARNATION, &incarnation.0.to_be_bytes(), entropy)?;
            Ok(incarnation)
        }
    }
}

fn fresh_incarnation(entropy: &mut dyn Entropy) -> Incarnation {
    Incarnation(u64::from_be_bytes(array(entropy)))
}

const CORRUPT: StoreError = StoreError::Corrupt { table: "meta" };
