//! Two islands.
fn main() {}
