//! A whole team through bad days: a seed decides who is there, what they do and what befalls them.
//!
//! | module | one sentence |
//! |---|---|
//! | [`ledger`] | which words were acknowledged, and which may be missing with a reason |
//! | `stage` | the team itself: its devices, users, relays and documents |
//! | `writing` | how people write |
//! | `mishaps` | how nets, relays, clocks and disks fail |
//! | `people` | how members come, change and go |
//! | `rogue_deeds` | how a member who means harm attacks |
//! | `oracles` | what is asked while things happen |
//! | `secrets` | what a device keeps secret, read from its store with the store's key |
//! | `finale` | heal, wait within a bound, and judge |
//! | [`census`] | what has happened, so that a run can show that it proved something |
//! | [`history`] | one seed from its first step to its judgement |
//!
//! What a seed has in store, what can befall a team and how a failing history is shrunk is `tombolo_testkit`'s.
//!
//! Invariant: everything is drawn from the seed; what a script leaves out shifts nothing that it keeps.

pub mod census;
mod finale;
pub mod history;
pub mod ledger;
mod mishaps;
mod oracles;
mod people;
mod rogue_deeds;
mod secrets;
mod stage;
mod writing;

pub use census::Census;
pub use history::{Played, play, play_twice};
pub use secrets::device_secrets;
pub use tombolo_testkit::fault::{self, Fault};
pub use tombolo_testkit::script::{self, Recipe, Scenario};
pub use tombolo_testkit::shrink::{self, Outcome};
