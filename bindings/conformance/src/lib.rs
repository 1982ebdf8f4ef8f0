//! The scenarios of `scenarios.txt`, played in Rust, and what lets devices of other languages take part in one.
//!
//! A scenario comes in as lines of words; each verb is a step of a [`Stage`](stage::Stage), which holds the people. What a
//! step names (workspaces, documents, invites, the relay) a stage tells to whoever asks, so that several can share one play.

pub mod fault;
pub mod relay;
pub mod scenario;
pub mod stage;
pub mod timing;
pub mod together;
