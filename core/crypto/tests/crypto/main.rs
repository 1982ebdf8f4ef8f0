//! The crate seen from outside.

mod round_trips;
mod support;
