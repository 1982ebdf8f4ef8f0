//! The seeded harness: real engines and real relays over a simulated network, clock and chance.
//!
//! | module | one sentence |
//! |---|---|
//! | [`chance`] | randomness that a seed and a label decide |
//! | [`net`] | the world: time, what is under way, and the order in which things happen |
//! | [`replica`] | one device: its store, its engine, its crashes |
//! | [`station`] | one relay: its folder, its sessions, its losses |
//! | [`invariant`] | what must never be broken, by name |
//! | [`lies`] | what a dishonest relay or a patched client makes of frames |
//! | [`rogue`] | a member who means harm |
//! | [`tamper`] | a relay that helps the rogue, and what it counts |
//! | [`judge`] | what must hold when all is quiet |
//! | [`world`] | a whole team through bad days, as a seed decides, and the search for what breaks |
//!
//! No socket, no thread and no real clock: one seed is one history, and a failing test prints it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness ends the test when the world it simulates can not go on"
)]

pub mod chance;
pub mod invariant;
pub mod judge;
pub mod lies;
pub mod net;
pub mod replica;
pub mod rogue;
pub mod station;
pub mod tamper;
pub mod trace;
pub mod world;

pub use chance::Chance;
pub use net::Net;
pub use replica::{CrashAt, Replica, Witness};
pub use rogue::Rogue;
pub use station::RelayNode;
