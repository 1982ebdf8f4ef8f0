//! The blinding key of a workspace: turns a document's id into the tag that relays see.
//!
//! Invariant: it is made at genesis, travels in every epoch wrap, and never changes; the genesis
//! record commits to it, so whoever is given one can check it.

use std::fmt;

use tombolo_protocol::hash::hash;
use tombolo_protocol::ids::{DocumentId, DocumentTag};

use crate::derive::{half, mac};
use crate::entropy::Entropy;
use crate::secret::Secret32;

/// The key that blinds document ids.
#[derive(PartialEq, Eq)]
pub struct BlindingKey(Secret32);

impl BlindingKey {
    /// Draws the key of a new workspace.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self(Secret32::generate(entropy))
    }

    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret32::from_bytes(bytes))
    }

    /// Returns the bytes, to be sealed at once.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Makes another copy.
    #[must_use]
    pub const fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }

    /// Returns what the genesis record says of it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        hash("blinding-key", &[self.as_bytes()])
    }

    /// Returns the tag of a document.
    #[must_use]
    pub fn document_tag(&self, document: &DocumentId) -> DocumentTag {
        let tag = mac(self.as_bytes(), "document-tag", &[document.as_bytes()]);
        DocumentTag::from_bytes(half(&tag))
    }
}

impl fmt::Debug for BlindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindingKey(secret)")
    }
}
