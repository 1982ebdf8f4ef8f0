//! Why signatures are verified with ed25519-dalek and not with ring: the evidence behind ADR 0003.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

use std::time::Duration;

use ring::signature::{ED25519, UnparsedPublicKey};
use tombolo_protocol::keys::{KeyError, SignKey, VerifyKey};

#[test]
fn ring_takes_a_key_that_everybody_can_sign_for_and_this_crate_does_not() {
    let mut identity = [0_u8; 32];
    identity[0] = 1;
    // R is the identity and S is zero: valid under the identity key for every message.
    let mut signature = [0_u8; 64];
    signature[0] = 1;
    let ring = UnparsedPublicKey::new(&ED25519, identity);
    assert!(ring.verify(b"any message", &signature).is_ok());
    assert_eq!(VerifyKey::parse(&identity), Err(KeyError::WeakKey));
}

#[test]
fn what_a_verification_costs() {
    const ROUNDS: u32 = 2000;
    let key = SignKey::from_seed(&[5; 32]);
    let message = [7; 32];
    let signature = key.sign("entry-sig", &message);
    let framed = [b"tombolo/v1/entry-sig\0".as_slice(), &message].concat();
    let public = VerifyKey::parse(&key.public()).unwrap();
    let dalek = took(ROUNDS, || public.verify("entry-sig", &message, &signature).is_ok());
    let ring = UnparsedPublicKey::new(&ED25519, key.public());
    let ring = took(ROUNDS, || ring.verify(&framed, &signature).is_ok());
    let sign = took(ROUNDS, || key.sign("entry-sig", &message)[0] < 255);
    let parse = took(ROUNDS, || VerifyKey::parse(&key.public()).is_ok());
    println!("dalek: verify {dalek:?}, sign {sign:?}, parse {parse:?}; ring: verify {ring:?}");
}

#[allow(clippy::disallowed_methods, reason = "a measurement, not the engine")]
fn took(rounds: u32, mut work: impl FnMut() -> bool) -> Duration {
    let began = std::time::Instant::now();
    let mut done = 0;
    for _ in 0..rounds {
        done += u32::from(std::hint::black_box(work()));
    }
    assert!(done > 0, "the work succeeds");
    began.elapsed() / rounds
}
