//! The power is cut at each write and each sync of a scripted life, of a device's store and of a relay's log, and what
//! is left must be exactly what was committed last, or that and the commit that was under way.
//!
//! A life is run once on a disk that records what it is asked; each cut is an image made of the recording, which is
//! opened as after a reboot. `TOMBOLO_CUTS` says how many cuts each life gets.
//!
//! | module | whose life |
//! |---|---|
//! | `device` | a store: made, migrated, and a year of work with others |
//! | `relay` | a log: two devices that write, a third member, restarts |
//! | `snapshots` | stores and logs in which something goes because a snapshot stands for it |
//! | `life` | what both share: images, what must be in them, and how many cuts |

#[cfg(test)]
mod device;
#[cfg(test)]
mod life;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod snapshots;
