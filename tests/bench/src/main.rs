//! Measures Tombolo beside the limits of the machine.
fn main() {}
