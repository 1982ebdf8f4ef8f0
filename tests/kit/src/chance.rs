//! Randomness that a seed and a label decide: SHA-256 in counter mode.
//!
//! Invariant: equal seed and label give equal bytes for ever, whatever else was drawn elsewhere.

use std::time::Duration;

use ring::digest::{Context, SHA256};
use tombolo::crypto::Entropy;

/// One stream of chance.
#[derive(Clone, Debug)]
pub struct Chance {
    key: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Chance {
    /// Begins the stream of a seed and a label.
    #[must_use]
    pub fn new(seed: u64, label: &str) -> Self {
        let key = digest(&[&seed.to_be_bytes(), label.as_bytes()]);
        Self { key, counter: 0, block: [0; 32], used: 32 }
    }

    /// Draws a number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes) % bound.max(1)
    }

    /// Tells true once in so many draws.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Draws a duration between two bounds, in whole microseconds.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(span.saturating_add(1)))
    }

    /// Picks an index of a collection.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}

impl Entropy for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.block.len() {
                self.block = digest(&[&self.key, &self.counter.to_be_bytes()]);
                self.counter += 1;
                self.used = 0;
            }
            *byte = self.block.get(self.used).copied().unwrap_or(0);
            self.used += 1;
        }
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_label_decide_the_stream() {
        let draw = |seed, label| {
            let mut chance = Chance::new(seed, label);
            (chance.below(u64::MAX), chance.below(u64::MAX))
        };
        assert_eq!(draw(7, "a"), draw(7, "a"));
        assert_ne!(draw(7, "a"), draw(7, "b"));
        assert_ne!(draw(7, "a"), draw(8, "a"));
    }
}
