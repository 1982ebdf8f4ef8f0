//! Sealed bytes in the hands of somebody who alters, moves, cuts or inflates them, with and without
//! the keys; and what a log may show of a secret.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "adversary/bodies.rs"]
mod bodies;
#[path = "adversary/entries.rs"]
mod entries;
#[path = "adversary/epochs.rs"]
mod epochs;
#[path = "adversary/kits.rs"]
mod kits;
#[path = "adversary/links.rs"]
mod links;
#[path = "adversary/redaction.rs"]
mod redaction;
#[path = "crypto/support.rs"]
mod support;
#[path = "adversary/vaults.rs"]
mod vaults;
