//! How long to wait before a relay is dialled again: full jitter, by what the close code says.
//!
//! Invariant: the n-th wait is drawn from zero to `min(WAIT_MAX, WAIT_BASE · 2ⁿ)`, so a thousand
//! devices that lose a relay together do not come back together (Brooker, "Exponential backoff and
//! jitter", 2015); a session that stood for a while starts the count anew. A relay that turned the
//! device away is asked again now and then, for ever: somebody else may have taken it back.

use std::time::Duration;

use tombolo_protocol::close::{CloseCode, Retry};

use crate::engine::OfflineReason;

/// Upper bound of the first wait.
const WAIT_BASE: Duration = Duration::from_millis(250);
/// Upper bound of every wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Lower and upper bound of the wait after a verdict that stands until a person has changed something.
const RARELY: [Duration; 2] = [Duration::from_secs(10 * 60), Duration::from_secs(20 * 60)];
/// A session that stood this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    /// Why, if that is known.
    pub(crate) reason: Option<OfflineReason>,
    /// Whether the relay had proven its key: before that, anybody on the way could have said it.
    pub(crate) proven: bool,
    /// The wait that was asked for.
    pub(crate) at_least: Option<Duration>,
    /// Whether an invite names this relay whose join is under way: who is not admitted now may be then.
    pub(crate) joins: bool,
}

/// The waits between the attempts to reach one relay.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last: Ended,
}

impl Backoff {
    /// Notes how long a session stood.
    pub(crate) fn note_session(&mut self, stood: Duration) {
        if stood >= STABLE {
            self.failures = 0;
        }
    }

    /// Draws the next wait. What was said before the relay proved its key is hearsay: it makes nobody wait longer
    /// than [`WAIT_MAX`].
    pub(crate) fn next(&mut self, ended: Ended, jitter: u64) -> Duration {
        self.last = ended;
        let code = match ended.reason {
            Some(OfflineReason::Ended(code)) => Some(code),
            _ => None,
        };
        // What was malformed or misbehaved once may be honest the next time; the wait grows meanwhile.
        let transient = matches!(code, Some(CloseCode::Misbehaved | CloseCode::Malformed))
            || (ended.joins && code == Some(CloseCode::NotAdmitted));
        let verdict = ended.proven && !transient && code.is_some_and(|code| code.retry() == Retry::Rarely);
        let grown = WAIT_BASE.saturating_mul(1 << self.failures.min(16)).min(WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        let [least, most] = if verdict { RARELY } else { [Duration::ZERO, grown] };
        let range_ms = u64::try_from((most - least).as_millis()).unwrap_or(u64::MAX - 1);
        let wait = least + Duration::from_millis(jitter % (range_ms + 1)) + ended.at_least.unwrap_or(Duration::ZERO);
        if ended.proven { wait } else { wait.min(WAIT_MAX) }
    }

    /// Returns how the last attempt ended.
    pub(crate) fn last(&self) -> Ended {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Ended = Ended { reason: None, proven: false, at_least: None, joins: false };

    fn said(code: CloseCode, proven: bool) -> Ended {
        Ended { reason: Some(code.into()), proven, at_least: None, joins: false }
    }

    #[test]
    fn waits_grow_to_a_minute_and_a_good_session_forgets_them() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(LOST, 250), Duration::from_millis(250));
        for _ in 0..20 {
            backoff.next(LOST, 0);
        }
        assert_eq!(backoff.next(LOST, 60_000), WAIT_MAX);
        backoff.note_session(STABLE);
        assert_eq!(backoff.next(LOST, 250), Duration::from_millis(250));
    }

    #[test]
    fn a_relay_that_turned_us_away_is_asked_now_and_then() {
        let mut backoff = Backoff::default();
        let [least, most] = RARELY;
        for code in [CloseCode::NotAdmitted, CloseCode::DeviceRevoked, CloseCode::UnsupportedVersion] {
            assert_eq!(backoff.next(said(code, true), 0), least, "{code:?}");
            assert!((least..=most).contains(&backoff.next(said(code, true), u64::MAX)), "{code:?}");
        }
        let mut backoff = Backoff::default();
        let joining = Ended { joins: true, ..said(CloseCode::NotAdmitted, true) };
        assert!(backoff.next(joining, u64::MAX) <= WAIT_MAX, "the invite may be on its way");
        assert!(backoff.next(said(CloseCode::Misbehaved, true), u64::MAX) <= WAIT_MAX);
        assert!(
            backoff.next(said(CloseCode::Malformed, true), u64::MAX) <= WAIT_MAX,
            "one damaged frame is no verdict"
        );
    }

    #[test]
    fn what_is_said_before_the_relay_proved_its_key_is_hearsay() {
        let mut backoff = Backoff::default();
        for code in [CloseCode::NotAdmitted, CloseCode::UnsupportedVersion] {
            assert!(backoff.next(said(code, false), u64::MAX) <= WAIT_MAX, "{code:?}");
        }
        let years = Some(Duration::from_secs(1 << 30));
        let asked = Ended { at_least: years, ..said(CloseCode::Overloaded, false) };
        assert_eq!(backoff.next(asked, 1), WAIT_MAX);
        assert!(!backoff.last().proven);
    }
}
