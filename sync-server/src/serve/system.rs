//! The clocks and the randomness of the machine.

use std::time::SystemTime;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::relay::{NoEntropy, Surroundings};

/// The system's clocks and randomness.
pub(super) struct System {
    random: SystemRandom,
    started: std::time::Instant,
}

impl System {
    pub(super) fn new() -> Self {
        Self { random: SystemRandom::new(), started: std::time::Instant::now() }
    }
}

impl Surroundings for System {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn steady_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        self.random.fill(bytes).map_err(|_| NoEntropy)
    }
}
