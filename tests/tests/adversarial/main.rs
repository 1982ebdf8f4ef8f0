//! The adversarial cases of the threat model (docs/threat-model.md), one story each, with relays and
//! members that really lie. `case_NN` is the case's number; each asserts the typed outcome, a counted
//! reason, and that other documents go on.
//!
//! | module | who lies, and about what |
//! |---|---|
//! | `wire` | the relay, about frames and bytes |
//! | `history` | the relay, about its log |
//! | `entries` | a member, inside an entry |
//! | `chains` | a member, about chains and the members it stands on |
//! | `roles` | a member, about what the role allows |

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

mod chains;
mod entries;
mod history;
mod roles;
mod support;
mod wire;
