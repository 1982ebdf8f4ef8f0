//! The thread that owns store and engine: handle → commit → drain → wait.
//!
//! Invariant: what waits in the queue when a turn begins shares one commit; nobody is answered and
//! nothing is sent before it; if it fails, nothing of the turn has happened, all are told, and the
//! engine is loaded again from disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tombolo_crypto::KeyVault;
use tombolo_protocol::ids::DocumentId;

use super::clock::{Clock, SystemEntropy};
use super::command::{Answer, Command, WatchAnswer, refusal, refuse_all};
#[cfg(feature = "network")]
use super::connection::Connections;
use super::events::{DocumentEvent, Outlets};
use super::looks::Looks;
use super::open::Open;
use super::watchers::Watchers;
use crate::engine::{Effect, Engine, EngineConfig, Event, Input, Now};
use crate::error::Error;
use crate::store::{Durability, Store, StoreError};

/// Commands that share one commit.
const TURN_MAX: usize = 2048;
/// Longest wait for something to happen, so that a clock that was set is noticed.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// How a replica is set up.
pub(super) struct Setup {
    pub(super) path: PathBuf,
    pub(super) vault: Arc<dyn KeyVault>,
    pub(super) durability: Durability,
    pub(super) config: EngineConfig,
    #[cfg(feature = "network")]
    pub(super) roots: Vec<Vec<u8>>,
}

/// Owns store, engine and connections.
pub(super) struct Driver {
    setup: Setup,
    clock: Clock,
    open: Option<Open>,
    commands: mpsc::Receiver<Command>,
    outlets: Outlets,
    watchers: Watchers,
    waiters: BTreeMap<u64, oneshot::Sender<Result<(), Error>>>,
    reached: Vec<u64>,
    looks: Looks,
    #[cfg(feature = "network")]
    connections: Connections,
}

impl Driver {
    /// Opens the store and loads the engine.
    pub(super) fn open(
        setup: Setup,
        commands: mpsc::Receiver<Command>,
        outlets: Outlets,
        #[cfg(feature = "network")] connections: Connections,
    ) -> Result<Self, StoreError> {
        let mut driver = Self {
            setup,
            clock: Clock::start(),
            open: None,
            commands,
            outlets,
            watchers: Watchers::default(),
            waiters: BTreeMap::new(),
            reached: Vec::new(),
            looks: Looks::default(),
            #[cfg(feature = "network")]
            connections,
        };
        driver.reopen()?;
        Ok(driver)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        if self.open.is_some() {
            return Ok(());
        }
        let (path, vault) = (&self.setup.path, self.setup.vault.as_ref());
        let store = Store::open(path, vault, self.setup.durability, &mut SystemEntropy::new())?;
        self.load(store)
    }

    fn load(&mut self, mut store: Store) -> Result<(), StoreError> {
        let engine = Engine::load(&mut store, Box::new(SystemEntropy::new()), self.setup.config.clone())?;
        self.open = Some(Open { store, engine });
        self.watchers.note_all_rebuilt();
        self.watch_again()
    }

    /// After the engine was loaded anew: watch what was watched.
    fn watch_again(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(open) = self.open.as_mut() else {
            return Ok(());
        };
        let tx = open.store.begin(false)?;
        for (document, count) in self.watchers.counts() {
            for _ in 0..count {
                if let Err(Error::Store(error)) = open.engine.watch(now, &document, &tx) {
                    return Err(error);
                }
            }
        }
        tx.commit()
    }

