//! A blind store-and-forward relay.
