//! A relay's word to this device against its word to the others.
//!
//! The status rows of fellow devices say how far they have come in a log, with the newest receipt that the
//! relay gave them. Two heads of one length that differ are a fork. A head at an opening below one that the
//! relay had signed before, or a place that a fellow has reached and this device does not within
//! [`WITHHELD_AFTER`], means that something is kept back.
//!
//! Invariant: only what the relay itself signed ends a session or counts as evidence; a fellow's mere claim
//! is shown and counted, no more.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{DeviceId, LogId, WorkspaceId};
use tombolo_protocol::log::LogOrigin;
use tombolo_protocol::receipt::{Receipt, Signed};

use super::Relay;
use super::reason::SetAsideReason;
use super::status::Reached;
use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::store::{EvidenceKind, RelayEvidence, StoreError, Tx};

/// How long this device may lack what a fellow has: items are sent before the rows that tell of them, but a
/// slow reader is sent them later.
const WITHHELD_AFTER: Duration = Duration::from_secs(30);
/// What a channel knows of its log's heads.
#[derive(Default)]
pub(crate) struct Heads {
    /// How far each fellow has come, as it said last.
    told: BTreeMap<DeviceId, Told>,
    /// The first place that this device lacks, and since when.
    behind: Option<(u64, Duration)>,
    /// Whether the app was told that something is kept back.
    shown: bool,
}

/// A place that a fellow told of.
struct Told {
    place: Reached,
    /// The head that this device had there, as it came by.
    ours: Option<Digest>,
    /// Whether both were compared, or can not be any more.
    judged: bool,
}

impl From<Reached> for Told {
    fn from(place: Reached) -> Self {
        Self { place, ours: None, judged: false }
    }
}

impl Heads {
    /// Has all that fellows told compared once more: the log may not be what it was taken for.
    pub(super) fn judge_anew(&mut self) {
        for told in self.told.values_mut() {
            (told.ours, told.judged) = (None, false);
        }
    }

    /// Forgets what a fellow told, for it was said of other documents.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.told.remove(device);
    }

    /// Tells whether a fellow told of this length.
    pub(super) fn awaits(&self, length: u64) -> bool {
        self.told.values().any(|told| told.place.position == length)
    }

    /// Notes the head that this device has at a length.
    pub(super) fn note_head(&mut self, length: u64, head: Option<Digest>) {
        self.told.values_mut().filter(|told| told.place.position == length).for_each(|told| told.ours = head);
    }

    /// Notes how far this device has come, against what the fellows say.
    fn measure(&mut self, now: Now, length: u64) {
        self.behind.take_if(|(position, _)| length >= *position);
        let farthest = self.told.values().map(|told| told.place.position).max().unwrap_or(0);
        if farthest > length && self.behind.is_none() {
            self.behind = Some((farthest, now.mono));
        }
    }

    /// Returns when it is certain that something is kept back.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.behind.filter(|_| !self.shown).map(|(_, since)| since + WITHHELD_AFTER)
    }
}

impl Engine {
    /// Returns what the relays of a workspace signed against themselves.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`], [`Error::Store`].
    pub fn relay_evidence(&self, workspace: &WorkspaceId, tx: &Tx<'_>) -> Result<Vec<RelayEvidence>, Error> {
        let row = self.workspace_row(workspace).ok_or(Error::NoWorkspace(*workspace))?;
        Ok(tx.evidence(row)?)
    }

    /// Returns the head of a log at a length, if this device knows it.
    pub(super) fn own_head(
        &self,
        at: (i64, i64),
        (log, length): (&LogId, u64),
        tx: &Tx<'_>,
    ) -> Result<Option<Digest>, StoreError> {
        let live = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        if let Some(head) = live.filter(|channel| channel.log == *log).and_then(|channel| channel.head_at(length)) {
            return Ok(Some(head));
        }
        let (key, held) = (self.relays.get(&at.0).and_then(Relay::key), self.workspaces.get(&at.1));
        let (Some(stored), Some(held), Some(key)) = (tx.log(at.0, at.1)?, held, key) else {
            return Ok(None);
        };
        let there = stored.id == *log && stored.frontier.length() == length;
        Ok(there.then(|| stored.frontier.head(&LogOrigin::new(&key, log, &held.id))))
    }

    /// Tells whether a fellow claims a place in a log with another head than this device has had there; then one of
    /// them was given another log, and this one compares.
    pub(super) fn disbelieves(
        &mut self,
        now: Now,
        workspace: i64,
        places: &[Reached],
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let mut differs = Vec::new();
        for place in places {
            if let Some(at) = self.log_at(workspace, place)
                && self.own_head(at, (&place.log, place.position), tx)?.is_some_and(|head| head != place.head)
            {
                differs.push(at);
            }
        }
        differs.iter().for_each(|at| self.plan_comparison(now, *at));
        Ok(!differs.is_empty())
    }

