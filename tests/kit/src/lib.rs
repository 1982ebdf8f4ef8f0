//! Your app under a thousand bad days: real engines, stores and relays over a simulated network, clock, chance and disk.
//!
//! | module | one sentence |
//! |---|---|
//! | [`fault`] | what can befall a team: the classes of the fault matrix |
//! | [`script`] | what a seed has in store: the cast and the deeds, drawn before anything happens |
//! | [`mishap`] | what a class does to one device and one relay |
//! | [`shrink`] | a failing history, made as short as the time allows |
//! | [`invariant`] | what must never be broken, by name |
//! | [`net`] | the world: time, what is under way, and the order in which things happen |
//! | [`replica`] | one device: its store, its engine, its crashes |
//! | [`station`] | one relay: its folder, its sessions, its losses |
//! | [`chance`] | randomness that a seed and a label decide |
//! | [`trace`] | what happened, as one hash and as the last lines |
//! | [`lies`] | what a dishonest relay or a patched client makes of frames |
//! | [`tamper`] | a relay that helps a member who means harm, and what it counts |
//! | [`judge`] | what must hold when all is quiet |
//! | [`fall`] | what falls over is caught and told |
//!
//! No socket, no thread and no real clock: one seed is one history.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness ends the test when the world it simulates can not go on"
)]

pub mod chance;
pub mod fall;
pub mod fault;
pub mod invariant;
pub mod judge;
pub mod lies;
pub mod mishap;
pub mod net;
pub mod replica;
pub mod script;
pub mod shrink;
pub mod station;
pub mod tamper;
pub mod trace;

pub use chance::Chance;
pub use fault::Fault;
pub use invariant::{Invariant, Violation};
pub use net::Net;
pub use replica::{CrashAt, Replica, Witness};
pub use station::RelayNode;
