//! What the slow model of the protocol's tests says of a history, and what documents follow from that.
//!
//! The records and entries come from a relay's log, the keys from one device. The model knows nothing of engines,
//! stores and sessions: it says which entries count by definition, and the documents are built of those alone.

#[path = "../../../core/protocol/tests/model/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};

use tombolo::SetAsideReason;
use tombolo::crypto::{Body, DeviceSecrets};
use tombolo::document::{Actor, Crdt, ForeignChange, OpenDocument, Value};
use tombolo::protocol::entry::Entry;
use tombolo::protocol::ids::{DocumentId, EntryHash, EpochId, UserId};
use tombolo::protocol::membership::Membership;
use tombolo::protocol::record::{Record, Role};
use tombolo_tests::{KeyRing, keys_of};

use model::Model;
use model::admission::{Entry as Subject, Right};

/// What must hold everywhere.
pub(crate) struct Opinion {
    pub(crate) members: Vec<(UserId, Role)>,
    pub(crate) epoch: Option<EpochId>,
    pub(crate) aside: BTreeSet<(EntryHash, SetAsideReason)>,
    /// How many entries count only because others have built on them.
    pub(crate) carried: usize,
    pub(crate) documents: Vec<(DocumentId, Value)>,
}

impl Opinion {
    pub(crate) fn of(there: &Membership, entries: &[Entry], device: &DeviceSecrets, documents: &[DocumentId]) -> Self {
        let records: Vec<Record> = there.in_order().into_iter().cloned().collect();
        let model = Model::new(&records, &there.attestations().cloned().collect::<Vec<_>>());
        let ring = keys_of(there, &[device]);
        let bodies: Vec<Body> = entries.iter().map(|entry| open(entry, &ring)).collect();
        let subjects: Vec<Subject> =
            entries.iter().zip(&bodies).map(|(entry, body)| subject(entry, body, entries)).collect();
        let admitted = model.admitted(&subjects);
        let counts = |at: &usize| admitted.contains(at);
        let aside = (0..entries.len()).filter(|at| !counts(at));
        let aside = aside.map(|at| (entries[at].hash(), SetAsideReason::BeyondPin)).collect();
        let built = documents.iter().map(|document| {
            let tag = ring.blinding.as_ref().expect("the blinding key is here").document_tag(document);
            let of_it = (0..entries.len()).filter(|at| counts(at) && entries[*at].header().chain.document == tag);
            (*document, build(of_it.map(|at| &bodies[at])))
        });
        Self {
            members: model.view().roles.iter().map(|(user, role)| (*user, *role)).collect(),
            epoch: model.view().epoch,
            aside,
            carried: admitted.iter().filter(|at| model.right(&subjects[**at]) == Right::Beyond).count(),
            documents: built.collect(),
        }
    }
}

fn open(entry: &Entry, ring: &KeyRing) -> Body {
    let keys: &BTreeMap<_, _> = &ring.epochs;
    let keys = keys.get(&entry.header().epoch).expect("the owner opens every epoch");
    let plaintext = keys.open_entry(entry).expect("it was sealed rightly");
    Body::decode(&plaintext).expect("it holds a body")
}

/// An entry as the model takes it: it depends on what its body names, and on all below that in the same chains.
fn subject(entry: &Entry, body: &Body, all: &[Entry]) -> Subject {
    let header = entry.header();
    let below = |other: &Entry| {
        let (chain, seq) = (other.header().chain.id(), other.header().seq);
        body.deps.iter().any(|dep| dep.chain == chain && seq <= dep.seq)
    };
    Subject {
        chain: header.chain,
        seq: header.seq,
        hash: entry.hash(),
        members_head: header.members_head,
        deps: (0..all.len()).filter(|at| below(&all[*at])).collect(),
    }
}

fn build<'a>(bodies: impl Iterator<Item = &'a Body>) -> Value {
    let bodies: Vec<&Body> = bodies.collect();
    let crdt = bodies.first().and_then(|body| Crdt::from_u8(body.crdt)).expect("a document has a first entry");
    let changes: Vec<ForeignChange<'_>> =
        bodies.iter().flat_map(|body| &body.changes).map(|bytes| ForeignChange { bytes, actor: None }).collect();
    let document = OpenDocument::load(crdt, Actor::from_bytes([9; 16]), &changes).expect("the changes apply");
    document.read().to_value().expect("it reads")
}