    /// Runs until the replica is closed or every handle to it is gone.
    pub(super) fn run(mut self, runtime: &tokio::runtime::Runtime) {
        loop {
            let timeout = self.open.as_ref().and_then(|open| open.engine.poll_timeout());
            let wait = timeout.map_or(WAIT_MAX, |at| at.saturating_sub(self.clock.now().mono)).min(WAIT_MAX);
            let received = if wait.is_zero() {
                self.commands.try_recv().ok().map(Some).unwrap_or(Some(Command::Input(Input::Tick)))
            } else {
                let next = runtime.block_on(async { tokio::time::timeout(wait, self.commands.recv()).await });
                next.unwrap_or(Some(Command::Input(Input::Tick)))
            };
            let Some(first) = received else {
                return self.finish(None);
            };
            let ticks = timeout.is_some_and(|at| at <= self.clock.now().mono);
            match self.take_turn(first, ticks) {
                Ok(None) => {}
                Ok(Some(answer)) => return self.finish(Some(answer)),
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Takes in what waits, in one commit; returns whom to answer when the replica is closed.
    fn take_turn(
        &mut self,
        first: Command,
        ticks: bool,
    ) -> Result<Option<oneshot::Sender<Result<(), Error>>>, StoreError> {
        let mut batch = Vec::new();
        let mut next = Some(first);
        if ticks {
            batch.push(Command::Input(Input::Tick));
        }
        let mut ending = None;
        while let Some(command) = next {
            match command {
                Command::Close(answer) => ending = Some(Ending::Close(answer)),
                Command::Pause(answer) => ending = Some(Ending::Pause(answer)),
                command => batch.push(command),
            }
            next = if ending.is_none() && batch.len() < TURN_MAX { self.commands.try_recv().ok() } else { None };
        }
        let taken = self.turn_with(batch);
        let Some(ending) = ending else {
            return taken.map(|()| None);
        };
        // Who came before was told; it ends all the same.
        taken.unwrap_or_else(|error| self.fail(&error));
        Ok(self.end(ending))
    }

    /// Pauses, or returns whom to answer when the replica is closed.
    fn end(&mut self, ending: Ending) -> Option<oneshot::Sender<Result<(), Error>>> {
        let answer = match ending {
            Ending::Close(answer) => return Some(answer),
            Ending::Pause(answer) => answer,
        };
        let paused = self.pause();
        if let (Err(error), true) = (&paused, self.open.is_some()) {
            self.fail(error);
        }
        // The caller may have stopped waiting; the pause holds all the same.
        drop(answer.send(paused.map_err(Error::Store)));
        None
    }

    /// One turn: handle, commit, drain.
    fn turn_with(&mut self, batch: Vec<Command>) -> Result<(), StoreError> {
        let asked = !batch.iter().all(|command| matches!(command, Command::Input(Input::Tick)));
        if self.open.is_none() && self.setup.config.offline && !asked {
            // Nobody wants anything: what was paused has let go of its file, and stays so.
            return Ok(());
        }
        self.setup.config.offline &= !batch.iter().any(|command| matches!(command, Command::Input(Input::Resume)));
        let mut batch = batch.into_iter();
        if let Err(error) = self.reopen() {
            refuse_all(batch, &error);
            return Ok(());
        }
        let now = self.clock.now();
        let together = self.setup.durability == Durability::Power;
        let mut answers = Vec::with_capacity(batch.len());
        let mut watches = Vec::new();
        let committed = self.commit_turn(now, together, &mut batch, &mut answers, &mut watches);
        for answer in answers {
            answer(committed.clone());
        }
        if let Err(error) = committed.and_then(|()| self.drain_and_flush(now, together)) {
            refuse_all(batch.chain(watches.into_iter().map(|(id, answer)| Command::Watch(id, answer))), &error);
            return Err(error);
        }
        for (document, answer) in watches {
            self.begin_watch(now, document, answer);
        }
        self.show_whole(now)
    }

    /// Performs what a commit set off; what may leave the device from the platter only is committed there, and follows.
    fn drain_and_flush(&mut self, now: Now, flushed: bool) -> Result<(), StoreError> {
        self.drain();
        if flushed || !self.open.as_ref().is_some_and(|open| open.engine.wants_platter()) {
            return Ok(());
        }
        let mut answers = Vec::new();
        let flushed = self.commit_turn(now, true, &mut Vec::new().into_iter(), &mut answers, &mut Vec::new());
        answers.into_iter().for_each(|answer| answer(flushed.clone()));
        flushed?;
        self.drain();
        Ok(())
    }

    fn commit_turn(
        &mut self,
        now: Now,
        on_platter: bool,
        batch: &mut std::vec::IntoIter<Command>,
        answers: &mut Vec<Answer>,
        watches: &mut Vec<(DocumentId, WatchAnswer)>,
    ) -> Result<(), StoreError> {
        let Some(open) = self.open.as_mut() else {
            return Ok(());
        };
        let tx = open.store.begin(on_platter)?;
        for command in batch {
            match command {
                Command::Run(job) => match job(Ok((&mut open.engine, now, &tx))) {
                    Ok(answer) => answers.push(answer),
                    Err((error, answer)) => {
                        answers.push(answer);
                        return Err(error);
                    }
                },
                Command::Input(input) => open.engine.handle(now, input, &tx)?,
                Command::Watch(document, answer) => watches.push((document, answer)),
                Command::Unwatch(document) => (0..self.watchers.forget_closed(&document))
                    .try_for_each(|_| ignore_missing(open.engine.unwatch(&document, &tx)))?,
                Command::Await(document, milestone, answer) => {
                    match open.engine.await_milestone(&document, milestone, &tx) {
                        Ok(waiter) => drop(self.waiters.insert(waiter, answer)),
                        Err(error) => answers.push(refusal(error, answer)),
                    }
                }
                Command::Until(look, answer) => self.looks.add(look, answer),
                Command::Pause(_) | Command::Close(_) => {}
            }
        }
        open.engine.settle(now, &tx, on_platter)?;
        self.looks.look(&mut open.engine, now, &tx, answers)?;
        tx.commit()
    }

    /// Performs what the engine wants done, now that it is durable.
    fn drain(&mut self) {
        while let Some(effect) = self.open.as_mut().and_then(|open| open.engine.poll_effect()) {
            match effect {
                Effect::Event(event) => self.tell(event),
                #[cfg(feature = "network")]
                Effect::Dial { connection, address } => self.connections.dial(connection, address),
                #[cfg(feature = "network")]
                Effect::Send { connection, bytes } => self.connections.send(connection, bytes),
                #[cfg(feature = "network")]
                Effect::HangUp { connection, code } => self.connections.hang_up(connection, code),
                #[cfg(not(feature = "network"))]
                Effect::Dial { .. } | Effect::Send { .. } | Effect::HangUp { .. } => {}
            }
        }
        self.answer_reached();
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Changed { document, patches, author, origin } => {
                let changed = DocumentEvent::Changed { patches: patches.clone(), author: *author, origin: *origin };
                self.watchers.tell(*document, &changed);
            }
            Event::Rebuilt { document } => self.watchers.note_rebuilt(*document),
            Event::Reached(waiter) => self.reached.push(*waiter),
            _ => {}
        }
        // Nobody may be listening.
        drop(self.outlets.events.send(event));
    }

    fn answer_reached(&mut self) {
        let waiters = &mut self.waiters;
        self.reached.retain(|number| match waiters.remove(number) {
            Some(answer) => {
                // The caller may have stopped waiting.
                drop(answer.send(Ok(())));
                false
            }
            None => true,
        });
    }

    fn begin_watch(&mut self, now: Now, document: DocumentId, answer: WatchAnswer) {
        let Some(open) = self.open.as_mut() else {
            return;
        };
        let watched = (|| {
            let tx = open.store.begin(false)?;
            open.engine.watch(now, &document, &tx)?;
            tx.commit().map_err(Error::Store)
        })();
        // The caller may have stopped waiting; its closed stream is noticed later.
        drop(answer.send(watched.map(|()| self.watchers.add(document))));
    }

    /// Shows the whole document to listeners that begin, and to those that missed something.
    fn show_whole(&mut self, now: Now) -> Result<(), StoreError> {
        for document in self.watchers.to_show() {
            let Some(open) = self.open.as_mut() else {
                return Ok(());
            };
            let tx = open.store.begin(false)?;
            let read = open.engine.read(now, &document, |view| view.to_value(), &tx);
            tx.commit()?;
            let value = match read {
                Ok(Ok(value)) => Some(value),
                Err(Error::Store(error)) => return Err(error),
                _ => None,
            };
            self.watchers.show(document, value.as_ref());
        }
        Ok(())
    }

    /// After the store has failed: forget everything in memory; the next turn loads it again.
    fn fail(&mut self, error: &StoreError) {
        tracing::error!(%error, "the store failed; the engine is loaded again from disk");
        // To open the store writes, which a full disk refuses; and it leaves an open one as it was.
        let store = self.open.take().map(|open| open.store).filter(|_| matches!(error, StoreError::DiskFull));
        #[cfg(feature = "network")]
        self.connections.close_all();
        for (_, answer) in std::mem::take(&mut self.waiters) {
            // The caller may have stopped waiting.
            drop(answer.send(Err(Error::Store(error.clone()))));
        }
        self.reached.clear();
        let loaded = if let Some(store) = store { self.load(store) } else { self.reopen() };
        if let (Some(open), StoreError::DiskFull) = (&mut self.open, error) {
            open.engine.rest(self.clock.now());
        }
        if let Err(error) = loaded {
            self.looks.fail(&error);
            tracing::error!(%error, "the store can not be opened again; each call tries anew");
        }
    }

    fn pause(&mut self) -> Result<(), StoreError> {
        self.setup.config.offline = true;
        self.turn_with(vec![Command::Input(Input::Pause)])?;
        self.open.take().map_or(Ok(()), Open::close)
    }

    fn finish(mut self, answer: Option<oneshot::Sender<Result<(), Error>>>) {
        let ended = self.pause();
        #[cfg(feature = "network")]
        self.connections.close_all();
        if let Some(answer) = answer {
            // The caller may have stopped waiting.
            drop(answer.send(ended.map_err(Error::Store)));
        } else if let Err(error) = ended {
            tracing::error!(%error, "closing the store");
        }
    }
}

enum Ending {
    Pause(oneshot::Sender<Result<(), Error>>),
    Close(oneshot::Sender<Result<(), Error>>),
}

/// A watched document that is gone needs no unwatching.
fn ignore_missing(result: Result<(), Error>) -> Result<(), StoreError> {
    match result {
        Err(Error::Store(error)) => Err(error),
        _ => Ok(()),
    }
}
