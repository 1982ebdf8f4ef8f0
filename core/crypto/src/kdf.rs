//! Argon2id (RFC 9106): what hashing a passphrase costs, as a file says.
//!
//! Layout: `memory KiB u32 | passes u32 | lanes u32 | salt 16`.
//!
//! Invariant: a cost is checked before the passphrase is used, so altering a file never makes guessing
//! cheap; nor can it ask for so much that opening it exhausts the machine.

use argon2::{Algorithm, Argon2, Params, Version};
use tombolo_protocol::bytes::{DecodeError, Reader};
use zeroize::Zeroizing;

use crate::derive::{KeyNonce, SALT_BYTES};

const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Kibibytes a file may ask for: later versions may raise the cost, a phone still opens it.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// Passes a file may ask for, within the same reason.
const PASSES_MAX: u32 = 32;
/// Lanes a file may ask for.
const LANES_MAX: u32 = 16;

/// Why a cost is refused before it is paid.
pub(crate) enum CostError {
    /// Less than any version wrote.
    Downgrade { memory_kib: u32, passes: u32 },
    /// More than a device can be asked to pay, or no lane at all.
    TooCostly { memory_kib: u32, passes: u32, lanes: u32 },
}

/// What hashing a passphrase costs, and its salt.
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
}

impl Cost {
    /// The cost that this version writes.
    pub(crate) fn current(salt: [u8; SALT_BYTES]) -> Self {
        Self { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt }
    }

    /// Appends it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for number in [self.memory_kib, self.passes, self.lanes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.salt);
    }

    /// Reads it, unchecked.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()?, salt: reader.array()? })
    }

    /// Judges it.
    pub(crate) fn check(&self) -> Result<(), CostError> {
        let Self { memory_kib, passes, lanes, .. } = *self;
        if memory_kib < MEMORY_KIB || passes < PASSES {
            return Err(CostError::Downgrade { memory_kib, passes });
        }
        let within = memory_kib <= MEMORY_KIB_MAX && passes <= PASSES_MAX;
        if !within || !(1..=LANES_MAX).contains(&lanes) {
            return Err(CostError::TooCostly { memory_kib, passes, lanes });
        }
        Ok(())
    }

    /// Hashes a passphrase; nothing if the memory for it can not be had.
    pub(crate) fn key(&self, passphrase: &str) -> Option<KeyNonce> {
        let mut bytes = Zeroizing::new([0; 44]);
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(bytes.len())).ok()?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, bytes.as_mut_slice())
            .ok()?;
        Some(KeyNonce::from_bytes(bytes))
    }
}
