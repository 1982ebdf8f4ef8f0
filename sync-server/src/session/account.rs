//! What a session hands to the access log.
//!
//! Invariant: nothing waits for it; what a device can repeat at will is noted a bounded number of times in
//! one session.

use std::collections::BTreeMap;

use tombolo_protocol::auth::Binding;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{RefusalReason, StepUpMethod, SteppedUp};
use tombolo_protocol::ids::{DeviceId, UserId, WorkspaceTag};
use tombolo_protocol::item::ItemHash;

use super::Session;
use crate::access::{AccessEvent, Denial, record_name};
use crate::fanout::{Closing, SessionId};
use crate::workspace::{Judge, Refusal, Verdicts, Workspace};

/// Denials, refusals and invites that one session has noted: the first of a kind matter, not the ten
/// thousandth, and nobody may push others out of the log.
pub const NOTES_MAX: u32 = 256;

/// What a session remembers of its own account.
#[derive(Default)]
pub(super) struct Account {
    repeated: u32,
    closed_by: Option<CloseCode>,
}

impl Session {
    fn note(&self, of: impl FnOnce(SessionId, DeviceId) -> AccessEvent) {
        if let (Some(log), Ok(device)) = (self.relay.access(), self.device()) {
            log.note(self.relay.now_ms(), of(self.outbox.id(), device));
        }
    }

    /// The same for what a device can repeat at will.
    fn note_some(&mut self, of: impl FnOnce(SessionId, DeviceId) -> AccessEvent) {
        if self.account.repeated < NOTES_MAX {
            self.account.repeated += 1;
            self.note(of);
        }
    }

    /// Notes why the relay ends the session.
    pub fn note_closing(&mut self, closing: Closing) {
        self.account.closed_by = Some(closing.code);
    }

    pub(super) fn note_came(&self) {
        let (guest, bound) = (!self.is_admitted(), self.peer.binding != Binding::None);
        self.note(|session, device| AccessEvent::Came { session, device, guest, bound });
    }

    pub(super) fn note_left(&self) {
        let code = self.account.closed_by;
        self.note(|session, device| AccessEvent::Left { session, device, code });
    }

    pub(super) fn note_opened(&self, workspace: &Workspace) {
        let judge = self.relay.access().and_then(|_| workspace.judge(self.relay.log()).ok());
        let level = self.caller().ok().zip(judge).map_or(0, |(caller, judge)| judge.level(&caller));
        let workspace = workspace.id();
        self.note(|session, device| AccessEvent::Opened { session, device, workspace, level });
    }

    pub(super) fn note_denied(&mut self, workspace: WorkspaceTag, why: Denial) {
        self.note_some(|session, device| AccessEvent::Denied { session, device, workspace, why });
    }

    pub(super) fn note_entry(&mut self, workspace: WorkspaceTag, taken: bool) {
        self.note_some(|session, device| AccessEvent::Entered { session, device, workspace, taken });
    }

    pub(super) fn note_shut(&self, workspace: &Workspace, why: tombolo_protocol::frame::RightEnded) {
        let workspace = workspace.id();
        self.note(|session, device| AccessEvent::Shut { session, device, workspace, why });
    }

    pub(super) fn note_step_up(
        &mut self,
        method: StepUpMethod,
        user: Option<UserId>,
        enrolled: bool,
        outcome: &SteppedUp,
    ) {
        let SteppedUp { level, refused, .. } = *outcome;
        let event =
            |session, device| AccessEvent::SteppedUp { session, device, user, method, enrolled, level, refused };
        if refused.is_none() { self.note(event) } else { self.note_some(event) }
    }

    /// Notes the membership records that were taken.
    pub(super) fn note_records(&self, workspace: &Workspace, judge: &Judge, verdicts: &Verdicts) {
        let (Some(_), Ok(caller)) = (self.relay.access(), self.caller()) else {
            return;
        };
        let (workspace, level) = (workspace.id(), judge.level(&caller));
        for item in &verdicts.items {
            let ItemHash::Record(id) = item.hash else {
                continue;
            };
            let Some(record) = judge.membership().record(&id) else {
                continue;
            };
            let (kind, author) = (record_name(record.body()), record.author());
            self.note(|session, device| AccessEvent::Recorded {
                session,
                device,
                workspace,
                record: id,
                kind,
                author,
                level,
            });
        }
    }

    /// Notes what was not taken of one append.
    pub(super) fn note_refused(&mut self, workspace: &Workspace, refusals: &[Refusal]) {
        let workspace = workspace.id();
        let mut counts = BTreeMap::<RefusalReason, u64>::new();
        for refusal in refusals {
            *counts.entry(refusal.reason).or_default() += 1;
        }
        for (reason, items) in counts {
            self.note_some(|session, device| AccessEvent::Refused { session, device, workspace, reason, items });
        }
    }
}
