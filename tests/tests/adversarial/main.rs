//! The adversarial cases of the threat model (docs/threat-model.md), one story each, with relays and
//! members that really lie. `case_NN` is the case's number; each asserts the typed outcome, a counted
//! reason, and that other documents go on. Case 38, which needs a login provider, is with the relay's tests
//! (`sync-server/tests/relay/logins.rs`).
//!
//! | module | who lies, and about what |
//! |---|---|
//! | `wire` | the relay, about frames and bytes |
//! | `history` | the relay, about its log |
//! | `entries` | a member, inside an entry |
//! | `chains` | a member, about chains and the members it stands on |
//! | `forks` | a machine that was brought back, about what its device has written before |
//! | `roles` | a member, about what the role allows |
//! | `records` | a member or a relay, in the records of the members' log |
//! | `joining` | whoever holds a link, and the relay that is asked |
//! | `identity` | whoever stands between two devices, or has a kit |
//! | `auth` | somebody who wants a session that is another's |
//! | `store` | disks, copies of them, and chance itself |
//! | `pins` | members who were removed, in what they wrote too late |
//! | `late` | members who come late: their time is over, or their view of others is old |
//! | `second_factor` | who has a key, and not the second factor |
//! | `removal` | members who were removed, and those who helped them |
//! | `leaving` | members who left of their own accord, and may know the keys |

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

mod auth;
#[path = "../wss/between.rs"]
mod between;
mod chains;
mod entries;
mod forks;
mod history;
mod identity;
mod joining;
mod late;
mod leaving;
mod login;
mod pins;
#[allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what is skipped is said, and a provider that fails ends the test"
)]
#[path = "../../../sync-server/tests/relay/provider.rs"]
mod provider;
mod records;
mod removal;
mod roles;
mod second_factor;
mod store;
mod support;
mod wire;