    fn log_at(&self, workspace: i64, place: &Reached) -> Option<(i64, i64)> {
        let same = self.relays.iter().find(|(_, relay)| relay.key() == Some(place.relay));
        same.map(|(row, _)| (*row, workspace))
    }

    /// At an opening: compares the relay's head with all that the fellows told of this log.
    pub(super) fn compare_opening(
        &mut self,
        now: Now,
        at: (i64, i64),
        head: &[u8],
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(ours) = verified(head) else {
            return Ok(());
        };
        self.load_fellows(at.1, tx)?;
        let mut told = BTreeMap::new();
        for (device, places) in self.told_places(at.1, tx)? {
            let here = |place: &Reached| place.relay == ours.relay && place.log == ours.log;
            told.extend(places.into_iter().find(here).map(|place| (device, place.into())));
        }
        let above = |place: &&Reached| {
            let such = |theirs: &Receipt| theirs.position > ours.position && theirs.time_ms <= ours.time_ms;
            place.receipt.as_deref().and_then(|receipt| verified_if(receipt, such)).is_some()
        };
        let hidden = told.values().map(|told: &Told| &told.place).find(above).cloned();
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.heads.told = told;
        }
        if let Some(place) = hidden {
            self.keep_evidence_of(now, at.1, (EvidenceKind::Withheld, &place), Some(head.to_vec()), tx)?;
            self.show_withheld(at);
        }
        self.compare_heads(now, at, tx)
    }

    /// Takes in how far a fellow has come in every log that it follows.
    pub(super) fn compare_places(
        &mut self,
        now: Now,
        workspace: i64,
        device: DeviceId,
        places: Vec<Reached>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        for place in places {
            let Some(at) = self.log_at(workspace, &place) else {
                continue;
            };
            let agrees = self.own_head(at, (&place.log, place.position), tx)? == Some(place.head);
            if agrees {
                tx.agree(at, &device, place.position)?;
            }
            if let Some(forked) = self.contradicts(at, &place, tx)? {
                self.note_fork_between(now, at, &place, forked, tx)?;
                continue;
            }
            let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(workspace));
            if let Some(channel) = channel.filter(|channel| channel.log == place.log) {
                // What agrees is judged: once more of the log has come, the head there would have to be made again.
                channel.heads.told.insert(device, Told { judged: agrees, ..place.into() });
                channel.heads.measure(now, channel.course.length());
            }
        }
        Ok(())
    }

    /// Compares the head at which this device has arrived with what the fellows told.
    pub(super) fn compare_heads(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let length = channel.course.length();
        let Some(head) = channel.head_at(length) else {
            return Ok(());
        };
        self.judge_told(now, at, tx)?;
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.heads.measure(now, length);
        let differs = |place: &&Reached| {
            let such = |theirs: &Receipt| theirs.position == length && theirs.head != head;
            place.receipt.as_deref().and_then(|receipt| verified_if(receipt, such)).is_some()
        };
        let Some(place) = channel.heads.told.values().map(|told| &told.place).find(differs).cloned() else {
            return Ok(());
        };
        let ours = tx.log(at.0, at.1)?.and_then(|log| log.receipt);
        self.note_fork_between(now, at, &place, ours, tx)
    }

    /// Compares what fellows said of places that this device has come to since: notes who was given the same log, and
    /// forgets what was said where it found another head.
    pub(super) fn judge_told(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let length = channel.course.length();
        let due: Vec<DeviceId> = {
            let due = |told: &Told| !told.judged && told.place.position <= length;
            channel.heads.told.iter().filter(|(_, told)| due(told)).map(|(device, _)| *device).collect()
        };
        let mut contradicted = false;
        for device in due {
            let Some(told) = channel.heads.told.get(&device) else {
                continue;
            };
            let (place, ours) = (&told.place, told.ours.or_else(|| channel.head_at(told.place.position)));
            if ours == Some(place.head) {
                tx.agree(at, &device, place.position)?;
            } else if ours.is_some() {
                contradicted = true;
                channel.heads.told.remove(&device);
                tx.forget_status(at.1, &device)?;
            }
            if let Some(told) = channel.heads.told.get_mut(&device) {
                told.judged = true;
            }
        }
        if contradicted {
            self.plan_comparison(now, at);
        }
        Ok(())
    }

    /// Tells of what has been kept back for too long.
    pub(super) fn notice_withheld(&mut self, now: Now) {
        let mut late = Vec::new();
        for (row, relay) in &self.relays {
            let channels = relay.live().into_iter().flat_map(|live| &live.channels);
            let due = channels.filter(|(_, channel)| channel.heads.wake_at().is_some_and(|at| at <= now.mono));
            late.extend(due.map(|(workspace, _)| (*row, *workspace)));
        }
        for at in late {
            self.show_withheld(at);
            self.plan_comparison(now, at);
        }
    }

    fn show_withheld(&mut self, at: (i64, i64)) {
        let workspace = self.workspaces.get(&at.1).map(|held| held.id);
        let Some(relay) = self.relays.get_mut(&at.0) else {
            return;
        };
        let address = relay.address().to_owned();
        let first = relay.channel_mut(at.1).is_some_and(|channel| !std::mem::replace(&mut channel.heads.shown, true));
        if let Some(workspace) = workspace.filter(|_| first) {
            self.counters.count(SetAsideReason::Withheld);
            self.tell(Event::Withheld { address, workspace });
        }
    }

    /// Returns the receipt of this device's own that a fellow's contradicts: inside, it may have none at that
    /// very length.
    fn contradicts(&self, at: (i64, i64), place: &Reached, tx: &Tx<'_>) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        let (Some(receipt), Some(log)) = (place.receipt.as_deref(), tx.log(at.0, at.1)?) else {
            return Ok(None);
        };
        let Some(workspace) = self.workspaces.get(&at.1).filter(|_| log.id == place.log) else {
            return Ok(None);
        };
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let lived = channel.filter(|channel| channel.log == place.log);
        let origin = LogOrigin::new(&place.relay, &place.log, &workspace.id);
        let differs = |theirs: &Receipt| {
            let stored = || (log.frontier.length() == theirs.position).then(|| log.frontier.head(&origin));
            let signed = || {
                let same = |ours: &Receipt| ours.position == theirs.position;
                log.receipt.as_deref().and_then(|ours| verified_if(ours, same)).map(|ours| ours.head)
            };
            let ours = lived.and_then(|channel| channel.head_at(theirs.position)).or_else(stored).or_else(signed);
            ours.is_some_and(|ours| ours != theirs.head)
        };
        Ok(verified_if(receipt, differs).map(|_| log.receipt))
    }

    /// Two heads of one length: keeps both words; the first time, nothing of that log is believed any more.
    fn note_fork_between(
        &mut self,
        now: Now,
        at: (i64, i64),
        place: &Reached,
        ours: Option<Vec<u8>>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let known = |log: &LogId| -> Result<bool, StoreError> {
            Ok(tx.evidence(at.1)?.iter().any(|found| found.kind == EvidenceKind::Fork && found.log == *log))
        };
        let known = known(&place.log)?;
        self.counters.count(SetAsideReason::RelayFork);
        self.keep_evidence_of(now, at.1, (EvidenceKind::Fork, place), ours, tx)?;
        let workspace = self.workspaces.get(&at.1).map(|held| held.id);
        let (Some(workspace), Some(relay), false) = (workspace, self.relays.get(&at.0), known) else {
            return Ok(());
        };
        let (address, connection, live) = (relay.address().to_owned(), relay.connection(), relay.live().is_some());
        tx.forget_log(at.0, at.1)?;
        self.tell(Event::RelayFork { address, workspace });
        if live {
            self.hang_up(now, connection, CloseCode::Misbehaved);
        }
        Ok(())
    }

    fn keep_evidence_of(
        &mut self,
        now: Now,
        workspace: i64,
        (kind, place): (EvidenceKind, &Reached),
        ours: Option<Vec<u8>>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(theirs) = place.receipt.clone() else {
            return Ok(());
        };
        let position = verified(&theirs).map_or(place.position, |receipt| receipt.position);
        let (relay, log) = (place.relay, place.log);
        let evidence = RelayEvidence { relay, log, position, kind, ours, theirs, since_ms: now.wall_ms };
        tx.insert_evidence(workspace, &evidence)
    }
}

/// Reads a receipt whose signature holds.
fn verified(bytes: &[u8]) -> Option<Receipt> {
    verified_if(bytes, |_| true)
}

/// Reads a receipt that says such a thing and whose signature holds: most say nothing new, and a signature is
/// worth many comparisons.
fn verified_if(bytes: &[u8], such: impl FnOnce(&Receipt) -> bool) -> Option<Receipt> {
    let receipt = Signed::<Receipt>::decode(bytes).ok()?;
    if such(receipt.claim()) { receipt.verify().ok().cloned() } else { None }
}
