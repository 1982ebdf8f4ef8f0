//! The only asynchronous part of the core: handles for apps, the thread that drives the engine, and
//! the sockets.
//!
//! Invariant: one thread owns store and engine; everybody else talks to it through a bounded queue, so
//! what arrives while it commits becomes the next commit (group commit). Clocks, randomness and tasks
//! exist only here.
#![allow(clippy::disallowed_methods, reason = "the driver is where time, randomness and tasks come from")]

mod builder;
mod clock;
mod command;
#[cfg(feature = "network")]
mod connection;
mod devices;
mod driver;
mod events;
mod handles;
mod looks;
mod members;
mod open;
#[cfg(feature = "network")]
mod pulse;
mod replica;
#[cfg(feature = "network")]
mod speech;
mod step_up;
mod wanted;
mod watchers;
#[cfg(feature = "network")]
mod websocket;

pub use builder::ReplicaBuilder;
pub use clock::SystemEntropy;
pub use devices::{ApprovalHandle, KitBuilder, LinkRequestHandle};
pub use events::{DocumentEvent, DocumentEvents, ReplicaEvents};
pub use handles::{Document, InviteBuilder, Workspace};
pub use replica::Replica;
pub use step_up::StepUpHandle;
