//! Randomness as an argument: the runtime passes the system's, tests pass a fixed one.
//!
//! Invariant: no other source of random bytes exists in the engine.

/// A source of unpredictable bytes.
pub trait Entropy: Send {
    /// Fills `bytes` with fresh random ones.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Draws `N` bytes.
pub fn array<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
