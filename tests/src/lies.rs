//! What a dishonest relay, or a patched client, makes of the frames that pass.
//!
//! Invariant: a lie sees one frame at a time and answers with those to send instead; it knows no secret
//! that its place in the network would not know.

use crate::chance::Chance;
use crate::replica::Replica;

/// Turns one frame into those that are sent instead; told which replica is at the other end.
pub type Lie = Box<dyn FnMut(Replica, Vec<u8>, &mut Chance) -> Vec<Vec<u8>>>;
