//! Stories of real processes on a machine that is wrong or at its end: clocks that are off, and no file descriptors.
//!
//! Clocks need libfaketime, which shifts those of one process and never the machine's; without it these stories say so
//! and are skipped.

#![cfg(test)]
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story ends when the machine does not do as told"
)]

mod clocks;
mod descriptors;
mod stage;
