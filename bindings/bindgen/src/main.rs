//! UniFFI's own command line, in the version that the crate beside it is built with.
//!
//! It reads the interface that `tombolo-ffi` carries in its library and writes Python, Kotlin and Swift from it. It is
//! a workspace of its own, so that what it needs to generate code stays out of the tree of what is generated.

fn main() {
    uniffi::uniffi_bindgen_main();
}
