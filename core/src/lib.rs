//! Tombolo: an offline-first sync engine.

pub mod document;
