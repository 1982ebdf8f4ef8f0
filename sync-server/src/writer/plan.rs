//! All that one transaction does: jobs in, writes out.
//!
//! Invariant: the writes are in an order in which each finds what it builds on; the items of a
//! workspace stand at consecutive positions behind what is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tombolo_protocol::log::Frontier;
use tombolo_protocol::receipt::{LogReset, Signed};

use super::group::Group;
use super::{AppendJob, Job, ResetJob};
use crate::log::{AppendWrite, Row, Write};
use crate::relay::Relay;
use crate::workspace::Workspace;

/// One transaction.
pub(super) struct Plan<'a> {
    relay: &'a Relay,
    groups: BTreeMap<Row, Group>,
    writes: Vec<Write>,
    probes: Vec<SyncSender<bool>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(relay: &'a Relay) -> Self {
        Self { relay, groups: BTreeMap::new(), writes: Vec::new(), probes: Vec::new() }
    }

    pub(super) fn add(&mut self, job: Job) {
        match job {
            Job::Create(workspace) => self.create(&workspace),
            Job::Append(append) => self.append(append),
            Job::Reset(reset) => self.reset(reset),
            Job::Status { workspace, device, nth, bytes } => {
                if !workspace.is_lost() {
                    let row = workspace.row();
                    self.writes.push(Write::Status { row, device, nth, bytes });
                }
            }
            Job::Swept { workspace, swept } => {
                if let Some(group) = self.group(&workspace) {
                    group.sweep(&swept);
                    self.writes.push(Write::Swept(swept));
                }
            }
            Job::Probe(answer) => {
                let time_ms = self.relay.now_ms();
                let filler_bytes = self.relay.failed_bytes();
                self.writes.push(Write::Probe { time_ms, filler_bytes });
                self.probes.push(answer);
            }
        }
    }

    fn create(&mut self, workspace: &Arc<Workspace>) {
        let log = workspace.published().log;
        self.writes.push(Write::Create { row: workspace.row(), workspace: workspace.id(), log });
        // Its group exists from here on, so that it is lost if this commit fails.
        self.groups.insert(workspace.row(), Group::new(workspace));
    }

    fn append(&mut self, append: AppendJob) {
        let (relay, row) = (self.relay, append.workspace.row());
        let whole = match self.group(&append.workspace) {
            Some(group) => group.append(append),
            None => return,
        };
        if !whole && let Some(group) = self.groups.remove(&row) {
            tracing::error!("items are not where the log ends; their workspace is loaded anew");
            group.lose(relay);
        }
    }

    fn group(&mut self, workspace: &Arc<Workspace>) -> Option<&mut Group> {
        if workspace.is_lost() {
            return None;
        }
        let group = self.groups.entry(workspace.row()).or_insert_with(|| Group::new(workspace));
        Some(group)
    }

    /// Signs that a history was lost, and takes another if it is the present one.
    fn reset(&mut self, job: ResetJob) {
        let relay = self.relay;
        let Some(group) = self.group(&job.workspace) else {
            return;
        };
        if let Some(statement) = group.reset_of(&job.receipt.log) {
            group.admit(job.outbox, statement);
            return;
        }
        let kept = if job.receipt.log == group.log() { group.frontier().clone() } else { Frontier::new() };
        if job.receipt.log == group.log() {
            group.begin_history(job.new_log);
        }
        let origin = job.workspace.published().origin(&job.receipt.log);
        let statement = LogReset {
            relay: relay.id(),
            workspace: job.workspace.id(),
            old_log: job.receipt.log,
            new_log: group.log(),
            position: kept.length(),
            head: kept.head(&origin),
            time_ms: relay.now_ms(),
        };
        let signed = Signed::sign(statement, relay.key());
        let write = Write::Reset {
            row: job.workspace.row(),
            old_log: job.receipt.log,
            new_log: group.log(),
            head: group.head(),
            statement: signed.encode(),
        };
        group.admit(job.outbox, signed);
        self.writes.push(write);
    }

    /// Returns all writes; the items are moved into them.
    pub(super) fn writes(&mut self) -> Vec<Write> {
        let mut writes = std::mem::take(&mut self.writes);
        let appends = self.groups.values_mut().filter_map(Group::take_write);
        writes.extend(appends.map(Write::Append));
        writes.extend(self.groups.values().filter_map(Group::ended_write));
        writes
    }

    /// Takes the items back from the writes.
    pub(super) fn take_back(&mut self, writes: Vec<Write>) {
        for write in writes {
            if let Write::Append(AppendWrite { row, items, .. }) = write
                && let Some(group) = self.groups.get_mut(&row)
            {
                group.take_back(items);
            }
        }
    }

    pub(super) fn publish(self) {
        answer(self.probes, true);
        for group in self.groups.into_values() {
            group.publish(self.relay);
        }
    }

    pub(super) fn lose(self) {
        answer(self.probes, false);
        for group in self.groups.into_values() {
            group.lose(self.relay);
        }
    }
}

fn answer(probes: Vec<SyncSender<bool>>, possible: bool) {
    for probe in probes {
        if probe.send(possible).is_err() {
            tracing::debug!("nobody waits for the probe any more");
        }
    }
}
