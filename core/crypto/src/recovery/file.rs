//! The kit as a file that a passphrase opens.
//!
//! Layout: `"TBK1" | memory KiB u32 | passes u32 | lanes u32 | salt 16 | run(sealed)`; all in front of
//! the run is its associated data. Sealed: `seed 32 | user 32 | addresses`.
//!
//! Invariant: a cost that no version wrote is refused before the passphrase is used.

use tombolo_protocol::bytes::{DecodeError, Reader, put_run};
use tombolo_protocol::ids::UserId;
use zeroize::Zeroizing;

use super::{RecoveryError, RecoveryKit};
use crate::addresses;
use crate::derive::{TAG_BYTES, half, mac};
use crate::device::UserRoot;
use crate::entropy::{Entropy, array};
use crate::kdf::{Cost, CostError};

const MAGIC: [u8; 4] = *b"TBK1";
/// Bytes of what is sealed: seed, user, eight addresses of full length, and the tag.
const SEALED_BYTES_MAX: usize = 32 + 32 + 1 + 8 * 256 + TAG_BYTES;

impl RecoveryKit {
    /// Seals the kit under a passphrase, which is hashed as it is: the same letters must come again.
    ///
    /// # Errors
    /// [`RecoveryError::Kdf`] if there is too little memory for the hash.
    pub fn to_file(&self, passphrase: &str, entropy: &mut dyn Entropy) -> Result<Vec<u8>, RecoveryError> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(SEALED_BYTES_MAX));
        plaintext.extend_from_slice(self.root.seed().as_slice());
        plaintext.extend_from_slice(self.user().as_bytes());
        addresses::write(&self.relays, &mut plaintext);
        // Hedged: a stuck source of randomness must not seal two kits under one key.
        let random: [u8; 16] = array(entropy);
        let salt = half(&mac(self.root.seed().as_slice(), "kit-salt", &[&random, &plaintext]));
        seal(&Cost::current(salt), passphrase, plaintext)
    }

    /// Opens the file of a kit.
    ///
    /// # Errors
    /// [`RecoveryError::Malformed`] if it is cut or no kit, [`RecoveryError::KdfDowngrade`] or
    /// [`RecoveryError::TooCostly`] if its cost was altered, [`RecoveryError::Decrypt`] if the
    /// passphrase is wrong or another bit was altered.
    pub fn from_file(bytes: &[u8], passphrase: &str) -> Result<Self, RecoveryError> {
        let (cost, sealed) = read(bytes)?;
        cost.check()?;
        let key = cost.key(passphrase).ok_or(RecoveryError::Kdf)?;
        let plaintext = key.open(&header(&cost), sealed).map_err(|_| RecoveryError::Decrypt)?;
        let mut reader = Reader::new(&plaintext);
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(reader.array()?);
        let user = UserId::read(&mut reader)?;
        let relays = addresses::read(&mut reader)?;
        reader.finish()?;
        let kit = Self::new(UserRoot::from_seed(&seed), relays)?;
        if kit.user() == user { Ok(kit) } else { Err(RecoveryError::WrongUser) }
    }
}

impl From<CostError> for RecoveryError {
    fn from(error: CostError) -> Self {
        match error {
            CostError::Downgrade { memory_kib, passes } => Self::KdfDowngrade { memory_kib, passes },
            CostError::TooCostly { memory_kib, passes, lanes } => Self::TooCostly { memory_kib, passes, lanes },
        }
    }
}

fn seal(cost: &Cost, passphrase: &str, plaintext: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, RecoveryError> {
    let mut out = header(cost);
    let mut sealed = Vec::with_capacity(plaintext.len() + TAG_BYTES);
    cost.key(passphrase).ok_or(RecoveryError::Kdf)?.seal(&out, plaintext, &mut sealed);
    put_run(&mut out, &sealed);
    Ok(out)
}

fn header(cost: &Cost) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    cost.write(&mut out);
    out
}

fn read(bytes: &[u8]) -> Result<(Cost, &[u8]), DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC {
        return Err(DecodeError::Magic);
    }
    let cost = Cost::read(&mut reader)?;
    let sealed = reader.run("recovery kit", SEALED_BYTES_MAX)?;
    reader.finish()?;
    Ok((cost, sealed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_another_user_than_its_seed_makes_is_refused() {
        let file = |user: &UserId, rest: &[u8]| {
            let plaintext = [&[1; 32], user.as_bytes().as_slice(), rest].concat();
            seal(&Cost::current([0; 16]), "words", Zeroizing::new(plaintext)).unwrap()
        };
        let open = |file: &[u8]| RecoveryKit::from_file(file, "words").map(|kit| kit.user());
        let user = UserRoot::from_seed(&[1; 32]).user();
        assert_eq!(open(&file(&user, &[0])), Ok(user));
        assert_eq!(open(&file(&UserId::from_bytes([2; 32]), &[0])), Err(RecoveryError::WrongUser));
        let trailing = DecodeError::Trailing { bytes: 1 };
        assert_eq!(open(&file(&user, &[0, 0])), Err(RecoveryError::Malformed(trailing)));
    }
}
