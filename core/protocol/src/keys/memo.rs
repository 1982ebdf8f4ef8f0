//! Signatures that were found good before, or were made here: for simulations, where one process is every device and
//! every relay, and each of them verifies the same bytes again. And keys that were read before.
//!
//! In builds with the feature `verify-memo` alone, and idle there until [`switch_on`]. No product enables it.
//!
//! Invariant: to verify is a pure function of key, context, message and signature; what is remembered is the hash of
//! all four, and only of those that were good. To read a key is one of its bytes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{KeyError, Signature, VerifyKey};
use crate::hash::{Digest, sha256};

/// Remembers good signatures from now on, in each thread for itself.
pub fn switch_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Remembers nothing more and asks nobody, until it is switched on again: where what is verified is to be counted.
pub fn switch_off() {
    ON.store(false, Ordering::Relaxed);
}

/// Asks the memory first, and `verify` only if it knows nothing.
pub(super) fn or_else<E>(
    key: &[u8; 32],
    framed: &[u8],
    signature: &Signature,
    verify: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    if !ON.load(Ordering::Relaxed) {
        return verify();
    }
    let name = sha256(&[key, signature, framed]);
    if GOOD.with_borrow(|good| good.contains(&name)) {
        return Ok(());
    }
    verify()?;
    remember(name);
    Ok(())
}

/// Notes a signature that was just made: who made it need not be asked whether it is good.
pub(super) fn note_made(key: &[u8; 32], framed: &[u8], signature: &Signature) {
    if ON.load(Ordering::Relaxed) {
        remember(sha256(&[key, signature, framed]));
    }
}

fn remember(name: Digest) {
    GOOD.with_borrow_mut(|good| {
        if good.len() >= GOOD_MAX {
            good.clear();
        }
        good.insert(name);
    });
}

/// Asks the memory for a key first, and `read` only if it knows nothing.
pub(super) fn parsed_or_else(
    bytes: &[u8; 32],
    read: impl FnOnce() -> Result<VerifyKey, KeyError>,
) -> Result<VerifyKey, KeyError> {
    if !ON.load(Ordering::Relaxed) {
        return read();
    }
    if let Some(key) = KEYS.with_borrow(|keys| keys.get(bytes).copied()) {
        return Ok(key);
    }
    let key = read()?;
    KEYS.with_borrow_mut(|keys| {
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(*bytes, key);
    });
    Ok(key)
}

static ON: AtomicBool = AtomicBool::new(false);

thread_local! {
    static GOOD: RefCell<BTreeSet<Digest>> = const { RefCell::new(BTreeSet::new()) };
    static KEYS: RefCell<BTreeMap<[u8; 32], VerifyKey>> = const { RefCell::new(BTreeMap::new()) };
}

/// Some histories' worth of signatures; then a thread begins anew, so that it stays at some megabytes.
const GOOD_MAX: usize = 1 << 16;
/// Far more keys than one history has.
const KEYS_MAX: usize = 1 << 12;

#[cfg(test)]
mod tests {
    use super::super::SignKey;
    use super::*;

    #[test]
    fn what_is_remembered_is_the_good_signature_and_nothing_beside_it() {
        switch_on();
        let key = SignKey::from_seed(&[7; 32]);
        let public = VerifyKey::parse(&key.public()).unwrap();
        let signature = key.sign("entry-sig", b"x");
        assert_eq!(GOOD.take().len(), 1, "what is made here is remembered");
        let mut bent = signature;
        bent[9] ^= 1;
        for _ in 0..2 {
            assert_eq!(public.verify("entry-sig", b"x", &signature), Ok(()));
            assert_eq!(public.verify("entry-sig", b"x", &bent), Err(KeyError::BadSignature));
            assert_eq!(public.verify("entry-sig", b"y", &signature), Err(KeyError::BadSignature));
            assert_eq!(public.verify("record-sig", b"x", &signature), Err(KeyError::BadSignature));
        }
        assert_eq!(GOOD.with_borrow(BTreeSet::len), 1);
    }
}
