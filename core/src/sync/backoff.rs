//! How long to wait before a relay is dialled again: full jitter, by what the close code says.
//!
//! Invariant: the n-th wait is drawn from zero to `min(WAIT_MAX, WAIT_BASE · 2ⁿ)`, so a thousand
//! devices that lose a relay together do not come back together (Brooker, "Exponential backoff and
//! jitter", 2015); a session that stood for a while starts the count anew.

use std::time::Duration;

use tombolo_protocol::close::{CloseCode, Retry};

use crate::engine::OfflineReason;

/// Upper bound of the first wait.
const WAIT_BASE: Duration = Duration::from_millis(250);
/// Upper bound of every wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A session that stood this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

/// The waits between the attempts to reach one relay.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    reason: Option<OfflineReason>,
}

impl Backoff {
    /// Notes how long a session stood.
    pub(crate) fn note_session(&mut self, stood: Duration) {
        if stood >= STABLE {
            self.failures = 0;
        }
    }

    /// Draws the next wait; `None` if there should be no next attempt.
    pub(crate) fn next(
        &mut self,
        reason: Option<OfflineReason>,
        jitter: u64,
        at_least: Option<Duration>,
    ) -> Option<Duration> {
        self.reason = reason;
        let code = match reason {
            Some(OfflineReason::Ended(code)) => Some(code),
            _ => None,
        };
        // What was malformed or misbehaved once may be honest the next time; the wait grows meanwhile.
        let transient = matches!(code, Some(CloseCode::Misbehaved | CloseCode::Malformed));
        if code.is_some_and(|code| code.retry() == Retry::Never) && !transient {
            return None;
        }
        let bound = WAIT_BASE.saturating_mul(1 << self.failures.min(16)).min(WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        let drawn = Duration::from_millis(jitter % (bound_ms + 1));
        Some(drawn + at_least.unwrap_or(Duration::ZERO))
    }

    pub(crate) fn reason(&self) -> Option<OfflineReason> {
        self.reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_a_good_session_forgets_them() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(None, 250, None), Some(Duration::from_millis(250)));
        for _ in 0..20 {
            backoff.next(None, 0, None);
        }
        assert_eq!(backoff.next(None, 60_000, None), Some(WAIT_MAX));
        backoff.note_session(STABLE);
        assert_eq!(backoff.next(None, 250, None), Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_relay_that_will_never_take_us_is_left_alone() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(Some(CloseCode::NotAdmitted.into()), 1, None), None);
        assert!(backoff.next(Some(CloseCode::Misbehaved.into()), 1, None).is_some());
        assert!(backoff.next(Some(CloseCode::Malformed.into()), 1, None).is_some(), "one damaged frame is no verdict");
    }
}
