//! Whose devices are whose: an identity log as a plain set of statements.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tombolo_protocol::hash::Digest;
use tombolo_protocol::identity::{IdentityAct, IdentityLog, IdentityRecord, Signer};
use tombolo_protocol::ids::DeviceId;

use super::graph::{Deed, Set, has, members, voids};

/// Statements of one user, by id.
pub type Statements = BTreeMap<Digest, IdentityRecord>;

/// What a set of statements means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    pub known: BTreeSet<DeviceId>,
    pub active: BTreeSet<DeviceId>,
    pub revoked_by_root: BTreeSet<DeviceId>,
    /// Of each active device the statement that it comes from: the lowest.
    came: BTreeMap<DeviceId, Digest>,
}

fn ancestors(all: &Statements, of: &Digest) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Digest> = all[of].parents().to_vec();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(all[&id].parents());
        }
    }
    found
}

fn only(all: &Statements, ids: &BTreeSet<Digest>) -> Statements {
    ids.iter().map(|id| (*id, all[id].clone())).collect()
}

pub fn statements(log: &IdentityLog) -> Statements {
    log.records.iter().map(|record| (record.id(), record.clone())).collect()
}

/// Tells whether every statement was signed by the root or by a device the user had then.
pub fn holds(log: &IdentityLog) -> bool {
    let all = statements(log);
    let mut seen = BTreeSet::new();
    log.records.iter().all(|record| {
        let placed = record.parents().iter().all(|parent| seen.contains(parent)) && seen.insert(record.id());
        placed
            && match record.signer() {
                Signer::Root => true,
                Signer::Device(device) => meaning(&only(&all, &ancestors(&all, &record.id()))).active.contains(&device),
            }
    })
}

/// The meaning of a set of statements; known answers are kept, since they hang on nothing else.
pub fn meaning(all: &Statements) -> Rc<Meaning> {
    thread_local!(static KNOWN: RefCell<BTreeMap<Vec<Digest>, Rc<Meaning>>> = RefCell::default());
    let ids: Vec<Digest> = all.keys().copied().collect();
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&ids).cloned()) {
        return known;
    }
    let meaning = Rc::new(meaning_anew(all));
    KNOWN.with_borrow_mut(|known| known.insert(ids, meaning.clone()));
    meaning
}

fn meaning_anew(all: &Statements) -> Meaning {
    let below: BTreeMap<Digest, BTreeSet<Digest>> = all.keys().map(|id| (*id, ancestors(all, id))).collect();
    let mut order: Vec<Digest> = all.keys().copied().collect();
    order.sort_by_key(|id| (below[id].len(), *id));
    let place = |id: &Digest| order.iter().position(|other| other == id).unwrap();
    let anc: Vec<Set> = order.iter().map(|id| below[id].iter().fold(0, |set, id| set | 1 << place(id))).collect();
    let mut deeds = Vec::new();
    for (at, id) in order.iter().enumerate() {
        let record = &all[id];
        let (rank, by, rests) = match record.signer() {
            Signer::Root => (1, vec![], vec![]),
            Signer::Device(device) => {
                let then = meaning(&only(all, &below[id]));
                (0, vec![device], then.came.get(&device).map(place).into_iter().collect())
            }
        };
        let hits = match record.act() {
            IdentityAct::Revoke(device) => vec![(*device, 0)],
            IdentityAct::Add { .. } => vec![],
        };
        deeds.push(Deed { at, rank, by, needs: 1, hits, rests });
    }
    let void = voids(&deeds, &anc, 0);
    let counts: Vec<usize> = members(!void).filter(|at| *at < order.len()).collect();
    let mut meaning = Meaning::default();
    for (at, id) in order.iter().enumerate() {
        let IdentityAct::Add { keys, .. } = all[id].act() else { continue };
        let device = keys.id();
        meaning.known.insert(device);
        let revoked = counts.iter().any(|other| {
            matches!(all[&order[*other]].act(), IdentityAct::Revoke(of) if *of == device) && !has(anc[at], *other)
        });
        if counts.contains(&at) && !revoked {
            meaning.active.insert(device);
            let came = meaning.came.entry(device).or_insert(*id);
            *came = (*came).min(*id);
        }
    }
    for record in all.values().filter(|record| record.signer() == Signer::Root) {
        if let IdentityAct::Revoke(device) = record.act()
            && meaning.known.contains(device)
            && !meaning.active.contains(device)
        {
            meaning.revoked_by_root.insert(*device);
        }
    }
    meaning
}
