//! Stories of the device's store: one owner, full and rotting disks, copies, backups, old layouts, bounded memory, folded changes,
//! what is owed, saved and published documents, and that nobody reads it without its key.
#[cfg(test)]
mod columns;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod folding;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod owed;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod plaintext;
#[cfg(test)]
mod published;
#[cfg(test)]
mod rot;
#[cfg(test)]
mod saved;
#[cfg(test)]
mod space;
#[cfg(test)]
mod support;
