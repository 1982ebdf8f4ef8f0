//! The crate seen from outside.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod round_trips;
mod sources;
mod support;
