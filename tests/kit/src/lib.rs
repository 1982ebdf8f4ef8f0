//! Your app under a thousand bad days: real engines, stores and relays over a simulated network, clock, chance and disk.
//!
//! An app brings its own logic as an [`App`]; [`Days`] plays it, seed by seed, while connections break, relays forget
//! and lie, processes die at commits, power is cut, and clocks jump; then everything is healed, and every device is asked.
//!
//! ```
//! use tombolo::document::{Crdt, Value};
//! use tombolo_testkit::{App, AppDevice, Chance, Days, Fate};
//!
//! /// A tally that several people count on.
//! #[derive(Default)]
//! struct Tally {
//!     surely: i64,
//!     perhaps: i64,
//! }
//!
//! impl App for Tally {
//!     fn found(&mut self, device: &mut AppDevice<'_>) -> Result<(), tombolo::Error> {
//!         device.create(Crdt::Automerge, |edit| edit.counter("tally")?.increment(0))?.done();
//!         Ok(())
//!     }
//!
//!     fn act(&mut self, device: &mut AppDevice<'_>, _: &mut Chance) -> Result<(), tombolo::Error> {
//!         let Some(document) = device.documents()?.first().copied() else { return Ok(()) };
//!         match device.edit(document, |edit| edit.counter("tally")?.increment(1))? {
//!             Fate::Done(()) => self.surely += 1,
//!             Fate::Died => self.perhaps += 1,
//!         }
//!         Ok(())
//!     }
//!
//!     fn judge(&mut self, device: &mut AppDevice<'_>) -> Result<(), String> {
//!         let document = device.documents().map_err(|error| error.to_string())?[0];
//!         let read = device.read(document, |view| view.get("tally")).map_err(|error| error.to_string())?;
//!         let shown = read.done().flatten().and_then(|value| match value { Value::Counter(n) => Some(n), _ => None }).unwrap_or(0);
//!         let fits = (self.surely..=self.surely + self.perhaps).contains(&shown);
//!         if fits { Ok(()) } else { Err(format!("shows {shown}, {} were counted", self.surely)) }
//!     }
//! }
//!
//! Days::of(Tally::default).seeds(3).assert_good();
//! ```
//!
//! | module | one sentence |
//! |---|---|
//! | [`app`] | what an app brings, and many seeds of it |
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
//! No socket, no thread and no real clock: one seed is one history. The modules below [`app`] are what Tombolo's own
//! simulator is made of; they change with it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness ends the test when the world it simulates can not go on"
)]

pub mod app;
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

pub use app::{App, AppDevice, Days, DaysReport, Failure, Fate};
pub use chance::Chance;
pub use fault::Fault;
pub use invariant::{Invariant, Violation};
pub use net::Net;
pub use replica::{CrashAt, Replica, Witness};
pub use station::RelayNode;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/testkit.md")]
struct Guide;
