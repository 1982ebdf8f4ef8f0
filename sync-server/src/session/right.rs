//! The end of a device's right while its session lives: by a record, or by the clock.
//!
//! Invariant: once a right has ended, nothing of the workspace is sent or taken any more; a device that
//! is a member nowhere else here loses the session as well.

use std::sync::Arc;

use tombolo_protocol::auth::Binding;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{LevelGap, MfaRequired, NotFoundReason, RightEnded, Shut};
use tombolo_protocol::ids::WorkspaceTag;

use super::Session;
use super::catch_up::Channel;
use crate::access::Denial;
use crate::fanout::Closing;
use crate::log::Row;
use crate::workspace::{Caller, NoRight, Workspace};

impl Session {
    /// Returns what a workspace judges of this session.
    pub(super) fn caller(&self) -> Result<Caller<'_>, Closing> {
        let proven = self.proven()?;
        Ok(Caller {
            device: proven.device,
            factor: proven.factor.level(self.relay.steady_ms()),
            minimum: self.relay.minimum(),
            relay: self.relay.id(),
            key: self.relay.key(),
            now_ms: self.relay.now_ms(),
        })
    }

    /// Looks a channel up; `None` if it was taken from the session, and its device may not know yet.
    pub(super) fn open_channel(&self, row: Row) -> Result<Option<&Channel>, Closing> {
        match self.channels.get(&row) {
            Some(channel) => Ok(Some(channel)),
            None if self.ended.contains(&row) => Ok(None),
            None => Err(CloseCode::Malformed.into()),
        }
    }

    /// Tells a device that may not have the workspace open; returns whether it may.
    pub(super) fn admit(&mut self, workspace: &Workspace) -> Result<bool, Closing> {
        let caller = self.caller()?;
        let judge = workspace.judge(self.relay.log())?;
        let right = judge.right(&caller.device, caller.now_ms);
        let level = judge.may_open(&caller);
        let unbound = judge.needs_binding() && self.peer.binding == Binding::None;
        drop(judge);
        let tag = workspace.id().tag();
        match (right, level) {
            (Err(no), _) => self.deny(tag, no),
            (Ok(_), _) if unbound => self.not_found_because(tag, NotFoundReason::NeedsBinding),
            (Ok(_), Err(levels)) => self.want_factor(tag, levels),
            (Ok(_), Ok(())) => return Ok(true),
        }
        Ok(false)
    }

    /// Tells a device that it has to show more first.
    pub(super) fn want_factor(&mut self, workspace: WorkspaceTag, levels: LevelGap) {
        self.note_denied(workspace, Denial::Level { needed: levels.needed });
        self.send(MfaRequired { workspace, levels });
    }

    /// Tells whether the session's device still has its right, after what was read of the log; if not,
    /// the channel ends.
    pub(super) fn holds(&mut self, row: Row) -> Result<bool, Closing> {
        let device = self.device()?;
        let Some(workspace) = self.channels.get(&row).map(|channel| Arc::clone(&channel.workspace)) else {
            return Ok(false);
        };
        let right = workspace.judge(self.relay.log())?.right(&device, self.relay.now_ms());
        match right {
            Ok(_) => Ok(true),
            Err(no) => {
                self.end(row, no.ended().unwrap_or(RightEnded::Removed))?;
                Ok(false)
            }
        }
    }

    /// Takes a workspace from the session.
    pub(super) fn end(&mut self, row: Row, why: RightEnded) -> Result<(), Closing> {
        let device = self.device()?;
        let Some(mut channel) = self.channels.remove(&row) else {
            return Ok(());
        };
        self.leave(&mut channel);
        self.ended.insert(row);
        self.send(Shut { channel: row, ended: Some(why) });
        self.note_shut(&channel.workspace, why);
        tracing::debug!(device = %device.short(), ?why, "a right ended");
        if self.channels.is_empty() && !self.relay.log().knows_elsewhere(&device, row)? {
            return Err(CloseCode::DeviceRevoked.into());
        }
        Ok(())
    }

    /// Returns how long until a right of this session ends by the clock.
    #[must_use]
    pub fn right_ends_in_ms(&self) -> Option<u64> {
        let first = self.channels.values().filter_map(|channel| channel.right_until).min()?;
        // It ends once its last millisecond is over.
        Some(u64::try_from(first.saturating_sub(self.relay.now_ms()).saturating_add(1)).unwrap_or(0))
    }

    /// Ends what has come to its end by the clock.
    ///
    /// # Errors
    /// [`Closing`] if the session must end.
    pub fn review_due(&mut self) -> Result<(), Closing> {
        while self.right_ends_in_ms() == Some(0) {
            let first = self.channels.iter().filter(|(_, channel)| channel.right_until.is_some());
            let first = first.min_by_key(|(_, channel)| channel.right_until).map(|(row, _)| *row);
            let Some(row) = first else {
                return Ok(());
            };
            self.review(row)?;
        }
        Ok(())
    }

    /// Looks anew when the right to one workspace ends.
    pub(super) fn review(&mut self, row: Row) -> Result<(), Closing> {
        if !self.holds(row)? {
            return Ok(());
        }
        let device = self.device()?;
        if let Some(channel) = self.channels.get_mut(&row) {
            channel.right_until = channel.workspace.judge(self.relay.log())?.right_until(&device);
        }
        Ok(())
    }
}

impl From<NoRight> for Option<RightEnded> {
    fn from(no: NoRight) -> Self {
        no.ended()
    }
}
