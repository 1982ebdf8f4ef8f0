//! The documents that this device asks relays for, where it does not ask for all; and those that others ask for.
//!
//! Invariant: a name stands for one set of documents; a place in a log is kept with the name of those that were asked for
//! all the way to it, so whatever becomes of the rows here, nothing that is wanted is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use tombolo_protocol::hash::{Digest, hash};
use tombolo_protocol::ids::{DeviceId, DocumentId, DocumentTag};

use super::Workspace;

/// Documents that are asked for.
pub(crate) struct Wanted {
    pub(crate) documents: BTreeSet<DocumentId>,
    name: Digest,
    /// As relays know them: made once the key for it is here, which never changes.
    tags: OnceLock<BTreeSet<DocumentTag>>,
}

impl Wanted {
    pub(crate) fn new(documents: BTreeSet<DocumentId>) -> Self {
        let ids: Vec<&[u8]> = documents.iter().map(|id| id.as_bytes().as_slice()).collect();
        let name = hash("wanted-documents", &ids);
        Self { documents, name, tags: OnceLock::new() }
    }
}

/// What another device asks for, as it said last.
pub(crate) struct Fellow {
    /// Which of its status rows said so.
    pub(crate) nth: u64,
    /// Those documents; none for all.
    pub(crate) wanted: Option<BTreeSet<DocumentTag>>,
}

/// What other devices ask for. Of one that is not listed nothing is known.
pub(crate) type Fellows = BTreeMap<DeviceId, Fellow>;

impl Workspace {
    /// Names the documents that are asked for; nothing while all are.
    pub(crate) fn wanted_name(&self) -> Option<Digest> {
        self.blinding.as_ref()?;
        self.wanted.as_ref().map(|wanted| wanted.name)
    }

    /// Returns the documents that are asked for, as relays know them; nothing while all are.
    pub(crate) fn wanted_tags(&self) -> Option<&BTreeSet<DocumentTag>> {
        let blinding = self.blinding.as_ref()?;
        let wanted = self.wanted.as_ref()?;
        let make = || wanted.documents.iter().map(|id| blinding.document_tag(id)).collect();
        Some(wanted.tags.get_or_init(make))
    }

    /// Tells whether another device has a document when it says that it has come to a place in a log.
    pub(crate) fn is_followed(&self, device: &DeviceId, document: &DocumentTag) -> bool {
        let fellow = self.fellows.get(device);
        fellow.is_some_and(|fellow| fellow.wanted.as_ref().is_none_or(|wanted| wanted.contains(document)))
    }
}
