//! What is told of a log to who asks for a part of it: which items, and which chains.
//!
//! Invariant: each chain is listed once, however often it was named.

use std::collections::BTreeSet;

use tombolo_protocol::frame::Reconcile;
use tombolo_protocol::ids::{ChainId, DocumentTag};
use tombolo_protocol::item::ItemHash;

/// An item as a reader is told of it: by its name, and by its bytes if it is wanted.
pub type Told = (ItemHash, Option<Vec<u8>>);

/// Tells whether a reader wants what belongs to a document, or to none.
pub type Wants<'w> = dyn Fn(Option<&DocumentTag>) -> bool + 'w;

/// Chains by their documents, and by name.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Documents whose chains are listed.
    pub documents: BTreeSet<DocumentTag>,
    /// Chains that are listed besides.
    pub chains: BTreeSet<ChainId>,
}

impl Listed {
    /// Takes from a frame which chains it asks for; `None` for all.
    #[must_use]
    pub fn of(reconcile: &Reconcile) -> Option<Self> {
        let documents = reconcile.documents.as_ref()?.iter().copied().collect();
        let chains = reconcile.held.as_ref()?.iter().copied().collect();
        Some(Self { documents, chains })
    }
}
