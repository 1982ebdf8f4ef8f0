//! All that a Tombolo relay may know: ids, the entry format, the membership log, frames, limits and
//! proofs. Devices and relays judge with the same code.
//!
//! | module | one sentence |
//! |---|---|
//! | [`ids`], [`hash`], [`keys`], [`bytes`], [`limits`] | names, the hash, Ed25519, fixed layouts, bounds |
//! | [`entry`] | the sealed, signed, chained unit that is stored and sent |
//! | [`identity`], [`record`], [`membership`] | whose devices, what is stated, who may do what |
//! | [`item`], [`log`], [`receipt`] | what a relay's log holds, its head, what the relay signs |
//! | [`snapshot`] | what a published snapshot covers, and who vouches for it |
//! | [`auth`], [`frame`], [`close`], [`status`] | a session: its proof, its frames, its end |
//!
//! Nothing here reads a clock, draws randomness, or knows a key that opens content.

pub mod auth;
pub mod bytes;
pub mod close;
pub mod entry;
pub mod frame;
pub mod hash;
pub mod identity;
pub mod ids;
pub mod item;
pub mod keys;
pub mod limits;
pub mod log;
pub mod membership;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod receipt;
pub mod record;
pub mod snapshot;
pub mod status;

mod void;
