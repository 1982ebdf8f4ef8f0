//! An app, as the kit sees it: what it does on a device, and what must hold of it whatever happens.
//!
//! ```text
//!  Days ─► one seed: Script ─► Team ─► App::act on an AppDevice ─► engine · store · relay, simulated
//!                                  └─► Mishaps: network, relays, processes, disks, clocks
//!         heal ─► wait ─► nothing owed, all equal ─► App::judge on every device ─► passed, or shrunk and told
//! ```
//!
//! Invariant: an app sees no more than it would on a real device; what it notes down about its own promises lives
//! outside all of them, as the memory of the people who use it does.

pub mod days;
pub mod device;
mod team;

pub use days::{Days, DaysReport, Failure};
pub use device::{AppDevice, Fate};

use crate::chance::Chance;

/// An app and the people who use it; a new one for each seed.
pub trait App {
    /// Makes what the team begins with, on the founder's device, before anything goes wrong.
    ///
    /// # Errors
    /// What Tombolo answers; it fails the seed.
    fn found(&mut self, device: &mut AppDevice<'_>) -> Result<(), tombolo::Error>;

    /// Does one deed on a device that is up: `chance` decides which.
    ///
    /// # Errors
    /// What Tombolo answers. A document that has not arrived yet is let pass; anything else fails the seed.
    fn act(&mut self, device: &mut AppDevice<'_>, chance: &mut Chance) -> Result<(), tombolo::Error>;

    /// Says what is wrong on a device in the midst of it; nothing, unless the app overrides it.
    fn look(&mut self, _: &mut AppDevice<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Says what is wrong on a device when all has come to rest.
    ///
    /// # Errors
    /// One line for a person.
    fn judge(&mut self, device: &mut AppDevice<'_>) -> Result<(), String>;
}
