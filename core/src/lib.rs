//! Tombolo: an offline-first sync engine.
