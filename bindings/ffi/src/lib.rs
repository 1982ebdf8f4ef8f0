//! Tombolo for Swift, Kotlin and Python: the public surface of the core as handles, records and one error.
//!
//! Nothing is decided here. A call goes to the handle of the core with the same name; ids are hexadecimal strings,
//! values and what is listed are the core's own types where the core has them plain. What closures do in Rust is a
//! list of [`Edit`](edit::Edit)s here, and what streams are is a listener, called from one thread of this crate.
//!
//! Invariant: no code of the app runs on the engine's thread but a key vault's, while a store is opened; a panic
//! becomes an error of the call that met it.
#![allow(unsafe_code, reason = "the scaffolding that UniFFI generates speaks the C ABI")]

pub mod cancellation;
pub mod debt;
pub mod devices;
pub mod document;
pub mod edit;
pub mod error;
pub mod events;
mod ids;
pub mod live;
pub mod log;
pub mod options;
mod planted;
pub mod records;
pub mod replica;
mod runtime;
pub mod step_up;
pub mod subscription;
pub mod values;
pub mod vault;
pub mod workspace;

uniffi::setup_scaffolding!("tombolo_ffi");
