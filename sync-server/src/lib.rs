//! A blind store-and-forward relay: keeps what devices sealed, in order, and hands it on.
//!
//! | module | one sentence |
//! |---|---|
//! | [`cli`], [`config`], [`admission`] | how a relay is started, with what, and for whom |
//! | [`mod@serve`], [`http`], [`tls`], [`connection`] | the sockets; the only modules that know tokio |
//! | [`access`] | who came and what they were denied, signed and chained |
//! | [`factors`] | second factors that the relay checks by itself |
//! | [`login`] | id tokens of a login provider, and its keys |
//! | [`session`] | one device's session: frames in, frames out |
//! | [`workspace`] | what the next items of a workspace are judged against |
//! | [`log`], [`writer`], [`fanout`] | durable storage, group commit, and who hears of it |
//! | [`relay`], [`rendezvous`], [`metrics`] | what all sessions share, where devices are linked, what is counted |
//!
//! The path of an entry: connection → session → workspace (judge) → writer (commit) → fanout →
//! the sessions of the others. Its tree names no CRDT and nothing that opens content.

pub mod access;
pub mod admission;
pub mod cli;
pub mod config;
pub mod connection;
pub mod factors;
pub mod fanout;
pub mod http;
pub mod log;
pub mod login;
pub mod metrics;
pub mod relay;
pub mod rendezvous;
pub mod serve;
pub mod session;
pub mod tls;
pub mod workspace;
pub mod writer;

pub use cli::main_with;
pub use config::Config;
pub use serve::{Serving, StartError, serve};
