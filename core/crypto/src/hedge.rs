//! Randomness for the libraries that draw it themselves, hedged with a secret.
//!
//! Invariant: who can guess what [`Entropy`] gives, but does not hold the secret, can not guess what
//! comes out here; a source that is stuck gives other bytes for another secret.

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::derive::mac;
use crate::entropy::{Entropy, array};

/// Lends [`Entropy`] to a library, each block of it mixed with the secret that is at stake.
pub(crate) struct Hedged<'a> {
    pub(crate) entropy: &'a mut dyn Entropy,
    pub(crate) key: &'a [u8],
    pub(crate) label: &'static str,
}

impl Hedged<'_> {
    fn block(&mut self) -> Zeroizing<[u8; 32]> {
        let random: Zeroizing<[u8; 32]> = Zeroizing::new(array(self.entropy));
        Zeroizing::new(mac(self.key, self.label, &[random.as_slice()]))
    }
}

impl TryRng for Hedged<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            for (to, from) in chunk.iter_mut().zip(self.block().iter()) {
                *to = *from;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Hedged<'_> {}
