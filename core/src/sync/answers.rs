//! Answers that a relay owes: how long a session waits for one, and that it ends if none comes.
//!
//! A relay answers whatever it is asked: an opening, a fetch, an append. One that keeps an answer back, for a lie or a
//! fault, would leave a session that lives on waiting for good, and all that stands behind it owed. Such a session is
//! left, and the next one asks for everything again, which costs nothing but the asking: appends are idempotent.
//!
//! Items are no answer, for others write at any time: they only give the time that a slow line takes for them.
//!
//! Invariant: no answer is awaited longer than twice [`WITHIN_MAX`]; a relay that never answers is asked at doubling
//! distances.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Frame;
use tombolo_protocol::ids::WorkspaceTag;

use super::channel::{Channel, Phase};
use super::{Relay, Session};
use crate::engine::{Engine, Now};

/// How long a relay may take at first: it judges and writes within milliseconds, and has half a minute for a storm.
const WITHIN: Duration = Duration::from_secs(60);
/// How long at most: so soon, after it was mended, is a relay asked again that had not answered for days. What passes
/// gives at most as much again: whatever came in is kept, and the next session goes on behind it.
const WITHIN_MAX: Duration = Duration::from_secs(15 * 60);
/// How often the first time may double on the way to the last.
const DOUBLINGS_MAX: u32 = 4;
/// What a slow line carries in a second, half of 64 kbit/s: answers come behind whatever else passes.
const SLOW_BYTES_PER_SECOND: u64 = 4 << 10;

/// What one session waits for.
#[derive(Default)]
pub(crate) struct Answers {
    /// Bytes that it has carried, in both directions; and that it had by the end of the last turn.
    carried: u64,
    carried_before: u64,
    /// The channels that an answer is owed to: since when, and what had been carried before that turn.
    owed: BTreeMap<i64, (Duration, u64)>,
}

impl Answers {
    /// Counts the bytes of a frame that came or goes.
    pub(super) fn carry(&mut self, bytes: usize) {
        self.carried += bytes as u64;
    }

    /// Notes at the end of a turn whether a channel is owed an answer.
    fn note(&mut self, now: Now, workspace: i64, owed: bool) {
        if owed {
            self.owed.entry(workspace).or_insert((now.mono, self.carried_before));
        } else {
            self.owed.remove(&workspace);
        }
    }

    /// Returns when the wait is over, for whoever waited in vain so many times before.
    fn due(&self, unanswered: u32) -> Option<Duration> {
        let within = WITHIN.saturating_mul(1 << unanswered.min(DOUBLINGS_MAX)).min(WITHIN_MAX);
        let line = |before: u64| Duration::from_secs((self.carried - before) / SLOW_BYTES_PER_SECOND).min(WITHIN_MAX);
        self.owed.values().map(|(since, before)| *since + within + line(*before)).min()
    }
}

impl Channel {
    /// Tells whether the relay was asked something that it has not answered.
    fn is_owed_answer(&self) -> bool {
        let is_opening = !matches!(self.phase, Phase::Wanted | Phase::Level | Phase::Dormant);
        let awaits = !self.in_flight.is_empty() || !self.fetching.is_empty();
        is_opening || awaits || self.mending.lacking.awaits_list()
    }
}

impl Relay {
    /// Returns when the session is left, if nothing is answered before.
    pub(super) fn answer_due(&self) -> Option<Duration> {
        self.live()?.answers.due(self.unanswered)
    }
}

impl Engine {
    /// Takes note of a frame that came: after an answer the wait for the next one begins anew.
    pub(super) fn note_answer(&mut self, relay: i64, frame: &Frame, bytes: usize) {
        let by_tag = |tag: WorkspaceTag| self.workspaces.values().find(|held| held.tag == tag).map(|held| held.row);
        let opened = match frame {
            Frame::Opened(opened) => by_tag(opened.workspace),
            Frame::NotFound(absent) => by_tag(absent.workspace),
            Frame::Ground(ground) => by_tag(ground.workspace),
            _ => None,
        };
        let Some(live) = self.relays.get_mut(&relay).and_then(Relay::live_mut) else {
            return;
        };
        live.answers.carry(bytes);
        let answered = match frame {
            Frame::Head(head) => live.workspace_of(head.channel),
            Frame::Received(received) => live.workspace_of(received.channel),
            Frame::Summary(summary) => live.workspace_of(summary.channel),
            Frame::Fetched(fetched) => live.workspace_of(fetched.channel),
            Frame::Pruned(pruned) => live.workspace_of(pruned.channel),
            _ => opened,
        };
        if let Some(workspace) = answered {
            live.answers.owed.remove(&workspace);
        }
    }

    /// Notes at the end of a turn what the relays owe; one that owes nothing has answered everything.
    pub(crate) fn await_answers(&mut self, now: Now) {
        for relay in self.relays.values_mut() {
            let Session::Live(live) = &mut relay.session else {
                continue;
            };
            let mut is_even = true;
            for (workspace, channel) in &live.channels {
                let owed = channel.is_owed_answer();
                live.answers.note(now, *workspace, owed);
                // What is still to be sent will be owed an answer.
                is_even &= !owed && !channel.wants_flush();
            }
            live.answers.carried_before = live.answers.carried;
            if is_even {
                relay.unanswered = 0;
            }
        }
    }

    /// Leaves the sessions whose relays have not answered.
    pub(super) fn leave_unanswered(&mut self, now: Now) {
        let mut silent = Vec::new();
        for relay in self.relays.values_mut() {
            if relay.answer_due().is_some_and(|due| due <= now.mono) {
                relay.unanswered = relay.unanswered.saturating_add(1);
                silent.push(relay.connection());
            }
        }
        for connection in silent {
            self.hang_up(now, connection, CloseCode::Silent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall_ms: 0 }
    }

    #[test]
    fn what_passes_meanwhile_gives_an_answer_the_time_of_a_slow_line() {
        let mut answers = Answers::default();
        answers.carry(1 << 20);
        answers.carried_before = answers.carried;
        assert_eq!(answers.due(0), None);
        // What is asked in this turn has to go over the line too.
        answers.carry(40 << 10);
        answers.note(at(100), 1, true);
        assert_eq!(answers.due(0), Some(Duration::from_secs(100 + 60 + 10)));
        answers.carry(256 << 10);
        answers.note(at(130), 1, true);
        assert_eq!(answers.due(0), Some(Duration::from_secs(100 + 60 + 74)));
        answers.carry(1 << 30);
        assert_eq!(answers.due(0), Some(Duration::from_secs(100 + 60 + 900)));
        answers.note(at(140), 1, false);
        assert_eq!(answers.due(0), None);
    }

    #[test]
    fn who_was_not_answered_waits_twice_as_long_and_at_most_a_quarter_of_an_hour() {
        let mut answers = Answers::default();
        answers.note(at(0), 1, true);
        let waits = [0, 1, 2, 3, 4, u32::MAX].map(|unanswered| answers.due(unanswered).unwrap().as_secs());
        assert_eq!(waits, [60, 120, 240, 480, 900, 900]);
    }
}
