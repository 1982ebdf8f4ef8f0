//! What Tombolo is held to: stories, adversaries and whole teams, on the harness that is published as `tombolo-testkit`.
//!
//! | module | one sentence |
//! |---|---|
//! | [`friends`] | two people who really wrote together, played again |
//! | [`key_ring`] | the keys that somebody with certain devices can open |
//! | [`log`] | what is logged at the finest level, to be searched |
//! | [`rogue`] | a member who means harm |
//! | [`world`] | a whole team through bad days, as a seed decides, and the search for what breaks |
//!
//! All else here is `tombolo_testkit`'s, under its names. No socket, no thread and no real clock: one seed is one
//! history, and a failing test prints it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness ends the test when the world it simulates can not go on"
)]

pub mod friends;
pub mod key_ring;
pub mod log;
pub mod rogue;
pub mod world;

pub use key_ring::{KeyRing, keys_of};
pub use log::Log;
pub use rogue::Rogue;
pub use tombolo_testkit::{
    Chance, CrashAt, Net, RelayNode, Replica, Witness, chance, fault, invariant, judge, lies, net, replica, station,
    tamper, trace,
};
