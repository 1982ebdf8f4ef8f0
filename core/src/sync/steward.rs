//! What some device has to do for all: begin an epoch that nobody who left knows, give keys to members who lack
//! them, take away roles that ended.
//!
//! Each device waits a random while, so that mostly one does it and the others see that it is done.
//!
//! Invariant: nothing is stated that is not needed by the records that are here.

use std::time::Duration;

use tombolo_protocol::record::{RecordBody, Role, Standing};

use super::channel::Phase;
use super::draw;
use crate::engine::{Engine, Event, Now};
use crate::store::{StoreError, Tx};
use crate::workspace::Workspace;

/// How soon a member who lacks the keys may be given them.
const CHORES_MIN: Duration = Duration::from_millis(200);
/// How late: long enough that of some dozen devices one comes first.
const CHORES_MAX: Duration = Duration::from_secs(4);

impl Engine {
    /// Plans to look after the members of a workspace, as its records have changed.
    pub(crate) fn plan_chores(&mut self, now: Now, at: (i64, i64)) {
        let wait = draw(self.entropy.as_mut(), CHORES_MIN, CHORES_MAX);
        #[cfg(feature = "planted-bugs")]
        let wait = wait + outside();
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.chores_at.get_or_insert(now.mono + wait);
        }
    }

    /// Plans to look whether roles have ended, where there are any that end.
    pub(super) fn plan_chores_for_expiries(&mut self, now: Now, at: (i64, i64)) {
        if self.workspaces.get(&at.1).is_some_and(|workspace| workspace.has_expiries) {
            self.plan_chores(now, at);
        }
    }

    /// Plans to begin an epoch where there is none, and to give keys to who lacks them, as an earlier session may
    /// have ended before.
    pub(super) fn plan_care(&mut self, now: Now, at: (i64, i64)) {
        if self.needs_new_keys(at.1) || self.workspaces.get(&at.1).is_some_and(|held| !held.without_keys().is_empty()) {
            self.plan_chores(now, at);
        }
    }

    /// Plans to give keys to those to whom a record of this device has given a role.
    pub(crate) fn plan_giving(&mut self, now: Now, row: i64, stated: &RecordBody) {
        let reads = |standing: &Standing| standing.role.is_some_and(Role::may_read);
        if matches!(stated, RecordBody::Standing(standing) if reads(standing)) {
            for relay in self.relays.keys().copied().collect::<Vec<_>>() {
                self.plan_chores(now, (relay, row));
            }
        }
    }

    fn needs_new_keys(&self, row: i64) -> bool {
        let needs = |held: &Workspace| held.view.needs_healing() || held.is_known_to_former_organisation();
        self.workspaces.get(&row).is_some_and(needs)
    }

    /// Does what is due for the members of workspaces that have been caught up with.
    pub(super) fn look_after_members(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        let mut due = Vec::new();
        for relay in self.relays.values_mut() {
            let Some(live) = relay.live_mut() else {
                continue;
            };
            for (workspace, channel) in &mut live.channels {
                if channel.phase == Phase::Level && channel.chores_at.is_some_and(|at| at <= now.mono) {
                    channel.chores_at = None;
                    #[cfg(feature = "planted-bugs")]
                    {
                        channel.chores_at = for_ever(now);
                    }
                    due.push(*workspace);
                }
            }
        }
        for workspace in due {
            #[cfg(feature = "planted-bugs")]
            if tombolo_protocol::planted::Bug::NotesPileUp.is_planted() {
                tx.set_meta(&format!("note {}", now.mono.as_millis()), &[0; 8192], self.entropy.as_mut())?;
            }
            self.sweep_expired(now, workspace, tx)?;
            if self.needs_new_keys(workspace) {
                self.heal_heads(now, workspace, tx)?;
            }
            self.rewrap(now, workspace, tx)?;
        }
        Ok(())
    }

    /// Notices what a change of members means for this device, and for the entries that it holds.
    pub(crate) fn membership_changed(&mut self, row: i64) {
        let Some(workspace) = self.workspaces.get_mut(&row) else {
            return;
        };
        self.again.rejudged.insert(row);
        workspace.note_expiries();
        let role = workspace.role(&self.device);
        if workspace.known_role != role {
            let kept = workspace.keeps_own_aside();
            workspace.known_role = role;
            if workspace.keeps_own_aside() != kept {
                self.again.rights.extend(workspace.unsealed.iter().map(|(document, _)| *document));
            }
            let id = workspace.id;
            self.tell(Event::RoleChanged { workspace: id, role });
        }
        self.tell_policy(row);
        self.retry_refused(row);
    }

    /// Tells the app of members that are others than when entries were counted last.
    pub(crate) fn tell_members(&mut self, row: i64) {
        let changed = |held: &&Workspace| !held.view.has_members_of(&held.counted);
        if let Some(workspace) = self.workspaces.get(&row).filter(changed).map(|held| held.id) {
            self.tell(Event::MembersChanged { workspace });
        }
    }
}

/// When members are looked after again by a bug that never ends.
#[cfg(feature = "planted-bugs")]
fn for_ever(now: Now) -> Option<Duration> {
    use tombolo_protocol::planted::Bug;
    let every = [(Bug::NotesPileUp, 300), (Bug::ChoresForEver, 1)];
    let (_, seconds) = every.into_iter().find(|(bug, _)| bug.is_planted())?;
    Some(now.mono + Duration::from_secs(seconds))
}

/// What a bug adds to a wait that no seed decides.
#[cfg(feature = "planted-bugs")]
fn outside() -> Duration {
    use tombolo_protocol::planted::Bug;
    Duration::from_millis(if Bug::OutsideChance.is_planted() { Bug::outside() % 1000 } else { 0 })
}
